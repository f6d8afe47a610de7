"""The forwarder against scripted answers, over a journal in memory whose commits and crashes the test decides."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from gateway.targets.target import DELIVERED, Outcome, Verdict
from tests.forward.memory import MemoryLog, judge
from tests.forward.scene import durable_after, running
from tests.forward.scripted import DOWN, REJECTED, RETRY, STOP, THROTTLED, ScriptedTarget, each, number, whole


def test_every_event_arrives_once_in_order_and_the_cursor_follows() -> None:
    """With nothing wrong every event arrives once, in order, and the durable cursor ends behind the last."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(windows=4)
        ids = log.events(3000)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
            await rig.until(lambda: durable_after(log) == 3000)
        seen, repeats, disorder = judge(target.arrived)
        assert (seen, repeats, disorder) == (set(ids), 0, 0)
        assert target.numbers() == list(range(3000))

    asyncio.run(main())


def test_only_durable_events_leave() -> None:
    """An event that is appended and not committed does not leave."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(5)
        log.commit()
        log.events(5, start=5)
        async with running(log, target, delay_s=3600) as rig:
            await rig.until(lambda: len(target.arrived) == 5)
            await asyncio.sleep(0.02)
            assert target.numbers() == [0, 1, 2, 3, 4]
            rig.commits.commit()
            await rig.until(lambda: len(target.arrived) == 10)

    asyncio.run(main())


def test_an_alarm_overtakes_the_backlog() -> None:
    """An alarm that becomes durable amid a backlog leaves with the next sending, not behind the backlog."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10, delay_s=0.001)
        log.events(5000)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(lambda: len(target.arrived) >= 100)
            log.events(1, lane="alarm", start=90_000)
            rig.commits.commit()
            sent = len(target.batches)
            await rig.until(lambda: 90_000 in target.numbers()[-200:] or len(target.arrived) > 4000)
            assert [90_000] in target.batches[sent : sent + 3]

    asyncio.run(main())


def test_a_full_window_of_telemetry_leaves_room_for_alarms() -> None:
    """While telemetry has used up its window an alarm still leaves."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        log.events(500)
        log.commit()
        async with running(log, target, delay_s=3600, window_max=100) as rig:
            rig.commits.wake = lambda urgent=False: None  # type: ignore[method-assign]
            await rig.until(lambda: len(target.arrived) >= 90)
            await asyncio.sleep(0.02)
            assert len(target.arrived) == 90
            log.events(1, lane="alarm", start=90_000)
            log.commit()
            rig.forwarder.durable(0)
            await rig.until(lambda: 90_000 in target.numbers())

    asyncio.run(main())


@pytest.mark.parametrize("window", [10, 100, 1000])
def test_a_kill_repeats_at_most_one_window(window: int) -> None:
    """However often and whenever it is killed, each kill repeats at most `window_max` events, with the same ids."""

    async def main() -> None:
        log = MemoryLog()
        ids = log.events(4000)
        log.commit()
        arrived: list[bytes] = []
        kills = 0
        for at in itertools.count(37, 541):
            target = ScriptedTarget(batch_max=33, windows=3)
            stop_at = at - len(arrived)
            async with running(log, target, window_max=window) as rig:
                await rig.until(lambda t=target, n=stop_at, rig=rig: len(t.arrived) >= n or rig.over())
                done = rig.over()
            arrived += target.arrived
            _, repeats, _ = judge(arrived)
            assert repeats <= kills * window
            if done:
                break
            kills += 1
            log = log.crash()
        seen, _, disorder = judge(arrived)
        assert kills >= 3
        assert seen == set(ids)
        assert disorder == 0

    asyncio.run(main())


def test_a_backlog_drains_without_new_input() -> None:
    """A backlog many windows long drains although nobody else asks for commits: the route asks, half a window each."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=50)
        log.events(5000)
        log.commit()
        async with running(log, target, delay_s=3600, window_max=200) as rig:
            await rig.until(lambda: len(target.arrived) == 5000)
            assert 20 <= rig.commits.urgent <= 100

    asyncio.run(main())


def test_a_quiet_route_asks_for_no_commit_of_its_own() -> None:
    """One event costs no forced commit: its cursor waits for the next block."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        async with running(log, target, delay_s=3600) as rig:
            log.events(1)
            rig.commits.commit()
            await rig.until(lambda: len(target.arrived) == 1)
            before = rig.commits.commits
            await asyncio.sleep(0.02)
            assert rig.commits.urgent == 0
            assert rig.commits.commits == before
            log.events(1, start=1)
            rig.commits.commit()
            assert durable_after(log) >= 1

    asyncio.run(main())


def test_a_rejected_event_is_dead_lettered_with_its_cursor_in_one_batch() -> None:
    """A refusal becomes one dead letter with reason, route, attempts and the event; the others arrive."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        target.judge = each(lambda n: REJECTED if n == 7 else DELIVERED)
        ids = log.events(20)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
            await rig.until(lambda: durable_after(log) >= 20)
        assert target.numbers() == [n for n in range(20) if n != 7]
        (letter,) = log.letters()
        assert letter.type == "event_refused"
        assert letter.cause == ids[7]
        assert letter.subject == "house/test:7"
        assert letter.data["reason"] == "422 Unprocessable"
        assert (letter.data["route"], letter.data["attempts"]) == ("cloud", 1)
        assert letter.data["event"]["id"] == ids[7]

    asyncio.run(main())


def test_a_crash_neither_loses_nor_doubles_a_dead_letter() -> None:
    """A crash at any commit leaves a refused event either unjudged or dead-lettered once, never both or none."""

    async def main() -> None:
        log = MemoryLog()
        log.events(300)
        log.commit()
        for n in range(8):
            target = ScriptedTarget(batch_max=7)
            target.judge = each(lambda n: REJECTED if n % 5 == 0 else DELIVERED)
            async with running(log, target, window_max=20) as rig:
                await rig.until(lambda n=n, rig=rig: rig.commits.commits > 2 or rig.over())
            log = log.crash()
            after = log.get("cursors", "route:cloud:telemetry")
            done = {s for a, b in after["done"] for s in range(a, b + 1)} | set(range(after["after"] + 1))
            lettered = [int(letter.data["event"]["sequence"]) for letter in log.letters()]
            assert len(lettered) == len(set(lettered))
            refused = {s for s in done if s <= 300 and (s - 1) % 5 == 0 and s > 0}
            assert refused == set(lettered)

    asyncio.run(main())


def test_retry_keeps_the_order_of_each_device() -> None:
    """An event that fails some times while others pass is retried before anything newer of its device."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        failures = {5: 3, 42: 2, 77: 3, 111: 1}

        def answer(batch: object) -> list[Outcome]:
            outcomes, stuck = [], set()
            for event in batch:  # type: ignore[attr-defined]
                n = number(event)
                if event.subject in stuck or failures.get(n, 0):
                    failures[n] = failures.get(n, 1) - 1 if event.subject not in stuck else failures.get(n, 0)
                    stuck.add(event.subject)
                    outcomes.append(RETRY)
                else:
                    outcomes.append(DELIVERED)
            return outcomes

        target.judge = answer
        ids = log.events(300)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)
        assert log.letters() == []

    asyncio.run(main())


@pytest.mark.parametrize("batch_max", [1, 10])
def test_others_pass_while_one_device_waits(batch_max: int) -> None:
    """One throttled device holds up itself only, for as long as the target says; nothing of it is dead-lettered."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=batch_max)
        open_ = False
        target.judge = each(lambda n: THROTTLED if n % 10 == 3 and not open_ else DELIVERED)
        ids = log.events(500)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(lambda: len(target.arrived) == 450)
            await asyncio.sleep(0.05)
            assert rig.forwarder.status().parked == 0
            open_ = True
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)
        assert log.letters() == []

    asyncio.run(main())


def test_an_event_that_always_fails_alone_is_parked_then_dead_lettered() -> None:
    """A single event with a fault of its own lets everything pass, also its device, and ends as a dead letter."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        target.judge = each(lambda n: RETRY if n == 33 else DELIVERED)
        log.events(100)
        log.commit()
        async with running(log, target, attempts_max=6) as rig:
            await rig.until(lambda: len(target.arrived) == 99)
            start = itertools.count(1000)
            while not log.letters():  # others must pass for the blame to be its own
                log.events(1, start=next(start))
                rig.commits.commit()
                await asyncio.sleep(0.002)
            (letter,) = log.letters()
            assert letter.data["attempts"] == 6
            assert "500 Internal Server Error" in letter.data["reason"]
            await rig.until(rig.over)
        assert 43 in target.numbers()

    asyncio.run(main())


def test_a_target_that_always_fails_dead_letters_nothing() -> None:
    """While everything fails nothing is blamed: no dead letter, nothing parked, all arrives when it works again."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        target.judge = each(lambda n: RETRY)
        ids = log.events(200)
        log.commit()
        async with running(log, target, attempts_max=5) as rig:
            await rig.until(lambda: len(target.batches) > 60)
            status = rig.forwarder.status()
            assert (status.state, status.parked, status.rejected) == ("backing off", 0, 0)
            assert status.last_error == "500 Internal Server Error"
            target.judge = None
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)

    asyncio.run(main())


def test_a_poison_event_that_fails_its_whole_batch_is_found() -> None:
    """One event that makes every batch with it fail is parked alone; all others arrive, each device in order."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=64)
        target.judge = whole(lambda numbers: RETRY if 333 in numbers else DELIVERED)
        ids = log.events(1000)
        log.commit()
        async with running(log, target, attempts_max=10_000) as rig:
            await rig.until(lambda: len(target.arrived) == 999)
            assert rig.forwarder.status().parked == 1
            target.judge = None
            await rig.until(rig.over)
        assert judge(target.arrived)[:2] == (set(ids), 0)
        assert judge([raw for raw in target.arrived if b'"n":333' not in raw])[2] == 0
        assert log.letters() == []

    asyncio.run(main())


def test_a_poison_event_that_cuts_the_connection_is_found() -> None:
    """One event at which the target drops the connection is parked; the others arrive."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=64, windows=4)
        target.judge = whole(lambda numbers: DOWN if 333 in numbers else DELIVERED)
        log.events(1000)
        log.commit()
        async with running(log, target, attempts_max=10_000) as rig:
            await rig.until(lambda: len(target.arrived) == 999)
            assert rig.forwarder.status().parked == 1
        assert judge([raw for raw in target.arrived if b'"n":333' not in raw])[2] == 0

    asyncio.run(main())


def test_a_link_that_flaps_dead_letters_nothing() -> None:
    """A target that goes away again and again at any event loses, doubles and blames nothing."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=20, windows=3)
        turn = itertools.count()
        target.judge = whole(lambda numbers: DOWN if next(turn) % 3 else DELIVERED)
        ids = log.events(400)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)
        assert log.letters() == []
        assert target.readies > 10

    asyncio.run(main())


def test_an_outage_is_waited_out_in_order() -> None:
    """While the target is down nothing is sent; then all goes on from the first event that is not over."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=20, windows=3)
        ids = log.events(500)
        log.commit()

        def answer(batch: object) -> list[Outcome]:
            if len(target.arrived) >= 100:
                target.up.clear()
            return [DELIVERED if target.up.is_set() else DOWN] * len(batch)  # type: ignore[arg-type]

        target.judge = answer
        async with running(log, target) as rig:
            await rig.until(lambda: rig.forwarder.status().state == "waiting" and not rig.forwarder.status().in_flight)
            sends = len(target.batches)
            ids += log.events(500, start=500)
            rig.commits.commit()
            await asyncio.sleep(0.02)
            assert len(target.batches) == sends
            target.judge = None
            target.up.set()
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)

    asyncio.run(main())


def test_what_waited_through_an_outage_is_marked_replayed() -> None:
    """Events kept through an outage (or from before the start) carry `replayed`; live ones do not."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        log.events(10)
        log.commit()
        async with running(log, target, replayed_after_s=0.01) as rig:
            await rig.until(lambda: len(target.arrived) == 10)
            log.events(10, start=10)
            rig.commits.commit()
            await rig.until(lambda: len(target.arrived) == 20)
            target.up.clear()
            log.events(10, start=20)
            rig.commits.commit()
            await rig.until(lambda: rig.forwarder.status().state == "waiting" and not rig.forwarder.status().in_flight)
            log.events(10, start=30)
            rig.commits.commit()
            await asyncio.sleep(0.05)
            target.up.set()
            await rig.until(rig.over)
            log.events(10, start=40)
            rig.commits.commit()
            await rig.until(rig.over)
        replayed = {n for n, raw in zip(target.numbers(), target.arrived, strict=True) if b'"replayed":true' in raw}
        assert set(range(10)) | set(range(30, 40)) <= replayed
        assert not replayed & (set(range(10, 20)) | set(range(40, 50)))

    asyncio.run(main())


def test_refused_credentials_stop_the_route_and_lose_nothing() -> None:
    """While the target refuses us the route says so, asks slowly with one event, and keeps everything."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=50)
        target.judge = each(lambda n: STOP)
        ids = log.events(300)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(lambda: len(target.batches) > 10)
            assert rig.forwarder.status().state == "refused"
            assert all(len(batch) == 1 for batch in target.batches[1:])
            target.judge = None
            await rig.until(rig.over)
        assert judge(target.arrived) == (set(ids), 0, 0)
        assert log.letters() == []

    asyncio.run(main())


def test_retry_after_is_honoured() -> None:
    """A throttled route is not asked again before the time the target named."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget()
        answers = [Outcome(Verdict.RETRY, "429", after=0.3, throttled=True)]
        asked: list[float] = []

        def judge(_numbers: object) -> Outcome:
            asked.append(asyncio.get_running_loop().time())
            return answers.pop() if answers else DELIVERED

        target.judge = whole(judge)
        log.events(5)
        log.commit()
        async with running(log, target) as rig:
            await rig.until(rig.over)
        assert asked[1] - asked[0] > 0.299

    asyncio.run(main())


def test_parked_events_survive_a_crash() -> None:
    """The retry list is in the cursor: after a crash a parked event is neither lost nor in anybody's way."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        target.judge = each(lambda n: RETRY if n == 33 else DELIVERED)
        log.events(200)
        log.commit()
        async with running(log, target, retry_longest_s=3600, retry_first_s=0.01) as rig:
            start = itertools.count(200)
            while not rig.forwarder.status().parked:  # others must pass to show that it is its own fault
                log.events(1, start=next(start))
                rig.commits.commit()
                await asyncio.sleep(0.002)
            await rig.until(lambda: len(target.arrived) == log.last_sequence - 1)
            rig.commits.commit()
        first = list(target.arrived)
        log = log.crash()
        cursor = log.get("cursors", "route:cloud:telemetry")
        assert cursor["after"] == 33
        assert cursor["parked"][0][0] == 34
        target = ScriptedTarget(batch_max=10)
        async with running(log, target) as rig:
            await rig.until(rig.over)
        assert target.numbers() == [33]
        assert judge(first + target.arrived)[1] == 0

    asyncio.run(main())


def test_a_parked_event_is_not_given_up_while_nobody_passes() -> None:
    """Attempts of a parked event count only when others pass between them: else the target may be at fault."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        target.judge = each(lambda n: RETRY if n == 5 else DELIVERED)
        log.events(50)
        log.commit()
        async with running(log, target, attempts_max=20) as rig:  # more than pass meanwhile: some waited behind it
            start = itertools.count(50)
            while not rig.forwarder.status().parked:
                log.events(1, start=next(start))
                rig.commits.commit()
                await asyncio.sleep(0.002)
            await rig.until(lambda: len(target.arrived) == log.last_sequence - 1)
            sends = len(target.batches)
            await rig.until(lambda: len(target.batches) > sends + 20)
            assert log.letters() == []
            target.judge = None
            await rig.until(rig.over)
        assert 5 in target.numbers()

    asyncio.run(main())


def test_a_cut_with_only_parked_events_left_is_got_over() -> None:
    """When the connection is cut by a parked event and nothing else is left, the parked event is tried again."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        target.judge = each(lambda n: RETRY if n == 5 else DELIVERED)
        log.events(50)
        log.commit()
        async with running(log, target) as rig:
            start = itertools.count(50)
            while not rig.forwarder.status().parked:
                log.events(1, start=next(start))
                rig.commits.commit()
                await asyncio.sleep(0.002)
            target.judge = each(lambda n: DOWN)
            readies = target.readies
            await rig.until(lambda: target.readies > readies)
            target.judge = None
            await rig.until(rig.over)
        assert 5 in target.numbers()

    asyncio.run(main())


def test_a_full_retry_list_blocks_only_its_devices() -> None:
    """With the retry list full the next bad event waits in place with its device; the other devices go on."""

    async def main() -> None:
        log, target = MemoryLog(), ScriptedTarget(batch_max=10)
        target.judge = each(lambda n: RETRY if n in (1, 12, 23) else DELIVERED)
        log.events(200)
        log.commit()
        async with running(log, target, parked_max=2, attempts_max=1000) as rig:
            await rig.until(lambda: {n for n in range(200) if n % 10 not in (1, 2, 3)} <= set(target.numbers()))
            await rig.until(lambda: rig.forwarder.status().parked == 2)
            target.judge = None
            await rig.until(rig.over)
        assert set(target.numbers()) == set(range(200))

    asyncio.run(main())
