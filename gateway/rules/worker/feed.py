"""Sends records to the worker that is at it: those its rules look at, in order, as long as it keeps up.

What an event costs that no rule looks at is here: one or two set lookups.  The filter belongs to the rules that run;
when others take over, records that it left out and nobody has judged are read again from the journal, so that the
new rules see everything behind the cursor, and nothing before it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.event import Event
from gateway.rules.language.house import kind_of
from gateway.rules.protocol import Batch, DeviceEntry, GateInfo, Inventory, Ready
from gateway.rules.worker.backlog import Backlog, Record
from gateway.rules.worker.process import WorkerProcess

BATCH_RECORDS = 256
FRAMES_IN_FLIGHT_MAX = 2
CATCH_UP_POLL_S = 0.05
CLOCKS_MAX = 16  # changes of the wall clock that are known behind them; records do not wait that long

Behind = tuple[Sequence[Record], int]
"""Records read back, and the sequence up to which everything durable was looked at."""

_LANES = frozenset(("alarm", "telemetry"))


class Feed:
    """Keeps records until a worker is there that wants them."""

    def __init__(
        self,
        backlog: Backlog,
        clock: Clock,
        live_after: int,
        read: Callable[[int, int], Behind],
        values: Callable[[], Mapping[str, Any]],
        on_send: Callable[[], None],
    ) -> None:
        """Wire it up.

        backlog     what waits
        live_after  records with a greater sequence were appended since the gateway started
        read        `read(after, limit)` is called in a thread: durable records
        values      the last values of devices
        on_send     is called when something is sent
        """
        self.backlog = backlog
        self._clock = clock
        self._live_after = live_after
        self._read = read
        self._values = values
        self._on_send = on_send
        self._process: WorkerProcess | None = None
        self._types: frozenset[str] | None = None  # None: every event
        self._fields: frozenset[str] | None = None
        self._known: set[str] = set()  # devices the worker knows
        self._filtered = 0  # up to here a filter left records out
        self._flush_wanted = False
        self._catching_up: asyncio.Task[None] | None = None
        self._wary_upto = 0  # up to here one record at a time: a worker ended over them
        self._told: deque[tuple[int, int, int]] = deque()  # of batches in flight: last record, wall and boot clock
        self._clocks: deque[tuple[int, int]] = deque(maxlen=CLOCKS_MAX)  # until which record, wall minus boot clock
        self.sent_at = 0.0
        self.gates: list[Callable[[Sequence[GateInfo], Collection[str]], None]] = []  # are told which gates rules have
        self._gates: Sequence[GateInfo] | None = None  # those of the rules that ran last; None: nobody knows yet
        self._excluded: frozenset[str] = frozenset()  # files that the worker did not load
        self.held = False  # nothing more is sent to this worker: another one takes over
        self.asleep = False  # there are no rules

    def take(self, events: Sequence[Event], raws: Sequence[bytes]) -> None:
        """Take appended events, in order: one set lookup for an event that no rule looks at."""
        if self.asleep:
            self.backlog.offered = int(events[-1].sequence)
            return
        types, fields, known = self._types, self._fields, self._known
        found: list[Record] = []
        for event, raw in zip(events, raws, strict=True):
            if (
                types is None
                or event.type in types
                or ((fields is None or not fields.isdisjoint(event.data)) and event.lane in _LANES)
            ):
                if event.subject not in known:
                    self._met(event.subject)
                found.append((int(event.sequence), raw))
        self.backlog.offered = int(events[-1].sequence)
        if found:
            self.backlog.add(found)
            if not self._flush_wanted:
                self._flush_wanted = True
                asyncio.get_running_loop().call_soon(self.flush)

    def _met(self, device: str) -> None:
        """Tell the worker what a device is that it has not heard of yet."""
        self._known.add(device)
        kind = kind_of(DeviceEntry(device), self._values().get(device, {}))
        if kind and self._process is not None:
            self._process.send(Inventory([DeviceEntry(device, kind=kind)]))

    def begin(
        self, process: WorkerProcess, ready: Ready, known: set[str], left_out: frozenset[str], *, changed: bool
    ) -> None:
        """Send to a worker that was told all tables; `changed`: its rules are others than those before.

        left_out  files of which no version runs
        """
        filtered = self._filtered if self._types is None else self.backlog.offered
        if changed and filtered > self.backlog.settle():
            self.backlog.reread(filtered)
        self._process, self._known, self.held = process, known, False
        self._told.clear()
        self._types = frozenset(ready.types)
        self._fields = None if ready.fields is None else frozenset(ready.fields)
        self._catching_up = None  # whoever is at it sees that the worker is another one
        self._gates = ready.gates
        self._excluded = frozenset(Path(fault.file).name for fault in ready.faults if not fault.rule)
        self.leave_out(left_out)
        self.sent_at = time.monotonic()

    def sleep(self, left_out: frozenset[str]) -> None:
        """Keep no records from now on: there are no rules, but for those in files of which no version runs."""
        self.asleep = True
        self.backlog.forget()
        self._gates, self._excluded = (), frozenset()
        self.leave_out(left_out)

    def leave_out(self, files: frozenset[str]) -> None:
        """Say which gates there are, and which files may hold others but are left out."""
        if self._gates is not None:
            for tell in self.gates:
                tell(self._gates, files | self._excluded)

    def end(self) -> None:
        """Take back what the worker had that is gone; from now on every event is kept for the next one."""
        if self._types is not None:
            self._filtered = self.backlog.offered
        self._process = self._types = self._fields = None
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._wary_upto = self.backlog.position
        self.backlog.rewind()

    def install(self, inventory: Inventory) -> None:
        """Tell the worker of devices that were added, renamed or moved."""
        if self._process is not None:
            self._known.update(entry.id for entry in inventory.devices)
            self._process.send(inventory)

    def flush(self) -> None:
        """Send what waits, as long as the worker keeps up."""
        self._flush_wanted = False
        process, backlog = self._process, self.backlog
        if process is None or self.held:
            return
        if backlog.behind:
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.create_task(self._catch_up(process), name="gateway.rules[catch up]")
            return
        while backlog.in_flight < FRAMES_IN_FLIGHT_MAX:
            last = self._clock_at(backlog.next)[1] if self._clocks else None
            records = backlog.take(1 if backlog.position < self._wary_upto else BATCH_RECORDS, last)
            if not records:
                return
            self._send(process, records)

    def _send(self, process: WorkerProcess, records: Sequence[Record]) -> None:
        self.sent_at = time.monotonic()
        self._on_send()
        raws = [raw for _, raw in records]
        offset_ns = self._clock_at(records[0][0])[0] if self._clocks else None
        boot_ns = self._clock.boot_ns()
        wall_ns = self._clock.wall_ns() if offset_ns is None else boot_ns + offset_ns
        self._told.append((records[-1][0], wall_ns, boot_ns))
        process.send(Batch(raws, records[-1][0], wall_ns, self._live_after))

    def clock_set(self, last: int, offset_ns: int) -> None:
        """Take note that records up to one were stamped by another clock: rules are told its time with them.

        Else what they waited for would be reckoned from one clock to the other, and be over at once, or in years.
        """
        self._clocks.append((last, offset_ns))

    def _clock_at(self, sequence: int) -> tuple[int | None, int | None]:
        """Return by which clock a live record was stamped, and the last one of it; nothing: by the one there is."""
        for last, offset_ns in self._clocks:
            if self._live_after < sequence <= last:
                return offset_ns, last
        return None, None

    def told(self, upto: int) -> tuple[int, int] | None:
        """Return wall and boot clock as they were when the worker got the records it has judged up to here."""
        while self._told and self._told[0][0] < upto:
            self._told.popleft()
        return self._told[0][1:] if self._told else None

    async def _catch_up(self, process: WorkerProcess) -> None:
        """Read from the journal until memory holds the rest."""
        backlog = self.backlog
        while backlog.behind and process is self._process and not self.held:
            if backlog.in_flight >= FRAMES_IN_FLIGHT_MAX:
                await asyncio.sleep(CATCH_UP_POLL_S / 10)
                continue
            position = backlog.position
            records, through = await asyncio.to_thread(self._read, position, BATCH_RECORDS)
            if process is not self._process or backlog.position != position:
                return
            last = self._clock_at(records[0][0])[1] if records and self._clocks else None
            if last is not None and last < through:
                records, through = [record for record in records if record[0] <= last], last
            backlog.read(records, through)
            if records:
                self._send(process, records)
            elif through <= position:
                await asyncio.sleep(CATCH_UP_POLL_S)  # appended and not durable yet
        if process is self._process and not self.held:
            self.flush()
