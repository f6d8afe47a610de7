"""The rule worker from the gateway's side: feed it, watch it, end it at its limit, start the next one.

Runs on the event loop of the gateway and never waits for a rule.  `feed` takes records at append, before they
are on the disk; the outcome of a batch comes back through `on_outcome`, to be appended in one journal batch with
the cursor it carries.  So whatever happens to the worker, the tables hold the state of the last committed
outcome, and the next worker starts from there and gets the same records again.

Bounds: `records_max` and `bytes_max` of backlog in memory (older records are read back from the journal),
`FRAMES_IN_FLIGHT_MAX` batches of `BATCH_RECORDS` without an outcome, `call_s_max` a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from gateway.clock import Clock, rfc3339
from gateway.event import Event
from gateway.rules.backlog import Backlog, Record
from gateway.rules.blame import Activity
from gateway.rules.diary import Diary
from gateway.rules.house import kind_of
from gateway.rules.options import RuleOptions
from gateway.rules.process import WorkerProcess
from gateway.rules.protocol import (
    Batch,
    DeviceEntry,
    FromWorker,
    Inventory,
    Outcome,
    Ready,
    RuleFault,
    RuleInfo,
    Start,
)
from gateway.rules.questions import NoAnswer
from gateway.rules.schedule import Schedule
from gateway.rules.trouble import quarantined
from gateway.rules.verdicts import Verdicts, ending

log = logging.getLogger(__name__)

__all__ = ["RuleOptions", "RuleOutcome", "RuleWorker"]

RuleOutcome = Outcome
TABLES = ("values", "rule_state", "timers", "holds", "alerts", "modes")  # what a worker starts from
CURSOR_KEY = "rules"  # of the table "cursors"
BATCH_RECORDS = 256
FRAMES_IN_FLIGHT_MAX = 2
WATCH_S = 0.1  # how often a running call is looked at
FRAME_S_MAX = 30.0  # a batch without an outcome and without a call to blame
IDLE_CURSOR_S = 5.0  # how often a cursor that moved over uninteresting records is written
TIMERS_PER_TURN_MAX = 100
TIMER_CHECK_S_MAX = 30.0  # the machine may have slept
CATCH_UP_POLL_S = 0.05
FAULTS_KEPT_MAX = 100
_LANES = frozenset(("alarm", "telemetry"))


class State(Enum):
    """What `status` says about the worker."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # before the next start
    STOPPED = "stopped"


Behind = tuple[Sequence[Record], int]
"""Records read back, and the sequence up to which everything durable was looked at."""


class RuleWorker:
    """Supervises the worker process. All methods belong to the event loop's thread."""

    def __init__(
        self,
        options: RuleOptions,
        *,
        gateway: str,
        log_id: str,
        clock: Clock,
        table: Callable[[str], Mapping[str, Any]],
        devices: Callable[[], Sequence[DeviceEntry]],
        read: Callable[[int, int], Behind],
        append: Callable[[Event], None],
        on_outcome: Callable[[RuleOutcome], None],
        last_sequence: int,
    ) -> None:
        """Wire it up.

        * `table(name)` gives a durable table; for "values" what the decoders hold now.
        * `devices()` gives the installation: devices.toml, and devices seen but not adopted.
        * `read(after, limit)` is called in a thread; durable records of the lanes alarm, telemetry and timer.
        * `append(event)` journals an event of the lane timer and feeds it like any other.
        * `on_outcome(outcome)` journals `outputs` (feeding them, too) and `puts`, in one batch.
        * `last_sequence` is the journal's at start.
        """
        self._options = options
        self._gateway = gateway
        self._log_id = log_id
        self._clock = clock
        self._table = table
        self._devices = devices
        self._read = read
        self._append = append
        self._on_outcome = on_outcome
        self._live_after = last_sequence
        saved = table("cursors").get(CURSOR_KEY)
        after = saved["after"] if saved else last_sequence  # a first start does not run over history
        self._backlog = Backlog(after, last_sequence, options.records_max, options.bytes_max)
        self._saved_cursor = after
        self._schedule = Schedule(clock)
        self._process: WorkerProcess | None = None
        self._ready: Ready | None = None
        self._known: set[str] = set()  # devices the worker knows
        self._types: frozenset[str] | None = None  # None: every event
        self._fields: frozenset[str] | None = None
        self._flush_wanted = False
        self._catching_up: asyncio.Task[None] | None = None
        self._sent_at = 0.0
        self._resting = False  # the watch waits for something to be sent
        self._stir = asyncio.Event()  # something was sent, or the worker ended
        self._timers_moved = asyncio.Event()
        self.diary = Diary(clock)
        self._verdicts = Verdicts(self.diary.ended)
        self.state = State.STOPPED
        self.faults: list[RuleFault] = []
        self.starts = 0

    def feed(self, events: Sequence[Event], raws: Sequence[bytes]) -> None:
        """Take appended events, in order: one set lookup for an event that no rule looks at."""
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
        self._backlog.offered = int(events[-1].sequence)
        if found:
            self._backlog.add(found)
            if not self._flush_wanted:
                self._flush_wanted = True
                asyncio.get_running_loop().call_soon(self._flush)

    def _met(self, device: str) -> None:
        """Tell the worker what a device is that it has not heard of yet."""
        self._known.add(device)
        kind = kind_of(DeviceEntry(device), self._table("values").get(device, {}))
        if kind and self._process is not None and self._ready is not None:
            self._process.send(Inventory([DeviceEntry(device, kind=kind)]))

    def _flush(self) -> None:
        """Send what waits, as long as the worker keeps up."""
        self._flush_wanted = False
        process, backlog = self._process, self._backlog
        if process is None or self._ready is None:
            return
        if backlog.behind:
            if self._catching_up is None or self._catching_up.done():
                self._catching_up = asyncio.create_task(self._catch_up(process), name="gateway.rules[catch up]")
            return
        while backlog.in_flight < FRAMES_IN_FLIGHT_MAX:
            records = backlog.take(BATCH_RECORDS)
            if not records:
                return
            self._send(process, records)

    def _send(self, process: WorkerProcess, records: Sequence[Record]) -> None:
        self._sent_at = time.monotonic()
        if self._resting:  # whoever watches a busy worker looks every WATCH_S anyway
            self._stir.set()
        raws = [raw for _, raw in records]
        process.send(Batch(raws, records[-1][0], self._clock.wall_ns(), self._live_after))

    async def _catch_up(self, process: WorkerProcess) -> None:
        """Read from the journal until memory holds the rest."""
        backlog = self._backlog
        while backlog.behind and process is self._process:
            if backlog.in_flight >= FRAMES_IN_FLIGHT_MAX:
                await asyncio.sleep(CATCH_UP_POLL_S / 10)
                continue
            position = backlog.position
            records, through = await asyncio.to_thread(self._read, position, BATCH_RECORDS)
            if process is not self._process or backlog.position != position:
                return
            backlog.read(records, through)
            if records:
                self._send(process, records)
            elif through <= position:
                await asyncio.sleep(CATCH_UP_POLL_S)  # appended and not durable yet
        if process is self._process:
            self._flush()

    def _received(self, message: FromWorker) -> None:
        if isinstance(message, Ready):
            self._loaded(message)
        else:
            self._settle(message)

    def _loaded(self, ready: Ready) -> None:
        self._ready = ready
        self._types = frozenset(ready.types)
        self._fields = None if ready.fields is None else frozenset(ready.fields)
        self.state = State.RUNNING
        self.faults = list(ready.faults)
        self.diary.loaded(ready.faults)
        log.info("rules: %d loaded, worker %d", len(ready.rules), self._process.pid if self._process else 0)
        self._append(self._event("rules_loaded", "", {"hash": ready.hash, "rules": len(ready.rules)}))
        self._flush()

    def _settle(self, outcome: Outcome) -> None:
        self._backlog.done(outcome.upto)
        self._verdicts.outcome(outcome.upto)
        self._sent_at = time.monotonic()
        if not outcome.empty:
            self._commit(outcome)
        self._flush()

    def _commit(self, outcome: Outcome) -> None:
        """Hand an outcome over with its cursor, and wait for the timers it sets."""
        self.diary.outcome(outcome)
        self.faults = (self.faults + outcome.faults)[-FAULTS_KEPT_MAX:]
        outcome.puts = [self._scheduled(*put) for put in outcome.puts]
        self._saved_cursor = self._backlog.committed
        outcome.puts.append(("cursors", CURSOR_KEY, {"after": self._saved_cursor, "done": []}))
        self._on_outcome(outcome)

    def _scheduled(self, table: str, key: str, row: Any) -> tuple[str, str, Any]:
        if table == "timers":
            self._schedule.remove(key)
            if row is not None:
                row = self._schedule.anchored(row)
                self._schedule.add(key, row)
            self._timers_moved.set()
        return table, key, row

    async def _keep_time(self) -> None:
        """Append a `timer_fired` record for each timer that is due."""
        while True:
            wait = min(self._schedule.wait_s(), TIMER_CHECK_S_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):  # not wait_for: before 3.12 it may swallow a cancellation
                    await self._timers_moved.wait()
            self._timers_moved.clear()
            for due in self._schedule.due(TIMERS_PER_TURN_MAX):
                rule, kind = str(due.row.get("rule", "")), str(due.row.get("kind", ""))
                data = {"timer": due.key, "rule": rule, "kind": kind, "due": rfc3339(int(due.row["due"]))}
                event = self._event("timer_fired", f"rule:{rule}", data, due.wall_ns)
                clock = event.clock if due.trusted else "unsynced"
                self._append(msgspec.structs.replace(event, clock=clock, hops=int(due.row.get("hops", 0))))

    async def _keep_cursor(self) -> None:
        """Write a cursor that moved over records no rule looks at, so that the journal may reclaim them."""
        while True:
            await asyncio.sleep(IDLE_CURSOR_S)
            cursor = self._backlog.settle()
            if cursor != self._saved_cursor:
                self._commit(Outcome(cursor))

    def _event(self, event_type: str, subject: str, data: dict[str, Any], wall_ns: int | None = None) -> Event:
        return Event(
            source=f"/{self._gateway}/rules",
            type=event_type,
            subject=subject,
            time=rfc3339(self._clock.wall_ns() if wall_ns is None else wall_ns),
            lane="timer",
            actor="gateway",
            clock=None if self._clock.synced() else "unsynced",
            data=data,
        )

    async def run(self) -> None:
        """Keep a worker running until cancelled."""
        for key, row in self._table("timers").items():
            self._schedule.add(key, row)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_time(), name="gateway.rules[time]")
                tasks.create_task(self._keep_cursor(), name="gateway.rules[cursor]")
                tasks.create_task(self._live(), name="gateway.rules[worker]")
        finally:
            self.state = State.STOPPED

    async def _live(self) -> None:
        while True:
            await self._one_life()
            self.state = State.WAITING
            await asyncio.sleep(self._verdicts.pause_s)

    async def _one_life(self) -> None:
        """Start a worker and stay with it to its end."""
        self.state = State.STARTING
        self.starts += 1
        process = WorkerProcess(self._received, self._stir.set)
        try:
            await process.connect()
            self._process, self._sent_at = process, time.monotonic()
            process.send(self._start_message())
            await self._watch(process)
        finally:
            self._process = self._ready = self._types = self._fields = None
            if self._catching_up is not None:
                self._catching_up.cancel()
            await asyncio.shield(process.kill())
            self._backlog.rewind()
            process.close()

    async def _watch(self, process: WorkerProcess) -> None:
        """Return when the worker has ended or has to; find out why and whose fault it is."""
        while not process.ended:
            busy = self._ready is None or self._backlog.in_flight
            self._resting = not busy
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S if busy else None):
                    await self._stir.wait()
            self._stir.clear()
            if not busy or process.ended:
                continue
            overdue = process.overdue(self._options.call_s_max, self._options.load_s_max)
            if overdue is not None:
                loading = overdue.activity is Activity.LOAD
                limit_s = self._options.load_s_max if loading else self._options.call_s_max
                reason = f"did not return within {limit_s:g} s"
                return self._verdicts.judge(overdue, self.rules, reason, await process.stack())
            if time.monotonic() - self._sent_at > FRAME_S_MAX:
                reason = f"no answer within {FRAME_S_MAX:g} s"
                return self._verdicts.judge(process.blame(), self.rules, reason, await process.stack())
        reason = ending(await process.kill())
        return self._verdicts.judge(process.blame(), self.rules, process.broken or reason, process.written_stack())

    def _start_message(self) -> Start:
        devices = list(self._devices())
        self._known = {entry.id for entry in devices}.union(self._table("values"), ("",))
        return Start(
            folder=str(self._options.folder.resolve()),
            gateway=self._gateway,
            log_id=self._log_id,
            devices=devices,
            modes=self._options.modes,
            timezone=self._options.timezone,
            tables={name: dict(self._table(name)) for name in TABLES},
            excluded=self._verdicts.excluded(),
            blamed=self._verdicts.blamed,
            late_s=self._options.late_s,
            memory_bytes_max=self._options.memory_bytes_max,
        )

    def devices_changed(self, devices: Sequence[DeviceEntry]) -> None:
        """Tell the worker of devices that were added, renamed or moved."""
        if self._process is not None and self._ready is not None:
            self._known.update(entry.id for entry in devices)
            self._process.send(Inventory(list(devices)))
            self._append(self._event("rules_loaded", "", {"hash": self._ready.hash, "rules": len(self._ready.rules)}))

    @property
    def rules(self) -> Sequence[RuleInfo]:
        """The rules the running worker has loaded."""
        return self._ready.rules if self._ready else ()

    async def ask(self, what: str, **arguments: Any) -> Any:
        """Ask the worker; between two batches it answers. Raises NoAnswer."""
        if self._process is None or self._ready is None:
            raise NoAnswer(f"the rule worker is {self.state.value}")
        return await self._process.questions.ask(what, **arguments)

    @property
    def seen(self) -> int:
        """The sequence up to which rules have had their say, or which no rule looks at."""
        return self._backlog.settle()

    def quarantined(self) -> list[tuple[str, str]]:
        """Return the rules in quarantine, and why."""
        return quarantined(self._table("rule_state"))

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows."""
        return {
            "state": self.state.value,
            "rules": len(self.rules),
            "fired": sum(self.diary.fired.values()),
            "backlog": len(self._backlog),
            "behind": self._backlog.behind,
            "timers": len(self._schedule),
            "starts": self.starts,
            "faults": [str(fault) for fault in (self._ready.faults if self._ready else ())],
        }
