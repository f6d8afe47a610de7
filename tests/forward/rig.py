"""A route over a real journal: journal, committer and forwarder wired as the daemon wires them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.clock import SystemClock
from gateway.event import Event, Lane, decode
from gateway.forward.forwarder import Forwarder
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.routes import Route
from gateway.targets.target import Target

OPTIONS = JournalOptions(bytes_max=64 * 1024 * 1024, max_delay_ms=2.0, cursor_delay_s=0.05, preallocate=False)
QUICK = {"retry_first_s": 0.005, "retry_longest_s": 0.05, "refused_retry_s": 0.05}
WAIT_S = 60.0


class Rig:
    """A journal with one route."""

    def __init__(self, folder: Path, target: Target, route: Route, options: JournalOptions = OPTIONS) -> None:
        self.journal = Journal.open(folder, options, SystemClock())
        self.committer = Committer(self.journal, self._durable)
        self.target = target
        self.forwarder = Forwarder("cloud", route, target, self.journal, self.committer, SystemClock())

    def _durable(self, batch: int) -> None:
        self.forwarder.durable(batch)

    def append(self, count: int, *, start: int = 0, devices: int = 10, lane: str = "telemetry") -> list[str]:
        """Append events n = start, ... of devices in turn; return their ids."""
        ids = []
        for n in range(start, start + count):
            subject = f"house/test:{n % devices}"
            event = Event(source="/gw/house", type="temperature_changed", subject=subject, lane=lane, data={"n": n})  # type: ignore[arg-type]
            self.journal.append(event)
            ids.append(event.id)
        self.committer.wake(urgent=lane == "alarm")
        return ids

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to be true."""
        async with asyncio.timeout(WAIT_S):
            while not true():
                await asyncio.sleep(0.002)

    def over(self) -> bool:
        """Return whether nothing is left to do and the journal is at rest."""
        status = self.forwarder.status()
        left = sum(status.backlog.values()) or status.in_flight or status.waiting or status.parked
        return not left and self.journal.durable_sequence == self.journal.last_sequence

    def letters(self) -> list[Event]:
        """Return the dead letters on the disk."""
        return [decode(stored.raw) for stored in self.journal.reader(Lane.DEAD_LETTER).read(0, 10_000, 1 << 30)]


@asynccontextmanager
async def running(
    folder: Path, target: Target, *, options: JournalOptions = OPTIONS, **route: object
) -> AsyncIterator[Rig]:
    """Run it; at the end it stops without `finish`, as if killed, but for the journal's file handles."""
    rig = Rig(folder, target, Route(to="cloud", **{**QUICK, **route}), options)
    tasks = [asyncio.create_task(each) for each in (rig.committer.run(), target.run(), rig.forwarder.run())]
    try:
        yield rig
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await rig.committer.close()
        await asyncio.sleep(0)
