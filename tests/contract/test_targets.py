"""What every target promises, whatever protocol it speaks. A new one is a line in far_ends.FAR_ENDS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.event import Lane
from gateway.targets.target import Verdict
from tests.contract.far_ends import FAR_ENDS, REFUSED, FarEnd
from tests.targets.outgoing import outgoing

WAIT_S = 120.0

every_target = pytest.mark.parametrize("name", FAR_ENDS)


@asynccontextmanager
async def open_(name: str, folder: Path) -> AsyncIterator[FarEnd]:
    """Open a far end and run its target, ready."""
    async with FAR_ENDS[name](folder) as far_end, asyncio.timeout(WAIT_S):
        running = asyncio.create_task(far_end.target.run())
        try:
            await asyncio.sleep(0)
            await far_end.target.ready()
            yield far_end
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def arrived(far_end: FarEnd, count: int) -> list[dict[str, object]]:
    """Wait until so many events have arrived at the far side of the far end."""
    while len(far_end.arrived()) < count:
        await asyncio.sleep(0.005)
    return far_end.arrived()


@every_target
def test_one_outcome_an_event_and_every_event_arrives(name: str, tmp_path: Path) -> None:
    """A batch gets one outcome for each event; what is delivered has arrived, unchanged, each device in order."""

    async def main() -> None:
        async with open_(name, tmp_path) as far_end:
            batch = outgoing(min(100, far_end.target.batch_max))
            outcomes = await far_end.target.send(batch)
            assert [outcome.verdict for outcome in outcomes] == [Verdict.DELIVERED] * len(batch)
            got = await arrived(far_end, len(batch))
            assert sorted(map(json.dumps, got)) == sorted(json.dumps(json.loads(event.raw)) for event in batch)
            for device in {event.subject for event in batch}:
                ids = [event["id"] for event in got if event["subject"] == device]
                assert ids == [event.id for event in batch if event.subject == device]

    asyncio.run(main())


@every_target
def test_as_many_sends_as_it_says_keep_their_order(name: str, tmp_path: Path) -> None:
    """`windows` sends of one lane at once, and one of the other lane beside them, arrive in order."""

    async def main() -> None:
        async with open_(name, tmp_path) as far_end:
            windows = far_end.target.windows
            assert windows >= 1
            batches = [outgoing(20, start=20 * i) for i in range(windows)]
            batches.append(outgoing(20, start=90_000, lane=Lane.ALARM))
            outcomes = await asyncio.gather(*(far_end.target.send(batch) for batch in batches))
            assert {outcome.verdict for each in outcomes for outcome in each} == {Verdict.DELIVERED}
            got = await arrived(far_end, 20 * (windows + 1))
            for device in {event["subject"] for event in got}:
                numbers = [event["data"]["n"] for event in got if event["subject"] == device]  # type: ignore[index]
                for lane in (False, True):
                    ours = [n for n in numbers if (n >= 90_000) is lane]
                    assert ours == sorted(ours)

    asyncio.run(main())


@every_target
def test_refused_events_are_rejected_and_the_others_arrive(name: str, tmp_path: Path) -> None:
    """Events that are refused for what they are get REJECTED with the far end's reason; all others are delivered."""

    async def main() -> None:
        async with open_(name, tmp_path) as far_end:
            await far_end.target.send(outgoing(1, start=1000))
            batch = outgoing(20)
            for at in (7, 12):
                batch[at] = outgoing(1, start=at, device=REFUSED)[0]
            rejected: dict[str, str] = {}
            waiting = batch
            while waiting:  # a broker may drop the connection at each refusal
                await far_end.target.ready()
                outcomes = await far_end.target.send(waiting)
                judged = list(zip(waiting, outcomes, strict=True))
                rejected |= {e.subject: outcome.reason for e, outcome in judged if outcome.verdict is Verdict.REJECTED}
                waiting = [e for e, outcome in judged if outcome.verdict not in (Verdict.DELIVERED, Verdict.REJECTED)]
            assert list(rejected) == [REFUSED]
            assert rejected[REFUSED]
            got = await arrived(far_end, 19)
            assert REFUSED not in [event["subject"] for event in got]

    asyncio.run(main())


@every_target
def test_a_far_end_that_is_away_rejects_nothing(name: str, tmp_path: Path) -> None:
    """While the far end is gone sends raise nothing and judge nothing; `ready` waits, and then all is well again."""

    async def main() -> None:
        async with open_(name, tmp_path) as far_end:
            assert (await far_end.target.send(outgoing(5)))[0].verdict is Verdict.DELIVERED
            await far_end.stop()
            outcomes = await far_end.target.send(outgoing(10, start=5))
            verdicts = {outcome.verdict for outcome in outcomes}
            assert len(outcomes) == 10
            assert Verdict.DOWN in verdicts
            assert verdicts <= {Verdict.DOWN, Verdict.RETRY}
            assert all(outcome.reason for outcome in outcomes)
            waiting = asyncio.create_task(far_end.target.ready())
            await asyncio.sleep(0.1)
            assert not waiting.done()
            assert far_end.target.status()["last_error"]
            await far_end.start()
            await waiting
            again = await far_end.target.send(outgoing(10, start=5))
            assert {outcome.verdict for outcome in again} == {Verdict.DELIVERED}

    asyncio.run(main())


@every_target
def test_a_cut_amid_sends_answers_every_event(name: str, tmp_path: Path) -> None:
    """When the far end goes away amid sends each event still gets an outcome, and none is rejected."""

    async def main() -> None:
        async with open_(name, tmp_path) as far_end:
            sends = [asyncio.create_task(far_end.target.send(outgoing(50))) for _ in range(far_end.target.windows)]
            await asyncio.sleep(0.01)
            await far_end.stop()
            for send in sends:
                outcomes = await send
                assert len(outcomes) == 50
                assert Verdict.REJECTED not in {outcome.verdict for outcome in outcomes}
            await far_end.start()

    asyncio.run(main())


@every_target
def test_it_says_how_it_is(name: str, tmp_path: Path) -> None:
    """`status` is JSON and says where, whether connected, and since when."""

    async def main() -> None:
        async with open_(name, tmp_path) as far_end:
            await far_end.target.send(outgoing(1))
            said = json.loads(msgspec.json.encode(far_end.target.status()))
            assert said["connected"] is True
            assert said["since"]
            assert ":" in said["url"]

    asyncio.run(main())


@every_target
def test_cancelled_it_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    """After `run` is cancelled no task of the target is left."""

    async def main() -> None:
        before = asyncio.all_tasks()
        async with open_(name, tmp_path) as far_end:
            await far_end.target.send(outgoing(5))
        async with asyncio.timeout(WAIT_S):
            while not asyncio.all_tasks() <= before:
                await asyncio.sleep(0.005)

    asyncio.run(main())
