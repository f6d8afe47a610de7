"""Cursors: what they say is over is over, and they say as much as fits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.forward.cursor import RANGES_MAX, REGION, Hole, merge, ranges, value_of


def lane(states: list[bool], gap: int) -> tuple[list[Hole], int, int]:
    """Return holes for a lane whose n-th event (at sequence n * gap + 1) is unresolved where `states` says so."""
    holes = [Hole(n * gap + 1, n * gap + 1, n, n) for n, unresolved in enumerate(states) if unresolved]
    return holes, len(states) * gap, len(states)


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 5))
def test_nothing_unresolved_is_called_over(states: list[bool], gap: int) -> None:
    """No unresolved event is at or below `after` or in a range; at most RANGES_MAX; what is left out is exact."""
    holes, end, ordinal = lane(states, gap)
    after, done, left_out = ranges(end, ordinal, holes)
    over = {s for each in done for s in range(each.first, each.last + 1)}
    assert not [hole for hole in holes if hole.first <= after or hole.first in over]
    assert len(done) <= RANGES_MAX
    assert done == sorted(done)
    sequences = [n * gap + 1 for n in range(len(states))]
    assert left_out + len(holes) == sum(s > after and s not in over for s in sequences)
    if len(merge(holes)) <= RANGES_MAX:
        assert left_out == 0


def test_neighbours_of_a_lane_are_one_hole_whatever_lies_between() -> None:
    """Events of other lanes between two unresolved neighbours make no range."""
    assert merge([Hole(10, 10, 0, 0), Hole(50, 50, 1, 1)]) == [Hole(10, 50, 0, 1)]


def test_beyond_the_limit_the_largest_ranges_are_kept() -> None:
    """With more ranges than fit, those with most events stay: least is repeated."""
    states = []
    for size in range(1, RANGES_MAX + 20):
        states += [True] + [False] * size
    holes, end, ordinal = lane(states, 1)
    _, done, _ = ranges(end, ordinal, holes)
    assert min(each.events for each in done) == 20


def test_without_holes_all_is_over() -> None:
    """With nothing unresolved the cursor is at the end."""
    assert ranges(4711, 9, []) == (4711, [], 0)


def test_the_value_is_what_the_journal_reads() -> None:
    """A cursor's value has `after`, sorted ranges, and parked events only when there are any."""
    after, done, _ = ranges(20, 20, [Hole(3, 3, 3, 3)])
    assert value_of(after, done, {}) == {"after": 2, "done": [[4, 20]]}
    assert value_of(after, done, {3: 4})["parked"] == [[3, 4]]


def test_between_regions_nobody_knows_how_many_events_lie() -> None:
    """Two holes whose ordinals are of different regions are neighbours only when their sequences touch."""
    apart = [Hole(10, 10, 0, 0), Hole(50, 50, REGION, REGION)]
    assert merge(apart) == apart
    assert ranges(60, REGION + 1, apart)[1] == [(11, 49, REGION), (51, 60, 0)]
    touching = [Hole(10, 49, 0, 7), Hole(50, 50, REGION, REGION)]
    assert merge(touching) == [Hole(10, 50, 0, REGION)]
