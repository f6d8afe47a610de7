"""What may be given up: cursors with holes, counting, and the order of loss. Budget: 5 s."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.event import Lane
from gateway.journal.retention import Cursor, delivered, lanes_of, losses, missed, packings, wanted
from gateway.journal.segment import Entry, Span

SIZE = 1000
RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)).map(lambda each: [each[0], sum(each)]), max_size=5)


def entry(life: int, *, telemetry: int = 0, alarms: int = 0, end: int = 900, survivors: bool = False) -> Entry:
    """Return a segment of life n that holds sequences 100 n to 100 n + 99."""
    spans = [Span()] * 8
    for lane, count in ((Lane.TELEMETRY, telemetry), (Lane.ALARM, alarms)):
        if count:
            spans[lane] = Span(count, life * 100, life * 100 + 99)
    return Entry(
        life=life, name=f"{life:08d}.segment", number_first=0, records_first=0, first=life * 100,
        last=life * 100 + 99, end=end, spans=tuple(spans), survivors=survivors,
    )  # fmt: skip


def cursor(lane: str, after: int = 0, **more: object) -> Cursor:
    return Cursor.read(f"route:cloud:{lane}", {"after": after, **more})


def lives(entries: object) -> list[int]:
    return [each.life for each in entries]  # type: ignore[attr-defined]


@given(st.integers(0, 70), RANGES, st.sets(st.integers(0, 70), max_size=4), st.sets(st.integers(0, 70)))
def test_what_a_cursor_missed_is_counted_exactly(
    after: int, done: list[list[int]], parked: set[int], held: set[int]
) -> None:
    """The count, the first and the last agree with asking for each sequence; overlapping ranges count once."""
    mine = cursor("alarm", after, done=done, parked=[[sequence, 1] for sequence in parked])
    sequences = sorted(held)
    expected = [sequence for sequence in sequences if not mine.over(sequence)]
    assert missed(mine, sequences) == (len(expected), min(expected, default=0), max(expected, default=0))


@given(st.integers(0, 70), RANGES, st.sets(st.integers(0, 70), max_size=4), st.integers(0, 60), st.integers(0, 20))
def test_a_span_is_over_only_if_each_sequence_in_it_is(
    after: int, done: list[list[int]], parked: set[int], first: int, length: int
) -> None:
    """`all_over` never says yes wrongly."""
    mine = cursor("alarm", after, done=done, parked=[[sequence, 1] for sequence in parked])
    if mine.all_over(Span(length + 1, first, first + length)):
        assert all(mine.over(sequence) for sequence in range(first, first + length + 1))


def test_a_cursors_key_says_which_lanes_it_reads() -> None:
    """Routes read one lane, commands theirs, rules three, and what is not known is taken to read all."""
    assert lanes_of("route:my:cloud:alarm") == {Lane.ALARM}
    assert lanes_of("commands") == {Lane.COMMAND}
    assert lanes_of("rules") == {Lane.ALARM, Lane.TELEMETRY, Lane.TIMER}
    assert lanes_of("route:cloud:nonsense") == lanes_of("index") == set(Lane)


def test_an_unreadable_cursor_has_had_nothing() -> None:
    """A row that is no cursor holds everything back, rather than letting it go."""
    assert Cursor.read("rules", None).after == 0
    assert wanted(entry(1, telemetry=5), [Cursor.read("rules", "?")]) == {Lane.TELEMETRY}


def test_delivered_segments_go_first_oldest_first() -> None:
    """What every cursor has had is delivered; what nobody reads holds nothing back."""
    entries = [entry(1, telemetry=5), entry(2, telemetry=5), entry(3, telemetry=5)]
    assert lives(delivered(entries, [cursor("telemetry", 250)])) == [1]
    assert lives(delivered(entries, [cursor("alarm", 0)])) == [1, 2, 3]


def test_what_is_mostly_over_is_packed_without_loss() -> None:
    """A few alarms in each of three segments become one segment, before any telemetry is lost."""
    entries = [entry(n, telemetry=95, alarms=5) for n in (1, 2, 3)]
    plan = next(packings(entries, [cursor("alarm"), cursor("telemetry", 10**6)], SIZE, 2))
    assert len(plan.victims) >= 2
    assert Lane.TELEMETRY in plan.keep


def test_the_oldest_telemetry_goes_and_alarms_survive() -> None:
    """When all is undelivered the oldest segment's telemetry is lost; its alarms are copied with a neighbour's."""
    entries = [entry(n, telemetry=95, alarms=5) for n in (1, 2, 3)]
    plan = next(losses(entries, [cursor("alarm"), cursor("telemetry")], SIZE, 2))
    assert lives(plan.victims) == [1, 2]
    assert plan.survives(Lane.ALARM, 150)
    assert not plan.survives(Lane.TELEMETRY, 150)


def test_telemetry_alone_goes_one_segment_at_a_time() -> None:
    """Nothing survives of it, so no more is given up than has to be."""
    entries = [entry(n, telemetry=100) for n in (1, 2, 3)]
    assert lives(next(losses(entries, [cursor("telemetry")], SIZE, 2)).victims) == [1]


def test_alarms_go_only_when_there_is_no_telemetry_left() -> None:
    """Full segments of undelivered alarms: the oldest goes, whole; with telemetry anywhere that goes first."""
    alarms = [entry(n, alarms=100) for n in (1, 2, 3)]
    plan = list(losses(alarms, [cursor("alarm")], SIZE, 2))[-1]
    assert lives(plan.victims) == [1]
    assert not plan.keep
    mixed = [entry(1, alarms=100), entry(2, alarms=60, telemetry=40), entry(3, alarms=100)]
    for each in losses(mixed, [cursor("alarm"), cursor("telemetry")], SIZE, 2):
        assert 2 in lives(each.victims)
        assert Lane.ALARM in each.keep
