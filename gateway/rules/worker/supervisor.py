"""The rule worker from the gateway's side: feed it, watch it, end it at its limit, let another one take over.

Runs on the event loop of the gateway and never waits for a rule.  `feed` takes records at append, before they
are on the disk; the outcome of a batch comes back through `on_outcome`, to be appended in one journal batch with
the cursor it carries.  So whatever happens to the worker, the tables hold the state of the last committed
outcome, and the next worker starts from there and gets the same records again.

A change of the rules is the same without a death: edits.py hands over a process that has loaded the new files; when
no batch is in flight, it is told the tables as they are, and from that record on everything is its own.

Bounds: `records_max` and `bytes_max` of backlog in memory (older records are read back from the journal),
`FRAMES_IN_FLIGHT_MAX` batches of `BATCH_RECORDS` without an outcome, `call_s_max` a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gateway.clock import Clock, rfc3339
from gateway.event import Event
from gateway.rules.files.candidate import CandidateFailed, end
from gateway.rules.files.edits import Edits
from gateway.rules.files.snapshot import is_rule_file
from gateway.rules.files.terms import Succession
from gateway.rules.language.acting import AS_USUAL, Acting
from gateway.rules.options import RuleOptions
from gateway.rules.protocol import DeviceEntry, FromWorker, Inventory, Outcome, Ready, RuleFault, RuleInfo, Start
from gateway.rules.records import disabled_rows, quarantined
from gateway.rules.worker.admission import objection
from gateway.rules.worker.backlog import Backlog
from gateway.rules.worker.diary import Diary
from gateway.rules.worker.feed import Behind, Feed
from gateway.rules.worker.process import WorkerProcess
from gateway.rules.worker.questions import NoAnswer
from gateway.rules.worker.state import State
from gateway.rules.worker.timekeeper import Timekeeper
from gateway.rules.worker.verdicts import Verdicts, ending, lateness

log = logging.getLogger(__name__)

__all__ = ["RuleOptions", "RuleOutcome", "RuleWorker", "State"]

RuleOutcome = Outcome
TABLES = ("values", "rule_state", "timers", "holds", "alerts", "modes", "inputs")  # what a worker starts from
OWN_TABLES = ("rule_state", "timers", "holds", "alerts")  # with rows in them there is something to do without rules
CURSOR_KEY = "rules"  # of the table "cursors"
WATCH_S = 0.05  # how often a running call is looked at
FRAME_S_MAX = 30.0  # a batch without an outcome and without a call to blame
IDLE_CURSOR_S = 5.0  # how often a cursor that moved over uninteresting records is written
FAULTS_KEPT_MAX = 100


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
        store: Path | None = None,
        recipients: Sequence[str] = (),
        acting: Acting = AS_USUAL,
    ) -> None:
        """Wire it up.

        * `table(name)` gives a durable table; for "values" what the decoders hold now.
        * `devices()` gives the installation: devices.toml, and devices seen but not adopted.
        * `read(after, limit)` is called in a thread; durable records of the lanes alarm, telemetry and timer.
        * `append(event)` journals an event of the lane timer and feeds it like any other.
        * `on_outcome(outcome)` journals `outputs` (feeding them, too) and `puts`, in one batch.
        * `last_sequence` is the journal's at start; `store` the folder for good versions of files (None: none is kept).
        """
        self._gateway, self._log_id = gateway, log_id
        self._table, self._devices = table, devices
        self._on_outcome = on_outcome
        saved = table("cursors").get(CURSOR_KEY)
        after = saved["after"] if saved else last_sequence  # a first start does not run over history
        self._saved_cursor = after
        self._backlog = Backlog(after, last_sequence, options.records_max, options.bytes_max)
        self._feed = Feed(self._backlog, clock, last_sequence, read, partial(table, "values"), self._was_sent)
        self.feed, self.gates = self._feed.take, self._feed.gates
        self.time, self.diary = Timekeeper(gateway, clock, append), Diary(clock)
        self._wake = asyncio.Event()  # there is something to start
        named = (recipients, acting)
        self.edits = Edits(options, clock, store, lambda: list(devices()), self._propose, self._wake.set, *named)
        self.edits.on_left_out = self._feed.leave_out
        self._process: WorkerProcess | None = None
        self._ready: Ready | None = None
        self._next: Succession | None = None
        self._resting = False  # the watch waits for something to be sent
        self._stir = asyncio.Event()  # something was sent, the worker ended, or another one is there
        self._ending: set[asyncio.Task[None]] = set()  # workers that were followed by another one
        self._verdicts = Verdicts(self.diary.ended)
        self.state, self.starts = State.STOPPED, 0
        self._faults: list[RuleFault] = []  # of what runs

    def _was_sent(self) -> None:
        if self._resting:  # whoever watches a busy worker looks every WATCH_S anyway
            self._stir.set()

    # ---- what the worker says -----------------------------------------------------------------------

    def _received(self, process: WorkerProcess, message: FromWorker) -> None:
        if process is not self._process or not isinstance(message, Outcome):
            return
        why = objection(message, f"/{self._gateway}/rules", self._backlog.committed, self._backlog.position)
        if why:
            process.give_up(why)
        else:
            self._settle(message)

    def _settle(self, outcome: Outcome) -> None:
        self._backlog.done(outcome.upto)
        self._verdicts.outcome(outcome.upto)
        self._feed.sent_at = time.monotonic()
        if not outcome.empty:
            self._commit(outcome)
        if self._next is None:
            self._feed.flush()
        else:
            self._follow()

    def _commit(self, outcome: Outcome) -> None:
        """Hand an outcome over with its cursor, and wait for the timers it sets."""
        self.diary.outcome(outcome)
        self._faults = (self._faults + outcome.faults)[-FAULTS_KEPT_MAX:]
        then = self._feed.told(outcome.upto)
        outcome.puts = [self.time.scheduled(*put, then) for put in outcome.puts]
        self._saved_cursor = self._backlog.committed
        outcome.puts.append(("cursors", CURSOR_KEY, {"after": self._saved_cursor, "done": []}))
        self._on_outcome(outcome)

    async def _keep_cursor(self) -> None:
        """Write a cursor that moved over records no rule looks at, so that the journal may reclaim them."""
        while True:
            await asyncio.sleep(IDLE_CURSOR_S)
            cursor = self._backlog.settle()
            if cursor != self._saved_cursor and not self._feed.asleep:
                self._commit(Outcome(cursor))

    # ---- one after the other ------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a worker running until cancelled."""
        self.time.load(self._table("timers"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.time.run(), name="gateway.rules[time]")
                tasks.create_task(self._keep_cursor(), name="gateway.rules[cursor]")
                tasks.create_task(self._live(), name="gateway.rules[worker]")
                tasks.create_task(self.edits.run(), name="gateway.rules[edits]")
        finally:
            self.state = State.STOPPED
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def _live(self) -> None:
        while True:
            await self._one_life()
            self.state = State.WAITING
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._verdicts.pause_s):
                    await self._wake.wait()

    async def _one_life(self) -> None:
        """Start a worker and stay with it, and with those that follow it, to the end of the last one."""
        self.state = State.STARTING
        await self._something_to_run()
        self.state = State.STARTING
        self.starts += 1
        try:
            if self._next is not None:
                self._follow()
            elif not await self._restart():
                return
            while await self._watch():
                pass
        finally:
            process, self._process, self._ready = self._process, None, None
            self._feed.end()
            if process is not None:
                await asyncio.shield(end(process))

    async def _something_to_run(self) -> None:
        """Wait until it is known what to run, and there are rules."""
        while self._next is None:
            edits = self.edits
            if edits.decided:
                rules = any(map(is_rule_file, (*edits.running, *edits.wanted)))
                if rules or any(self._table(name) for name in OWN_TABLES):
                    break
                self._fall_asleep()
            self._wake.clear()
            await self._wake.wait()
        if self._feed.asleep:
            self._backlog.forget()
            self._feed.asleep = False
            self._commit(Outcome(self._backlog.committed))  # from here on all is theirs, over a kill, too

    def _fall_asleep(self) -> None:
        """There are no rules: keep no records, and no cursor that would keep the journal from reclaiming them."""
        self._feed.sleep(self.edits.left_out)
        self.state, self._saved_cursor = State.NONE, -1
        if CURSOR_KEY in self._table("cursors"):
            self._on_outcome(Outcome(self._backlog.committed, puts=[("cursors", CURSOR_KEY, None)]))

    async def _restart(self) -> bool:
        """Load what ran last into a new worker, unless somebody hands over another one meanwhile."""
        edits, candidate = self.edits, None
        try:
            candidate = edits.spares.take()
            ready = await candidate.load(
                edits.load_message(edits.running, excluded=self._verdicts.excluded(edits.text))
            )
        except CandidateFailed as failed:
            self._verdicts.judge(failed.blame, (), edits.text, failed.reason, failed.stack)
            return False
        else:
            if self._next is None:
                candidate.owned = False
                self._take_over(candidate.process, ready, edits.left_out, changed=False)
            else:
                self._follow()
            return True
        finally:
            if candidate is not None and candidate.owned:
                await candidate.close()

    def _propose(self, succession: Succession) -> None:
        """Let another worker take over as soon as no batch is in flight."""
        self._next = succession
        self._feed.held = True
        self._wake.set()
        if self._process is not None:
            self._follow()

    def _follow(self) -> None:
        """Let the next worker take over, if the one before has no batch in flight."""
        succession = self._next
        if succession is None or self._backlog.in_flight:
            return
        self._next = None
        if succession.over:
            succession.taken(over=True)
            self._feed.held = False
            self._feed.flush()
            return
        before, was = self._process, self._ready
        actor = succession.actor if succession.actor.startswith("person:") else "gateway"
        self.time.record("rules_changed", succession.record, actor=actor)
        ready = succession.ready
        self._take_over(succession.taken(), ready, succession.left_out, changed=was != ready)
        if before is not None:
            task = asyncio.create_task(end(before), name="gateway.rules[end]")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self._stir.set()  # the watch goes on with the new one

    def _take_over(self, process: WorkerProcess, ready: Ready, left_out: frozenset[str], *, changed: bool) -> None:
        """Tell a loaded worker the tables, which are those behind the last committed outcome, and feed it."""
        devices = list(self._devices())
        process.on_message, process.on_end = partial(self._received, process), self._stir.set
        process.send(self._start_message(devices, ready, complete=not left_out))
        self._process, self._ready, process.names = process, ready, [rule.name for rule in ready.rules]
        known = {entry.id for entry in devices}.union(self._table("values"), ("",))
        self._feed.begin(process, ready, known, left_out, changed=changed)
        self.state = State.RUNNING
        self._faults = list(ready.faults)
        self.diary.loaded(ready.faults, ready.enforced)
        log.info("rules: %d loaded, worker %d", len(ready.rules), process.pid)
        self._say_loaded()
        self._feed.flush()

    def _say_loaded(self) -> None:
        assert self._ready is not None
        self.time.record("rules_loaded", {"hash": self._ready.hash, "rules": len(self._ready.rules)})

    async def _watch(self) -> bool:
        """Return True when another worker is to be watched, False when this one has ended or had to."""
        process = self._process
        if process is None:
            return False
        while not process.ended:
            options = self.edits.terms.options
            busy = bool(self._backlog.in_flight)
            self._resting = not busy
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S if busy else None):
                    await self._stir.wait()
            self._stir.clear()
            if process is not self._process:
                return True
            if not busy or process.ended:
                continue
            overdue = process.overdue(options.call_s_max, options.load_s_max, self._feed.sent_at)
            if overdue is not None:
                reason = lateness(overdue.activity, options.call_s_max)
                return self._judge(process, reason, await process.stack())
            if time.monotonic() - self._feed.sent_at > FRAME_S_MAX:
                return self._judge(process, f"no answer within {FRAME_S_MAX:g} s", await process.stack())
        reason = ending(await process.kill(), process.written_stack())
        return self._judge(process, process.broken or reason, process.written_stack())

    def _judge(self, process: WorkerProcess, reason: str, stack: str) -> bool:
        self._verdicts.judge(process.blame(), self.rules, self.edits.text, reason, stack, self._backlog.position)
        return False

    def _start_message(self, devices: list[DeviceEntry], ready: Ready, *, complete: bool) -> Start:
        options = self.edits.terms.options
        return Start(
            gateway=self._gateway,
            log_id=self._log_id,
            devices=devices,
            modes=options.modes,
            timezone=options.timezone,
            location=options.location,
            tables={name: dict(self._table(name)) for name in TABLES},
            blamed=self._verdicts.blamed(ready.rules),
            late_s=options.late_s,
            kept_s=options.removed_kept_days * 86400,
            complete=complete,
            careful_upto=self._verdicts.careful_upto,
        )

    # ---- what others ask ----------------------------------------------------------------------------

    def installed(self, inventory: Inventory) -> None:
        """Tell the worker of devices that were added, renamed or moved; files that were refused are tried again."""
        self.edits.look_again(inventory.acting)
        if self._process is not None:
            self._feed.install(inventory)
            self._say_loaded()

    @property
    def rules(self) -> Sequence[RuleInfo]:
        """The rules the running worker has loaded."""
        return self._ready.rules if self._ready else ()

    @property
    def faults(self) -> list[RuleFault]:
        """What is wrong with files on the disk, and what went wrong in calls lately."""
        return [*self.edits.faults, *self._faults]

    async def ask(self, what: str, **arguments: Any) -> Any:
        """Ask the worker; between two batches it answers. Raises NoAnswer."""
        if self._process is None:
            raise NoAnswer(f"the rule worker is {self.state.value}" if self.edits.running else "no rule runs")
        return await self._process.questions.ask(what, **arguments)

    @property
    def seen(self) -> int:
        """The sequence up to which rules have had their say, or which no rule looks at."""
        return self._backlog.settle()

    def clock_set(self, last: int, offset_ns: int) -> None:
        """Take note that the wall clock was set behind a record; until then it was the boot clock and `offset_ns`."""
        self._feed.clock_set(last, offset_ns)
        self.time.clock_set()

    def disabled(self) -> dict[str, str | None]:
        """Return the rules that a person has disabled, and until when."""
        rows = disabled_rows(self._table("rule_state"))
        return {name: rfc3339(row["until"]) if row["until"] else None for name, row in sorted(rows.items())}

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
            "in_flight": self._backlog.in_flight,
            "timers": len(self.time),
            "starts": self.starts,
            "faults": [*self.edits.said(), *map(str, self._ready.faults if self._ready else ())],
        }
