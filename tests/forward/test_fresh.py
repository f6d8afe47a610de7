"""`order = "fresh"`: what is new leaves first, the backlog drains behind it; nothing is lost or doubled for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from gateway.event import Lane
from gateway.forward.cursor import RANGES_MAX
from gateway.forward.progress import Progress
from gateway.routes import Route, Selection
from gateway.targets.target import DELIVERED, Outcome, Outgoing
from tests.forward.memory import MemoryLog, judge
from tests.forward.scene import running
from tests.forward.scripted import DOWN, RETRY, ScriptedTarget
from tests.forward.test_chaos import sequence_of, watch_parking

WINDOW = 60


def opened(log: MemoryLog, **route: object) -> Progress:
    """Return a fresh-first reading of the telemetry of a log, as after a start."""
    made = Route(to="x", order="fresh", **route)  # type: ignore[arg-type]
    progress = Progress("cloud", made, log, Lane.TELEMETRY, Selection(made))
    progress.outage_over(log.durable_sequence)
    return progress


def take(progress: Progress, log: MemoryLog, limit: int, *, tail: bool = False) -> list[int]:
    """Deliver up to so many events of the head (or the tail); return their sequences."""
    lane = progress.tail if tail else progress.head
    assert lane is not None
    taken: list[int] = []
    while len(taken) < limit:
        while not lane.ahead and lane.wants():
            lane.received(lane.read(), log.durable_sequence)
        sending = lane.fresh(limit - len(taken))
        if sending is None:
            break
        lane.over(sending)
        taken += [event.sequence for event in sending.events]
    return taken


def new(log: MemoryLog, count: int) -> None:
    """Append so many durable events."""
    log.events(count, start=log.last_sequence)
    log.commit()


def outage(progress: Progress, log: MemoryLog, count: int) -> None:
    """Have an outage of so many events."""
    new(log, count)
    progress.outage_over(log.durable_sequence)


def cursor(progress: Progress, log: MemoryLog) -> dict[str, object]:
    """Put the cursor and return it."""
    progress.put()
    value: dict[str, object] = log.get("cursors", progress.key)
    return value


def two_kinds(arrived: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return what arrived live and what arrived as replayed."""
    live = [raw for raw in arrived if b'"replayed":true' not in raw]
    return live, [raw for raw in arrived if b'"replayed":true' in raw]


def test_a_cursor_is_the_ranges_that_are_over() -> None:
    """Outage by outage the head leaves a range behind, the tail fills the oldest, a restart goes on from both."""
    log = MemoryLog()
    new(log, 100)
    progress = opened(log)
    assert take(progress, log, 10, tail=True) == list(range(1, 11))
    new(log, 20)
    assert take(progress, log, 100) == list(range(101, 121))
    assert cursor(progress, log) == {"after": 10, "done": [[101, 120]]}
    outage(progress, log, 30)
    new(log, 10)
    assert take(progress, log, 5) == list(range(151, 156))
    assert cursor(progress, log) == {"after": 10, "done": [[101, 120], [151, 155]]}
    assert progress.backlog() == 90 + 30 + 5
    log.commit()
    again = opened(log.crash())
    assert take(again, log, 1000, tail=True) == [*range(11, 101), *range(121, 151), *range(156, 161)]
    assert take(progress, log, 1000, tail=True) == [*range(11, 101), *range(121, 151)]
    assert take(progress, log, 1000) == [*range(156, 161)]
    assert cursor(progress, log) == {"after": 160, "done": []}
    assert progress.backlog() == 0
    assert progress.over_through() == 160


def test_what_was_under_way_in_an_outage_stays_with_the_head() -> None:
    """Events that were sent live and not answered are sent again before what is new, and are holes of the cursor."""
    log = MemoryLog()
    progress = opened(log)
    head = progress.head
    assert head is not None
    new(log, 20)
    head.received(head.read(), log.durable_sequence)
    sending = head.fresh(10)
    assert sending is not None
    head.back(sending, range(4, 10))
    outage(progress, log, 10)
    assert cursor(progress, log) == {"after": 4, "done": []}
    retry = head.retry(100)
    assert retry is not None
    assert [event.sequence for event in retry.events] == [5, 6, 7, 8, 9, 10]
    head.over(retry)
    assert take(progress, log, 1000, tail=True) == list(range(11, 31))
    assert cursor(progress, log) == {"after": 30, "done": []}


def test_at_the_limit_no_new_head_opens() -> None:
    """With as many outages as a cursor holds not drained, what is new waits until the oldest one is drained."""
    log = MemoryLog()
    progress = opened(log)
    for _ in range(progress.heads_max + 1):  # the first has nothing live before it: no range between
        outage(progress, log, 10)
        new(log, 2)
        assert len(take(progress, log, 10)) == 2
    outage(progress, log, 10)
    new(log, 2)
    assert take(progress, log, 10) == []
    value = cursor(progress, log)
    assert len(value["done"]) <= RANGES_MAX  # type: ignore[arg-type]
    assert take(progress, log, 10, tail=True) == list(range(1, 11))
    take(progress, log, 1, tail=True)
    progress.open_head()
    new(log, 2)
    assert len(take(progress, log, 10)) == 2
    left = take(progress, log, 10_000, tail=True)
    assert left == sorted(left)
    assert cursor(progress, log) == {"after": log.last_sequence, "done": []}


def test_what_is_new_leaves_before_the_backlog() -> None:
    """Behind a long backlog at a slow target live events arrive as they come; the backlog is marked, they are not."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10, delay_s=0.001)
        ids = log.events(3000)
        log.commit()
        async with running(log, target, order="fresh") as rig:
            await rig.until(lambda: len(target.arrived) >= 50)
            ids += log.events(40, start=5000)
            rig.commits.commit()
            await rig.until(lambda: set(range(5000, 5040)) <= set(target.numbers()))
            assert len(target.arrived) < 2500
            await rig.until(rig.over)
        assert judge(target.arrived)[:2] == (set(ids), 0)
        live, replayed = two_kinds(target.arrived)
        assert len(replayed) == 3000
        assert judge(live)[2] == judge(replayed)[2] == 0

    asyncio.run(main())


def test_live_events_are_not_slowed_by_a_limited_drain() -> None:
    """With `drain_per_s` and fresh first the backlog trickles while live events and alarms leave at once."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(1000)
        log.commit()
        async with running(log, target, order="fresh", drain_per_s=5) as rig:
            await rig.until(lambda: len(target.arrived) > 0)
            log.events(500, start=5000)
            log.events(1, lane="alarm", start=9000)
            rig.commits.commit()
            await rig.until(lambda: {*range(5000, 5500), 9000} <= set(target.numbers()))
            assert len(target.arrived) < 501 + 900

    asyncio.run(main())


@pytest.mark.parametrize("order", ["device", "fresh"])
@pytest.mark.parametrize("drain", [None, 20.0])
def test_a_fresh_alarm_passes_a_large_backlog(order: str, drain: float | None) -> None:
    """Each new alarm is in one of the next sendings, before thousands of older events at a slow target."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=50, windows=2, delay_s=0.005)
        log.events(20_000)
        log.commit()
        async with running(log, target, order=order, drain_per_s=drain) as rig:
            await rig.until(lambda: len(target.arrived) > 0)
            for n in range(10):
                sent = len(target.batches)
                log.events(1, lane="alarm", start=90_000 + n)
                rig.commits.commit()
                await rig.until(lambda n=n: 90_000 + n in target.numbers())
                assert [90_000 + n] in target.batches[sent : sent + 6]
            assert len(target.arrived) < 20_000

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(12))
def test_chaos_fresh_first(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages, retries and crashes: all arrives, a crash repeats at most a window, order but for parked holds."""
    set_aside = watch_parking(monkeypatch)

    async def main() -> None:
        dice = random.Random(seed)
        log, arrived, ids, crashes = MemoryLog(), list[bytes](), list[str](), 0
        log.old = dice.random() < 0.3

        def answer(batch: Sequence[Outgoing]) -> list[Outcome]:
            if dice.random() < 0.05:
                return [DOWN] * len(batch)
            stuck: set[str] = set()
            outcomes = []
            for event in batch:
                if fails and (event.subject in stuck or dice.random() < 0.03):
                    stuck.add(event.subject)
                outcomes.append(RETRY if event.subject in stuck else DELIVERED)
            return outcomes

        for life in range(5):
            target = ScriptedTarget(batch_max=dice.choice([1, 7, 50]), windows=dice.choice([1, 3]))
            fails = target.windows == 1
            target.judge = answer
            options = {"window_max": WINDOW, "replayed_after_s": 0.0, "attempts_max": 10**6, "parked_max": 40}
            async with running(log, target, order="fresh", **options) as rig:
                for _ in range(30):
                    if dice.random() < 0.2:
                        target.up.clear()
                    ids += log.events(dice.randint(1, 30), start=len(ids), devices=5)
                    rig.commits.commit()
                    await asyncio.sleep(dice.choice([0, 0.001, 0.003]))
                    target.up.set()
                    for row in log.durable_tables.get("cursors", {}).values():
                        assert len(row["done"]) <= RANGES_MAX
                if life == 4:
                    target.judge = None
                    await rig.until(rig.over)
            arrived += target.arrived
            crashes += 1
            log = log.crash()
        seen, repeats, _ = judge(arrived)
        assert seen == set(ids)
        assert repeats <= (crashes - 1) * WINDOW
        live, replayed = two_kinds([raw for raw in first_of(arrived) if sequence_of(raw) not in set_aside])
        assert judge(live)[2] == 0
        assert judge(replayed)[2] == 0

    asyncio.run(main())


def first_of(arrived: Sequence[bytes]) -> list[bytes]:
    """Return each event at its first arrival."""
    first: dict[str, bytes] = {}
    for raw in arrived:
        first.setdefault(msgspec.json.decode(raw)["id"], raw)
    return list(first.values())
