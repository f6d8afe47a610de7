"""A full ring on a disk that loses power: the journal's own counts, told to the cloud, balance to the event."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.event import Event
from gateway.forward.drops import dropped
from gateway.forward.forwarder import Forwarder
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.routes import Route
from simulators.disk import SimDisk
from simulators.journal import SimClock
from tests.forward.memory import judge
from tests.forward.test_drops import TellingTarget, total

FOLDER = Path("/sim/journal")
RING = 20 * 16 * 1024
WINDOW = 50
WAIT_S = 60.0


class Commits:
    """A committer that commits on the loop's thread: between two of its turns there is nothing half done."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.before_seal = journal.before_seal
        self.on_durable: Callable[[int], None] = lambda batch: None
        self.stopped = False
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, urgent: bool = False) -> None:
        """Commit soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0 if urgent else 0.002, self.commit)

    def commit(self) -> None:
        """Commit now, with what the journal has to give up for it."""
        self._timer = None
        if self.stopped or (block := self._journal.seal()) is None:
            return
        self._press()
        self._journal.write(block)
        self._journal.settle(block)
        self.on_durable(block.batch)
        self._press()
        if self._journal.open_records:
            self.commit()

    def _press(self) -> None:
        """Give up what has to be given up."""
        while (chore := self._journal.chore()) is not None:
            if chore.pressing:
                chore()
            self._journal.finish(chore)
            if not chore.pressing:
                return


@asynccontextmanager
async def running(disk: SimDisk, target: TellingTarget, seed: int) -> AsyncIterator[tuple[Journal, Commits, Forwarder]]:
    """Run a route over a journal in a small ring; at the end it stops as if power had gone."""
    options = JournalOptions(bytes_max=RING, segment_bytes=16 * 1024, preallocate=False)
    journal = Journal.open(FOLDER, options, SimClock(), disk, random.Random(seed).randbytes)
    commits = Commits(journal)
    route = Route(to="cloud", window_max=WINDOW, dropped_every_s=0.01, retry_first_s=0.002, retry_longest_s=0.01)
    forwarder = Forwarder("cloud", route, target, journal, commits, SystemClock(), gateway="gw")
    commits.on_durable = forwarder.durable
    task = asyncio.create_task(forwarder.run())
    try:
        await until(lambda: journal.get("cursors", "route:cloud:telemetry") is not None)
        commits.commit()
        yield journal, commits, forwarder
    finally:
        commits.stopped = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something to be true."""
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.001)


def append(journal: Journal, dice: random.Random, first: int, count: int) -> list[str]:
    """Append events of some devices that nobody compresses; return their ids."""
    ids = []
    for n in range(first, first + count):
        data = {"n": n, "pad": dice.randbytes(300).hex()}
        event = Event(source="/gw/house", type="reading_taken", subject=f"house/test:{n % 5}", data=data)
        journal.append(event)
        ids.append(event.id)
    return ids


@pytest.mark.parametrize("cuts", [0, 3])
def test_the_ledger_balances(cuts: int) -> None:
    """Away, back and flooded: each event arrives or is told; a power cut adds at most a window that had arrived."""

    async def main() -> None:
        disk, dice = SimDisk(cuts), random.Random(cuts)
        ids, arrived, told = list[str](), list[bytes](), list[Event]()
        for life in range(cuts + 1):
            target = TellingTarget(batch_max=10, windows=3, delay_s=0.001)
            async with running(disk, target, life) as (journal, commits, forwarder):
                for away in (True, False):
                    (target.up.clear if away else target.up.set)()
                    for _ in range(30 if away else 15):
                        ids += append(journal, dice, len(ids), 25)
                        commits.commit()
                        await asyncio.sleep(0.002)
                        await until(lambda f=forwarder: looked(f))
                if life == cuts:
                    await until(lambda f=forwarder, j=journal: not sum(f.status().backlog.values()) and not pending(j))
                    assert dropped(journal, "telemetry") == total([*told, *target.told])
            arrived += target.arrived
            told += target.told
            disk.crash()
        seen, repeats, _ = judge(arrived)
        missing = len(ids) - len(seen)
        assert missing > 100
        assert repeats <= cuts * WINDOW
        assert missing <= total(told) <= missing + cuts * WINDOW

    asyncio.run(main())


def looked(forwarder: Forwarder) -> bool:
    """Return whether the route has seen what the journal gave up."""
    return not any(each.to_check or each.tail.checking for each in forwarder.progress)


def pending(journal: Journal) -> int:
    """Return how many counters are not told yet."""
    return len(journal.table("gaps")) + sum(row["pending"] is not None for row in journal.table("told").values())
