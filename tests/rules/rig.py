"""A gateway with nothing but a journal and rules: the real journal, the real committer, the real worker process."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.clock import NS_PER_S, SystemClock, rfc3339, wall_ns_of
from gateway.event import Event, Lane
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.merged import Merged
from gateway.journal.options import JournalOptions
from gateway.rules.protocol import DeviceEntry
from gateway.rules.worker.supervisor import RuleOptions, RuleOutcome, RuleWorker

PATIENCE_S = 120.0  # how long a test waits for what has to happen, while nothing else does
OPTIONS = JournalOptions(bytes_max=8 * 1024 * 1024, segment_bytes=1024 * 1024, max_delay_ms=2.0, preallocate=False)


class MovedClock(SystemClock):
    """The machine's clock, moved by hand."""

    wall_moved_ns = boot_moved_ns = 0

    def wall_ns(self) -> int:
        """Return the wall time."""
        return super().wall_ns() + self.wall_moved_ns

    def boot_ns(self) -> int:
        """Return the time since boot."""
        return super().boot_ns() + self.boot_moved_ns

    def synced(self) -> bool:
        """Believe it."""
        return True

    @classmethod
    def at(cls, wall: str) -> MovedClock:
        """Return one that shows a time now, whatever day it is here, and goes on."""
        made = cls()
        made.wall_moved_ns = wall_ns_of(wall) - made.wall_ns()
        return made

    @classmethod
    def sleep(cls, seconds: float) -> None:
        """Let time pass."""
        cls.wall_moved_ns += round(seconds * NS_PER_S)
        cls.boot_moved_ns += round(seconds * NS_PER_S)


class Rig:
    """Appends events, lets rules see them, keeps what they made of them."""

    def __init__(self, folder: Path, options: RuleOptions, devices: Sequence[DeviceEntry] = ()) -> None:
        self.clock = SystemClock()
        self.journal = Journal.open(folder / "journal", OPTIONS, self.clock)
        self.committer = Committer(self.journal, lambda batch: None)
        self.outcomes: list[RuleOutcome] = []
        self.outputs: list[Event] = []
        self.recorded: list[Event] = []  # what was appended, but for outputs
        self.values: dict[str, dict[str, Any]] = {}
        self._merged = Merged(self.journal, (Lane.ALARM, Lane.TELEMETRY, Lane.TIMER))
        self.rules = RuleWorker(
            options,
            gateway="test",
            log_id=self.journal.log_id,
            clock=self.clock,
            table=lambda name: self.values if name == "values" else self.journal.table(name),
            devices=lambda: devices,
            read=self.read,
            append=self.record,
            on_outcome=self.on_outcome,
            last_sequence=self.journal.last_sequence,
            store=folder / "versions",
        )

    def read(self, after: int, limit: int) -> tuple[Sequence[tuple[int, bytes]], int]:
        """Read back from the journal, as the daemon does."""
        return self._merged.read(after, limit)

    def record(self, event: Event) -> None:
        """Append an event and feed it, as the pipeline does."""
        self.recorded.append(event)
        raw = self.journal.append(event)
        self.committer.wake()
        self.rules.feed([event], [raw])

    def on_outcome(self, outcome: RuleOutcome) -> None:
        """Append an outcome in one batch, as the pipeline does."""
        self.outcomes.append(outcome)
        self.outputs += outcome.outputs
        raws = self.journal.append_all(outcome.outputs) if outcome.outputs else []
        for put in outcome.puts:
            self.journal.put(*put)
        self.committer.wake(bool(raws))
        if raws:
            self.rules.feed(outcome.outputs, raws)

    def event(self, event_type: str, device: str = "house/test:door-front", **data: Any) -> Event:
        """Let something happen now."""
        event = Event(
            source="/test/house", type=event_type, subject=device, time=rfc3339(self.clock.wall_ns()), data=data
        )
        self.values.setdefault(device, {}).update(data)
        self.record(event)
        return event

    def types(self) -> list[str]:
        """Return the types of all outputs so far."""
        return [event.type for event in self.outputs]

    async def until(self, what: Callable[[], object]) -> None:
        """Wait for something to become true; a busy machine has time as long as anything gets on."""
        moved, end = None, 0.0
        while not what():
            now = (self.rules.seen, self.rules.starts, self.rules.edits.edits, len(self.rules.faults))
            if now != moved:
                moved, end = now, time.monotonic() + PATIENCE_S
            assert time.monotonic() < end, f"nothing gets on at {now}"
            await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Wait until the worker has seen everything appended so far."""
        last = self.journal.last_sequence
        await self.until(lambda: self.rules.seen >= last)

    @classmethod
    def make(cls, folder: Path, devices: Sequence[DeviceEntry] = (), **options: Any) -> Rig:
        """Return a rig with the rules in a folder."""
        return cls(folder, RuleOptions(folder=folder / "rules", **options), devices)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Let it work; all of it ends with the block."""
        tasks = [asyncio.create_task(self.committer.run()), asyncio.create_task(self.rules.run())]
        try:
            yield
        finally:
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.committer.close()


@asynccontextmanager
async def running(
    folder: Path, files: dict[str, str], devices: Sequence[DeviceEntry] = (), **options: Any
) -> AsyncIterator[Rig]:
    """Run a rig with these rule files; all of it ends with the block."""
    rules = folder / "rules"
    for name, source in files.items():
        (rules / name).parent.mkdir(parents=True, exist_ok=True)
        (rules / name).write_text("from gateway.rules import *\n" + textwrap.dedent(source))
    rig = Rig.make(folder, devices, **options)
    async with rig.at_work():
        await rig.until(lambda: rig.rules.state.value == "running")
        yield rig
