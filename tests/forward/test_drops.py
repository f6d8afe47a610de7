"""What the cloud is told of events that it will never see: each exactly once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gateway.event import Event, Lane
from gateway.forward.drops import Drops, dropped, rest_told_by
from gateway.routes import Route
from gateway.targets.target import DELIVERED, Outcome, Outgoing
from tests.forward.memory import MemoryLog, judge
from tests.forward.scene import durable_after, running
from tests.forward.scripted import DOWN, REJECTED, RETRY, ScriptedTarget

CURSOR = "route:cloud:telemetry"


class TellingTarget(ScriptedTarget):
    """Keeps what it is told of dropped events apart from the events."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.told: list[Event] = []
        self.answer: Outcome | None = None  # to the next events_dropped, then delivered again

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Take an events_dropped, or answer as told."""
        if batch[0].type != "events_dropped":
            return await super().send(batch)
        await asyncio.sleep(self.delay_s)
        if not self.up.is_set():
            return [DOWN] * len(batch)
        if self.answer is not None:
            answer, self.answer = self.answer, None
            return [answer] * len(batch)
        assert all(event.lane == Lane.ALARM for event in batch)
        self.told += [msgspec.json.decode(event.raw, type=Event) for event in batch]
        return [DELIVERED] * len(batch)


def total(told: Sequence[Event], cursor: str = CURSOR) -> int:
    """Return the sum over distinct ids; one id says one thing."""
    counts: dict[str, int] = {}
    for event in told:
        assert counts.setdefault(event.id, event.data["count"]) == event.data["count"]
    about = {event.id for event in told if event.subject == f"journal/{cursor}"}
    return sum(counts[each] for each in about)


def pending(log: MemoryLog) -> int:
    """Return how many counters are being told."""
    return sum(row["pending"] is not None for row in log.durable_tables.get("told", {}).values())


def test_the_cloud_is_told_what_was_dropped_and_the_counter_is_reset() -> None:
    """A counter becomes one event with range, times and reason; its delivery and its reset are one commit."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        log.drop(CURSOR, Lane.TELEMETRY, 30, first=5, last=90)
        async with running(log, target) as rig:
            await rig.until(lambda: target.told and not pending(log))
            await asyncio.sleep(0.02)
        (event,) = target.told
        assert (event.type, event.lane, event.actor, event.source) == (
            "events_dropped",
            "alarm",
            "gateway",
            "/gw/journal",
        )
        assert event.data == {
            "consumer": "route",
            "route": "cloud",
            "lane": "telemetry",
            "reason": "evicted",
            "code": "EG-204",
            "count": 30,
            "first_sequence": 5,
            "last_sequence": 90,
            "first_time": "2023-11-14T22:13:20.000Z",
            "last_time": "2023-11-14T22:14:20.000Z",
        }
        assert log.durable_tables["gaps"] == {}
        assert dropped(log, "telemetry") == 30
        assert log.letters() == []

    asyncio.run(main())


def test_what_is_dropped_while_it_is_told_comes_with_the_next_event() -> None:
    """A count that grows while its event is on the way is neither lost nor told twice."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget(delay_s=0.05)
        log.drop(CURSOR, Lane.TELEMETRY, 30)
        async with running(log, target, dropped_every_s=0.0) as rig:
            await rig.until(lambda: pending(log))
            log.drop(CURSOR, Lane.TELEMETRY, 4)
            log.drop(CURSOR, Lane.TELEMETRY, 8)
            await rig.until(lambda: total(target.told) == 42)
            assert [event.data["count"] for event in target.told] == [30, 12]
            assert dropped(log, "telemetry") == 42
            await rig.until(lambda: not log.durable_tables["gaps"] and not pending(log))

    asyncio.run(main())


def test_a_journal_that_stays_full_makes_no_stream() -> None:
    """Of one counter there is one event in `dropped_every_s`, over a restart too; then the rest is told in one."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        async with running(log, target, dropped_every_s=3600.0) as rig:
            for _ in range(20):
                log.drop(CURSOR, Lane.TELEMETRY, 1)
                rig.commits.commit()
                await asyncio.sleep(0.002)
            await rig.until(lambda: target.told and not pending(log))
        assert len(target.told) == 1
        log = log.crash()
        async with running(log, target, dropped_every_s=3600.0) as rig:
            await rig.until(lambda: rig.forwarder.status().state == "idle")
            await asyncio.sleep(0.02)
            assert len(target.told) == 1
            assert dropped(log, "telemetry") == 20
        async with running(log.crash(), target, dropped_every_s=0.01) as rig:
            await rig.until(lambda: total(target.told) == 20)
        assert len(target.told) == 2

    asyncio.run(main())


def test_it_is_told_before_the_backlog_around_the_hole() -> None:
    """While thousands wait the cloud hears first of those that it will never see, by a route of telemetry alone too."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget(batch_max=10, delay_s=0.001)
        log.events(3000)
        log.commit()
        log.drop(CURSOR, Lane.TELEMETRY, 7)
        async with running(log, target, lanes=("telemetry",), types=("nothing_else", "temperature_*")) as rig:
            await rig.until(lambda: target.told)
            assert len(target.arrived) < 1500
            await rig.until(rig.over)

    asyncio.run(main())


def test_nothing_is_told_while_the_cloud_is_away() -> None:
    """In an outage the counters just count; when the route is up the sum is one event."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        target.up.clear()
        async with running(log, target) as rig:
            for _ in range(10):
                log.drop(CURSOR, Lane.TELEMETRY, 5)
                rig.commits.commit()
                await asyncio.sleep(0.001)
            assert "told" not in log.tables
            target.up.set()
            await rig.until(lambda: target.told and not pending(log))
        assert [event.data["count"] for event in target.told] == [50]

    asyncio.run(main())


def test_nothing_is_told_before_it_is_on_the_disk() -> None:
    """An events_dropped leaves when the block with its bytes is durable: else a crash could tell its count twice."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        async with running(log, target) as rig:
            await rig.until(lambda: durable_after(log) >= 0)
            rig.commits.wake = lambda urgent=False: None  # type: ignore[method-assign]
            log.drop(CURSOR, Lane.TELEMETRY, 30)
            rig.forwarder.durable(0)
            await rig.until(lambda: "told" in log.tables)
            await asyncio.sleep(0.02)
            assert target.told == []
            rig.commits.commit()
            await rig.until(lambda: target.told)

    asyncio.run(main())


@pytest.mark.parametrize("answer", [RETRY, DOWN])
def test_it_is_sent_again_under_its_id(answer: Outcome) -> None:
    """An events_dropped that fails, or is cut off, is sent again with the same id and content."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        log.drop(CURSOR, Lane.TELEMETRY, 30)
        target.answer = answer
        async with running(log, target) as rig:
            await rig.until(lambda: target.told and not pending(log))
        assert total(target.told) == 30

    asyncio.run(main())


def test_a_refused_one_is_a_dead_letter() -> None:
    """A cloud that refuses events_dropped finds it among the dead letters, counted once, and nothing is stuck."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        log.drop(CURSOR, Lane.TELEMETRY, 30)
        log.events(10)
        log.commit()
        target.answer = REJECTED
        async with running(log, target) as rig:
            await rig.until(lambda: log.letters() and not pending(log) and rig.over())
        (letter,) = log.letters()
        assert letter.data["event"]["data"]["count"] == 30
        assert letter.data["route"] == "cloud"
        assert target.told == []
        assert log.durable_tables["gaps"] == {}

    asyncio.run(main())


def test_who_tells_what_is_no_routes_own() -> None:
    """Gaps of rules, commands, dead letters and of routes that are gone are told by one route; not those of others."""

    async def main() -> None:
        log, target = MemoryLog(), TellingTarget()
        cursors = ["rules", "commands", "dead_letters", "route:gone:alarm", "route:cloud:alarm"]
        for n, cursor in enumerate(cursors):
            log.drop(cursor, Lane.TELEMETRY, n + 1)
        log.drop("route:other:telemetry", Lane.TELEMETRY, 99)
        async with running(log, target, rest_of={"cloud", "other"}) as rig:
            await rig.until(lambda: len(target.told) == 5)
            await asyncio.sleep(0.02)
        assert {(event.data["consumer"], event.data["route"], event.data["count"]) for event in target.told} == {
            ("rules", None, 1),
            ("commands", None, 2),
            ("dead_letters", None, 3),
            ("route", "gone", 4),
            ("route", "cloud", 5),
        }
        assert list(log.tables["gaps"]) == ["route:other:telemetry:evicted"]
        routes = {"a": Route(to="x", lanes=("telemetry",)), "b": Route(to="x"), "c": Route(to="x")}
        assert rest_told_by(routes) == "b"
        assert rest_told_by({"a": routes["a"]}) == "a"
        assert rest_told_by({}) is None

    asyncio.run(main())


def test_rows_of_routes_that_are_gone_are_cleared_when_all_is_told() -> None:
    """What was told for a route that is no more is forgotten at a start, unless something of it waits."""
    log = MemoryLog()
    row = {"lane": "alarm", "told": 5, "n": 1, "made_ns": 0, "pending": None}
    log.put("told", "route:gone:alarm:evicted", {**row, "cursor": "route:gone:alarm"})
    log.put("told", "route:late:alarm:evicted", {**row, "cursor": "route:late:alarm"})
    log.put("told", f"{CURSOR}:evicted", {**row, "cursor": CURSOR})
    log.drop("route:late:alarm", Lane.ALARM, 1)
    Drops("cloud", Route(to="x"), log, clock=None, rest_of={"cloud"})  # type: ignore[arg-type]
    assert sorted(log.table("told")) == [f"{CURSOR}:evicted", "route:late:alarm:evicted"]


@pytest.mark.parametrize("order", ["device", "fresh"])
@pytest.mark.parametrize("seed", range(4))
def test_sent_is_delivered_and_told(seed: int, order: str) -> None:
    """However much is evicted while the route sends, retries and waits: every event arrives or is told, never both."""

    async def main() -> None:
        dice = random.Random(seed)
        log, target = MemoryLog(), TellingTarget(batch_max=dice.choice([1, 20]), windows=3, delay_s=0.001)
        mood = {"fails": 0.0}

        def answer(batch: Sequence[Outgoing]) -> list[Outcome]:
            if dice.random() < 0.1:
                return [DOWN] * len(batch)
            return [RETRY if dice.random() < mood["fails"] else DELIVERED for _ in batch]

        target.windows = 1 if seed % 2 else 3
        mood["fails"] = 0.1 if seed % 2 else 0.0
        target.judge = answer
        ids: list[str] = []
        async with running(
            log, target, order=order, dropped_every_s=0.005, window_max=50, replayed_after_s=0.0, attempts_max=10**6
        ) as rig:
            await rig.until(lambda: durable_after(log) >= 0)
            for n in range(25):
                ids += log.events(50, start=n * 50, devices=7)
                rig.commits.commit()
                if n == 12 or dice.random() < 0.4:  # once all, so that some have not left for certain
                    log.evict(len(ids) if n == 12 else dice.randint(1, 120))
                    rig.commits.commit()
                    await rig.until(rig.looked)
                await asyncio.sleep(dice.choice([0, 0.001, 0.01]))
            target.judge = None
            await rig.until(lambda: rig.over() and not log.table("gaps") and not pending(log))
        seen, repeats, _ = judge(target.arrived)
        assert repeats == 0
        assert total(target.told) == len(ids) - len(seen)
        assert total(target.told) > 0
        assert log.letters() == []

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_anywhere_tells_each_drop_once(seed: int) -> None:
    """Crashes between making, sending, delivering and resetting: over distinct ids the sum told is what was dropped."""

    async def main() -> None:
        dice = random.Random(seed)
        log, told, sum_dropped = MemoryLog(), list[Event](), 0
        for _ in range(25):
            target = TellingTarget(delay_s=dice.choice([0.0, 0.002]))
            target.answer = dice.choice([None, None, RETRY, DOWN])
            async with running(log, target, dropped_every_s=0.0, delay_s=dice.choice([0.0, 0.003])) as rig:
                for _ in range(dice.randint(1, 6)):
                    sum_dropped += (count := dice.randint(1, 9))
                    log.drop(CURSOR, Lane.TELEMETRY, count)
                    if dice.random() < 0.5:
                        rig.commits.commit()
                    await asyncio.sleep(dice.choice([0.0, 0.001, 0.004]))
            told += target.told
            log = log.crash()
            assert total(told) <= sum_dropped
        target = TellingTarget()
        async with running(log, target, dropped_every_s=0.0) as rig:
            rig.commits.commit()
            await rig.until(lambda: not log.durable_tables.get("gaps") and not pending(log))
        assert total(told + target.told) == sum_dropped

    asyncio.run(main())
