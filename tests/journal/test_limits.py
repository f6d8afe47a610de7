"""Limits of lanes: ranges and amounts, and what is given up of a whole journal, and when. Budget: 10 s."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import rfc3339
from gateway.event import Event, Lane
from gateway.journal import limits
from gateway.journal.journal import Journal
from gateway.journal.merged import Merged
from gateway.journal.options import AlarmLimits, DeadLetterLimits, JournalOptions, TelemetryLimits
from simulators import offline
from simulators.disk import SimDisk
from simulators.journal import SimClock

FOLDER = Path("/sim/journal")
KIB = 1024
RING = JournalOptions(bytes_max=20 * 16 * KIB, segment_bytes=16 * KIB, preallocate=False)
RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 6)).map(lambda each: (each[0], sum(each))), max_size=5)


def ring(policy: str = "thin", **more: object) -> JournalOptions:
    """Return options of a small ring with limits for telemetry."""
    return msgspec.structs.replace(RING, telemetry=TelemetryLimits(policy=policy, **more))  # type: ignore[arg-type]


class House:
    """A journal, its clock and its disk."""

    def __init__(self, options: JournalOptions, routes: tuple[str, ...] = ("cloud",)) -> None:
        self.options, self.clock, self.disk = options, SimClock(), SimDisk(1)
        self.journal = Journal.open(FOLDER, options, self.clock, self.disk)
        self.said: dict[str, int] = {}
        for route in routes:
            for lane in ("alarm", "telemetry"):
                self.journal.put("cursors", f"route:{route}:{lane}", {"after": 0, "done": []})

    def say(self, count: int, lane: str = "telemetry", *, pause_s: float = 10, rules: bool = True) -> None:
        """Say something that often, and commit each."""
        for _ in range(count):
            self.clock.pass_time(pause_s)
            pad = self.clock.boot_ns() * 0x9E3779B97F4A7C15 % (1 << 2000)
            time = rfc3339(self.clock.wall_ns())
            device = f"house/{self.journal.last_sequence % 3}"
            data = {"level": 1, "pad": f"{pad:x}"}
            event = Event(source="/pi", type="level_changed", subject=device, time=time, lane=lane, data=data)  # type: ignore[arg-type]
            self.journal.append(event)
            self.said[lane] = self.said.get(lane, 0) + 1
            if rules:
                self.journal.put("cursors", "rules", {"after": self.journal.durable_sequence, "done": []})
            self.commit()

    def commit(self) -> None:
        """Commit, and do all that is due."""
        self.journal.commit()
        while (chore := self.journal.chore()) is not None:
            chore()
            self.journal.finish(chore)
            if chore.result is None or (not chore.pressing and chore.result.placed is None):
                return

    def delivered(self, route: str, lane: str, after: int) -> None:
        """Move a route's cursor."""
        self.journal.put("cursors", f"route:{route}:{lane}", {"after": after, "done": []})

    def kept(self, lane: Lane = Lane.TELEMETRY, *, given_up: bool = False) -> list[int]:
        """Return the sequences that a reader sees."""
        reader = self.journal.reader(lane, given_up=given_up)
        found = [each.sequence for each in reader.read(0, 1 << 30, 1 << 30)]
        assert reader.count(0) == len(found)
        reader.close()
        return found

    def dropped(self, cursor: str = "route:cloud:telemetry") -> dict[str, int]:
        """Return what was counted for a cursor, by reason."""
        return {row["reason"]: row["count"] for row in self.journal.table("gaps").values() if row["cursor"] == cursor}

    def again(self) -> None:
        """Cut the power and start again; what is counted and what is given up is as it was."""
        before = (dict(self.journal.table("gaps")), dict(self.journal.table("limits")), self.kept())
        self.disk.crash()
        self.journal = Journal.open(FOLDER, self.options, self.clock, self.disk)
        assert (dict(self.journal.table("gaps")), dict(self.journal.table("limits")), self.kept()) == before


# -- arithmetic ------------------------------------------------------------------------------------------------------


@given(RANGES, RANGES, st.integers(1, 70), st.integers(0, 20), st.integers(0, 70))
def test_ranges_are_sets_of_numbers(
    some: list[tuple[int, int]], more: list[tuple[int, int]], first: int, length: int, after: int
) -> None:
    """Joining, taking away and going on behind say what sets of all the numbers say."""

    def numbers(ranges: object) -> set[int]:
        return {n for low, high in ranges for n in range(low, high + 1)}  # type: ignore[attr-defined]

    over = limits.joined(limits.joined((), some), more)
    assert numbers(over) == numbers(some) | numbers(more)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(over)), "disjoint and sorted"
    part = numbers([(first, first + length)])
    assert numbers(limits.without(over, first, first + length)) == part - numbers(over)
    beyond = limits.beyond(over, after)
    assert numbers([(after + 1, beyond)]) <= numbers(over)
    assert beyond + 1 not in numbers(over)
    assert numbers(limits.pruned(over, after)) >= {n for n in numbers(over) if n > after}
    assert limits.Limit.read(limits.Limit(over, 8).row()) == limits.Limit(over, 8)


# -- age -------------------------------------------------------------------------------------------------------------


def test_what_is_older_than_its_lane_allows_expires() -> None:
    """After a day without a cloud nothing older than an hour, and little younger, is gone; alarms stay."""
    house = House(ring(age_max_s=3600.0))
    house.say(1, "alarm")
    house.say(300, pause_s=60)
    kept = house.kept()
    assert 55 <= len(kept) <= 70
    assert kept[-1] == house.journal.last_sequence
    assert house.dropped() == {"expired": 300 - len(kept)}
    assert house.kept(Lane.ALARM) == [1]
    house.again()


def test_nothing_expires_by_a_clock_that_is_not_synced() -> None:
    """A clock that is years off drops nothing; when it is right again, that expires in its turn."""
    house = House(ring(age_max_s=3600.0))
    house.say(10)
    house.clock.wrong_ns = 10 * 365 * 86_400 * 10**9
    house.say(30, pause_s=300)
    assert house.dropped() == {}
    assert len(house.kept()) == 40
    house.clock.wrong_ns = 0
    house.say(20, pause_s=60)
    assert house.dropped() == {"expired": 10}, "of nothing else it can be believed that it is an hour old"
    house.say(60, pause_s=60)
    kept = house.kept()
    assert min(kept) > 40, "what is before an expired record is older still"
    assert house.dropped() == {"expired": 120 - len(kept)}


# -- bytes, by policy ------------------------------------------------------------------------------------------------


def test_oldest_keeps_the_end_within_its_bytes() -> None:
    """Telemetry beyond its own limit goes from the old end though the ring has room, alarms do not."""
    house = House(ring("oldest", bytes_max=30_000))
    for _ in range(10):
        house.say(1, "alarm")
        house.say(20)
    kept = house.kept()
    first = min(kept)
    assert house.dropped() == {"evicted": 200 - len(kept)}
    assert len(house.kept(Lane.ALARM)) == 10
    assert kept == [n for n in house.kept(given_up=True) if n >= first], "the end is whole"
    reader = house.journal.reader(Lane.TELEMETRY)
    assert reader.bytes_behind(0) <= 30_000 + 16 * KIB, "a segment is sealed before it is looked at"
    house.again()


def test_newest_keeps_the_beginning_and_counts_what_came_after() -> None:
    """The old stays; what arrives is on the disk for rules and for a route that is up, then given up for the slow."""
    house = House(ring("newest"), routes=("cloud", "lan"))
    for _ in range(900):
        house.say(1)
        house.delivered("lan", "telemetry", house.journal.durable_sequence)
    kept = house.kept()
    hole = next(n for n in range(1, 901) if n not in kept)
    assert hole > 80
    assert kept[: hole - 1] == list(range(1, hole))
    assert kept[-1] == 900, "what came last is not given up yet"
    assert house.dropped() == {"lane_full": 900 - len(kept)}
    assert house.dropped("route:lan:telemetry") == {}
    house.again()
    house.delivered("cloud", "telemetry", 900)
    house.say(300, pause_s=1)
    house.delivered("lan", "telemetry", 1200)
    assert house.journal.last_sequence in house.kept()


def test_thin_loses_nothing_for_a_route_that_is_up() -> None:
    """The slow route has an even sample, the other had everything; rules had what they wanted before it was thinned."""
    house = House(ring(), routes=("cloud", "lan"))
    for _ in range(600):
        house.say(1)
        house.delivered("lan", "telemetry", house.journal.durable_sequence)
    kept = house.kept()
    assert house.dropped() == {"thinned": 600 - len(kept)}
    assert house.dropped("route:lan:telemetry") == {}
    assert house.dropped("rules") == {}
    thirds = [sum(low < n <= low + 150 for n in kept) for low in (0, 150, 300)]
    assert max(thirds) <= 1.5 * min(thirds)
    house.again()


def test_the_bucket_goes_when_its_backlog_is_delivered() -> None:
    """After the outage telemetry is whole again, over a restart, too."""
    house = House(ring())
    house.say(600)
    assert house.journal.get("limits", "telemetry")["bucket_s"] > 0  # type: ignore[index]
    house.again()
    end = house.journal.durable_sequence
    house.delivered("cloud", "telemetry", end)
    house.say(80)
    assert house.journal.get("limits", "telemetry") is None
    assert [n for n in house.kept() if n > end] == list(
        range(house.journal.last_sequence - 79, house.journal.last_sequence + 1)
    )


def test_rules_that_lag_are_not_thinned() -> None:
    """What rules have not had stays for them, or is counted for them, whatever routes may lose."""
    house = House(ring())
    house.say(120, rules=False)
    house.journal.put("cursors", "rules", {"after": 0, "done": []})
    house.say(500, rules=False)
    there = house.kept(given_up=True)
    assert house.dropped("rules").get("thinned", 0) == 0
    assert sum(house.dropped("rules").values()) + len(there) == 620
    merged = Merged(house.journal, (Lane.ALARM, Lane.TELEMETRY))
    assert [sequence for sequence, _ in merged.read(0, 1 << 30)[0]] == there
    merged.close()


def test_alarms_beyond_their_own_limit_make_way_for_newer_ones() -> None:
    """The newest alarms stay, within their bytes; telemetry is not touched for it."""
    house = House(msgspec.structs.replace(RING, alarm=AlarmLimits(bytes_max=20_000)))
    house.say(20)
    house.say(150, "alarm")
    kept = house.kept(Lane.ALARM)
    assert kept == list(range(171 - len(kept), 171))
    assert 10 < len(kept) < 100
    assert house.dropped("route:cloud:alarm") == {"evicted": 150 - len(kept)}
    assert house.dropped() == {}


def test_dead_letters_are_a_capped_lane() -> None:
    """They outlive delivered segments around them, within their bytes and their age; what goes is counted."""
    capped = DeadLetterLimits(bytes_max=6 * KIB, age_max_s=None)
    house = House(msgspec.structs.replace(RING, dead_letters=capped))
    for _ in range(24):
        house.say(1, "dead_letter")
        house.say(149)
        house.delivered("cloud", "telemetry", house.journal.durable_sequence)
    kept = house.kept(Lane.DEAD_LETTER)
    assert len(kept) >= 4
    between = set(range(min(kept), house.journal.last_sequence)) - set(kept)
    assert between - set(house.kept()), "delivered telemetry that is younger is gone before them"
    assert house.dropped("dead_letters") == {"evicted": 24 - len(kept)}
    assert house.dropped() == {}
    house.options = msgspec.structs.replace(RING, dead_letters=DeadLetterLimits(age_max_s=60.0))
    house.journal.close()
    house.journal = Journal.open(FOLDER, house.options, house.clock, house.disk)
    house.clock.pass_time(3600)
    house.say(60)
    assert house.kept(Lane.DEAD_LETTER) == []
    assert house.dropped("dead_letters")["expired"] == len(kept)


# -- the whole of it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["thin", "oldest", "newest"])
def test_an_outage_balances_to_the_event(policy: offline.Policy) -> None:
    """Hours offline into a ring many times too small: each alarm is there, each dropped event is counted."""
    result = offline.run(0.15, 1_000_000, 7, policy)
    assert result["balanced"], result
    assert result["alarms_missing"] == 0
    assert result["delivered"]["telemetry"] < result["appended"]["telemetry"] / 1.5
    assert policy != "thin" or (result["even"] and set(result["dropped"]["telemetry"]) == {"thinned"}), result


def test_the_same_seed_is_the_same_outage() -> None:
    """A run can be repeated."""
    assert offline.run(0.05, 1_000_000, 3) == offline.run(0.05, 1_000_000, 3)


# -- options ---------------------------------------------------------------------------------------------------------


def test_limits_that_cannot_be_are_refused() -> None:
    """A lane's limit beyond the journal's, nothing at all, or no time at all is a fault with its name."""
    with pytest.raises(ValueError, match=r"journal\.alarm\.bytes_max is more than"):
        JournalOptions(bytes_max=1 << 20, segment_bytes=1 << 16, alarm=AlarmLimits(bytes_max=1 << 21))
    for wrong in ({"bytes_max": 0}, {"age_max_s": 0.0}):
        with pytest.raises(ValueError, match="leave it out"):
            TelemetryLimits(**wrong)  # type: ignore[arg-type]


def test_a_small_budget_has_small_segments() -> None:
    """64 MB are 32 segments, so that what is not thinned yet is little; the default and what is asked for stay."""
    assert JournalOptions(bytes_max=64 << 20).segment_size == 2 << 20
    assert JournalOptions().segment_size == 8 << 20
    assert JournalOptions(bytes_max=256 << 20, segment_bytes=16 << 20).segment_size == 16 << 20
