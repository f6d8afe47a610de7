"""What the way out costs an event, without a cloud: the forwarder over a target that takes everything at once.

    python -m tests.benchmarks.forwarder [--events N] [--batch N] [--windows N]

Prints CPU microseconds an event (this process, all threads): the forwarder alone over records in memory, with a
filter, marking replays, and over a real journal whose backlog is on the disk, commits of cursors included.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.forward.forwarder import Forwarder
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.routes import Route
from gateway.targets.target import DELIVERED, Outcome, Outgoing
from tests.forward.memory import MemoryCommitter, MemoryLog, MemoryReader, Stored

WINDOW = 10_000


class NullTarget:
    """Takes everything."""

    name = "null"

    def __init__(self, batch_max: int, windows: int) -> None:
        self.batch_max = batch_max
        self.patience_s = 1.0
        self.windows = windows
        self.taken = 0

    async def run(self) -> None:
        """Have nothing to keep."""
        await asyncio.Event().wait()

    async def ready(self) -> None:
        """Be ready."""

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Take them."""
        self.taken += len(batch)
        return [DELIVERED] * len(batch)

    def status(self) -> dict[str, object]:
        """Say nothing."""
        return {}


class QuickLog(MemoryLog):
    """Serves records of one lane by slicing, so that the reader costs nothing that counts."""

    def reader(self, lane: Lane) -> MemoryReader:
        """Return a reader."""
        return _QuickReader(self, lane)


class _QuickReader(MemoryReader):
    def __init__(self, log: MemoryLog, lane: Lane) -> None:
        super().__init__(log, lane)
        self._stored: list[Stored] = [record for each, record in log.records if each is lane]

    def read(self, after: int, limit: int, bytes_max: int) -> list[Stored]:
        """Return a slice: every record is of one lane here."""
        return self._stored[after : after + limit]


def event(n: int) -> Event:
    """Return an event of about 250 bytes."""
    return Event(
        source="/gw/house",
        type="temperature_changed",
        subject=f"house/z2m:0x00158d000{n % 200:07x}",
        time="2026-11-23T06:02:42.123Z",
        data={"temperature": 21.5 + n % 7, "unit": "Cel", "counter": n},
    )


async def in_memory(count: int, target: NullTarget, *, replayed: bool, **route: Any) -> float:
    """Drain records in memory; return CPU microseconds an event."""
    log = QuickLog()
    for n in range(count):
        log.append(event(n))
    log.commit()
    commits = MemoryCommitter(log)
    forwarder = Forwarder("r", Route(to="null", window_max=WINDOW, **route), target, log, commits, SystemClock())
    commits.on_durable.append(forwarder.durable)
    if not replayed:  # as if they had become durable after the start
        log.durable_sequence = 0
    task = asyncio.create_task(forwarder.run())
    await asyncio.sleep(0.01)
    began = time.process_time()
    if not replayed:
        commits.commit()
        log.commit()
        forwarder.durable(log.batch)
    while target.taken < count:
        await asyncio.sleep(0.001)
    spent = time.process_time() - began
    commits.stopped = True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return spent / count * 1e6


async def from_disk(count: int, target: NullTarget, folder: Path) -> float:
    """Drain a real journal's backlog; return CPU microseconds an event, of all threads."""
    options = JournalOptions(preallocate=False, bytes_max=512 * 1024 * 1024)
    journal = Journal.open(folder, options, SystemClock())
    forwarders: list[Forwarder] = []
    committer = Committer(journal, lambda batch: [each.durable(batch) for each in forwarders] and None)
    committing = asyncio.create_task(committer.run())
    for first in range(0, count, 2000):
        for n in range(first, min(first + 2000, count)):
            journal.append(event(n))
        await committer.flush()
    forwarders.append(Forwarder("r", Route(to="null", window_max=WINDOW), target, journal, committer, SystemClock()))
    began = time.process_time()
    task = asyncio.create_task(forwarders[0].run())
    while target.taken < count:
        await asyncio.sleep(0.001)
    spent = time.process_time() - began
    for each in (task, committing):
        each.cancel()
    await asyncio.gather(task, committing, return_exceptions=True)
    await committer.close()
    return spent / count * 1e6


def main() -> None:
    """Print a line a case."""
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.forwarder", description=main.__doc__)
    options.add_argument("--events", type=int, default=200_000)
    options.add_argument("--batch", type=int, default=100)
    options.add_argument("--windows", type=int, default=4)
    given = options.parse_args()
    cases: dict[str, dict[str, Any]] = {
        "forwarder alone": {"replayed": False},
        "  marking replays": {"replayed": True},
        "  with a filter": {"replayed": False, "types": ("temperature_*",)},
    }
    for name, case in cases.items():
        spent = asyncio.run(in_memory(given.events, NullTarget(given.batch, given.windows), **case))
        print(f"{name:40} {spent:6.2f} us CPU an event")
    with tempfile.TemporaryDirectory() as folder:
        spent = asyncio.run(from_disk(given.events, NullTarget(given.batch, given.windows), Path(folder)))
    print(f"{'with journal reads and cursor commits':40} {spent:6.2f} us CPU an event")


if __name__ == "__main__":
    main()
