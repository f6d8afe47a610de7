"""Makes the calls: the record at hand, a rule's function, and what becomes of both.

A call runs on an overlay and is all or nothing.  A rule that raises has a fault of its own and is tried again later;
a call that a worker had to be killed for is not run again but counted as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

import msgspec

from gateway.rules.engine import claims
from gateway.rules.engine.actions import Answer
from gateway.rules.engine.call import OUTPUT_BYTES_MAX, Call, Cause, LimitReached, Site
from gateway.rules.engine.conditions import Conditions
from gateway.rules.engine.context import Context
from gateway.rules.engine.context import Event as View
from gateway.rules.engine.decision import UNDONE, decision
from gateway.rules.engine.rates import Rates
from gateway.rules.engine.seen import Seen, decode, time_ns
from gateway.rules.engine.tables import HOLDS, RULE_STATE
from gateway.rules.engine.trace import FAILED, OVER, PARKED, RAN, WHAT_CHARS_MAX, Trace
from gateway.rules.engine.trouble import Trouble, Work
from gateway.rules.language.definition import Condition, Declared, Definition, EventRule, Gate, Timer
from gateway.rules.language.faults import USER_ERRORS, describe
from gateway.rules.language.house import Device, Room
from gateway.rules.protocol import Blamed, DeviceEntry, Outcome, RuleFault, Verdict

FAULTS_PER_BATCH_MAX = 100
LOGS_PER_BATCH_MAX = 200


class Watch(Protocol):
    """Is told before and after each call (the blame slot)."""

    def call(self, rule: int, sequence: int, ordinal: int) -> None:
        """Take note that a function of a rule is about to be called. LimitReached if it may not be."""
        ...

    def done(self) -> None:
        """Take note that it returned or raised."""
        ...


class Runner:
    """Makes calls for the record at hand and gathers the outcome of a batch."""

    def __init__(
        self,
        definitions: Mapping[str, Declared],
        site: Site,
        conditions: Conditions,
        watch: Watch,
        late_s: float,
        blamed: Sequence[Blamed],
        trace: Trace,
    ) -> None:
        self.site = site
        self._trace = trace
        self.definitions = definitions
        self.conditions = conditions
        self.trouble = Trouble(site)
        self.outcome = Outcome(0)
        self.deferred: set[str] = set()  # devices whose claims were changed by late records
        self.seen = Seen("", "")  # the record at hand
        self.raw = b""
        self.now_ns = 0
        self._live_after = 0
        self.bytes = 0  # of the batch's outputs
        self._ordinal = 0  # of the call within the record
        self._record_bytes = 0
        self._watch = watch
        self._rates = Rates()
        self._late_ns = round(late_s * 1e9)
        self._blamed = {(b.rule, b.sequence, b.ordinal): b.reason for b in blamed}

    def begin(self, upto: int, now_ns: int, live_after: int) -> Outcome:
        """Start a batch."""
        self.now_ns, self._live_after, self.bytes = now_ns, live_after, 0
        self.outcome = Outcome(upto, [], [], [], {}, [], [])
        return self.outcome

    def take(self, raw: bytes, seen: Seen) -> None:
        """Make a record the one at hand; calls within it are counted for the blame slot."""
        if self.raw is not raw:
            self.raw, self.seen, self._ordinal, self._record_bytes = raw, seen, 0, 0

    def do(self, work: Work, rule: Definition, seen: Seen, cause: Cause | None = None) -> Any:
        """Make a call, all or nothing; a failure is the rule's own. Its `cause` is the event, unless it is given.

        Returns what the function returned; UNDONE when it was not called, or failed.
        """
        cause = cause or self.cause(seen)
        if self.trouble.quarantined(rule.name):
            self._trace.look(rule.index, seen.sequence, PARKED, (work.part, work.scope))
            self.outcome.outputs += self.trouble.hold_back(work, rule, seen, cause)
            return UNDONE
        call = Call(self.site, rule, cause, scope=work.scope, device=work.device, name=work.name)
        call.limited = True
        call.late = rule.late != "run" and self.is_late(seen, cause)
        call.claims_late = work.part in ("begin", "end")
        function, arguments = self._prepare(work, rule, seen, call)
        if function is None:
            self._trace.look(rule.index, seen.sequence, OVER, (work.part, work.scope))
            return UNDONE
        self._ordinal += 1
        here = int(self.seen.sequence)
        killed = self._blamed.get((rule.name, here, self._ordinal))
        fault = None if killed is None else RuleFault(rule.name, rule.file, rule.line, killed)
        value: Any = UNDONE
        clock = self._trace.clock
        began_ns = clock()
        if fault is None:
            try:
                self._watch.call(rule.index, here, self._ordinal)
                value = function(*arguments, **work.arguments)
                self._weigh(call)
                call.commit()
            except USER_ERRORS as error:
                fault = describe(error, rule)
            self._watch.done()
        us = (clock() - began_ns) / 1000
        if fault is None:
            self._trace.timed(rule.index, us)
            did = (work.part, work.scope, call.name, len(call.outputs), call.rows.count, call.timers, us, call.late)
            self._trace.look(rule.index, seen.sequence, RAN, did)
            self._went_well(call)
        else:
            told = (work.part, work.scope, fault.what[:WHAT_CHARS_MAX], work.attempts + 1, us)
            self._trace.look(rule.index, seen.sequence, FAILED, told)
            self._failed(work, rule, seen, fault, fatal=killed is not None)
        return value if fault is None else UNDONE

    def _weigh(self, call: Call) -> None:
        """Count the outputs. LimitReached when there are too many for one record; they are tried again later."""
        if self._record_bytes + call.bytes > OUTPUT_BYTES_MAX:
            raise LimitReached(f"more than {OUTPUT_BYTES_MAX} bytes put out for one event")
        if call.outputs:
            self._rates.output(call.rule.name, call.cause.time_ns, len(call.outputs), call.bytes, LimitReached)
        self._record_bytes += call.bytes
        self.bytes += call.bytes

    def _prepare(
        self, work: Work, rule: Definition, seen: Seen, call: Call
    ) -> tuple[Callable[..., object] | None, tuple[Any, ...]]:
        """Return what to call and with what; nothing to call if the condition is over meanwhile."""
        context = Context(call)
        if work.part in ("timer", "answer"):
            timer = self.definitions.get(work.function)
            given = (context,) if work.part == "timer" else (context, Answer(seen.data))
            return (timer.run if isinstance(timer, Timer) else None), given
        if work.part in ("every", "at"):
            return rule.run, (context,)
        if isinstance(rule, Condition):
            subject = self._subject(rule, work.scope)
            if work.part == "end":
                return rule.end, (subject, context)
            return (rule.run if self.conditions.mark(rule, work.scope, begun=True, call=call) else None), (
                subject,
                context,
            )
        if isinstance(rule, EventRule) and rule.cooldown_ns:
            call.rows.put(RULE_STATE, cooldown_key(rule, seen.subject), call.cause.time_ns)
        device = self.site.house.devices.get(seen.subject) or Device(DeviceEntry(seen.subject), {})
        view = View(seen, device, call, work.window, decode(work.earlier) if work.earlier else None)
        return (partial(decision, rule.run) if isinstance(rule, Gate) else rule.run), (view, context)

    def _subject(self, condition: Condition, scope: str) -> Device | Room:
        if condition.per == "device":
            device = self.site.house.devices.get(scope)
            return device or Device(DeviceEntry(scope), {})  # removed meanwhile; its condition still ends
        return Room(scope, self.site.house, whole=condition.per == "house")

    def _went_well(self, call: Call) -> None:
        outcome, name = self.outcome, call.rule.name
        if call.outputs:
            outcome.outputs += call.outputs
        outcome.fired[name] = outcome.fired.get(name, 0) + 1
        if (
            call.logs
            and len(outcome.logs) < LOGS_PER_BATCH_MAX
            and self._rates.says(name, call.cause.time_ns, len(call.logs))
        ):
            outcome.logs += call.logs
        if call.late and (held := call.rows.changed(HOLDS)):
            self.deferred.update(held)
            self.catch_up()
        if self.trouble.pending(name):
            outcome.outputs += self.trouble.went_well(call.rule, self.present(call.cause))

    def _failed(self, work: Work, rule: Definition, seen: Seen, fault: RuleFault, *, fatal: bool) -> None:
        cause = self.cause(seen)
        given_up, outputs = self.trouble.failed(
            work, rule, seen, cause, self.present(cause), f"{fault.what}", fatal=fatal
        )
        if isinstance(rule, Condition) and work.part == "begin":
            self.conditions.mark(rule, work.scope, begun=given_up)
        self.outcome.outputs += outputs
        self.fault(msgspec.structs.replace(fault, attempts=work.attempts + 1))

    def fault(self, fault: RuleFault) -> None:
        """Report a fault with the outcome."""
        if len(self.outcome.faults) < FAULTS_PER_BATCH_MAX:
            self.outcome.faults.append(fault)

    def decided(self, raw: bytes, seen: Seen, of: Callable[[Seen], Verdict]) -> None:
        """Make a record the one at hand, and report with the outcome what gates say `of` it."""
        self.take(raw, seen)
        verdict = of(seen)
        self.outcome.gated.append(verdict)
        if isinstance(verdict[1], dict):
            self.bytes += len(self.raw)  # about: what is to be appended for it

    def say(self, rule: str, text: str) -> None:
        """Write a line to the log in the name of a rule."""
        if len(self.outcome.logs) < LOGS_PER_BATCH_MAX:
            self.outcome.logs.append((rule, text))

    def cause(self, seen: Seen) -> Cause:
        """Return a record as the cause of what follows from it."""
        at_ns = time_ns(seen, self.now_ns)
        clock: Literal["unsynced"] | None = "unsynced" if seen.clock == "unsynced" else None
        return Cause(seen.id, int(seen.sequence), at_ns, seen.hops, "" if at_ns == self.now_ns else seen.time, clock)

    def present(self, cause: Cause) -> Cause:
        """Return the record at hand, now: what retries and ticks are timed from."""
        return Cause(cause.id, int(self.seen.sequence), self.now_ns, cause.hops)

    def is_late(self, seen: Seen, cause: Cause) -> bool:
        """Return whether nothing may be switched any more for what happened then."""
        if cause.sequence <= self._live_after and (seen.clock == "unsynced" or not cause.time):
            return True  # of a time before the start that is not over by the clock as it is now
        if seen.clock == "unsynced":
            return False
        return self.now_ns - cause.time_ns > self._late_ns

    def settle(self, call: Call, devices: Sequence[str]) -> None:
        """Command what the claims say now; later, while records of the past are looked at."""
        if self._in_the_past():
            self.deferred.update(devices)
            return
        for device in devices:
            claims.reconcile(call, device)

    def _in_the_past(self) -> bool:
        """Return whether later records may still change what is so: a late one, but for a timer that fired just now."""
        cause = self.cause(self.seen)
        fired_now = self.seen.lane == "timer" and cause.sequence > self._live_after
        return not fired_now and self.is_late(self.seen, cause)

    def catch_up(self) -> None:
        """Command what the claims of late records came to, at the first record that is not late."""
        if self._in_the_past():
            return
        cause = self.cause(self.seen)
        for device in sorted(self.deferred):
            row = self.site.tables.get(HOLDS, device)
            if row is not None:
                by = row["claims"][-1]["by"] if row["claims"] else "rules"
                rule = self.definitions.get(by) or stranger(by)
                call = Call(self.site, rule, cause, device=device, name=f"{by}|caught up|{device}")
                claims.reconcile(call, device)
                self.accept(call)
        self.deferred.clear()

    def accept(self, call: Call) -> None:
        """Take over what a call of the engine's own changed and put out."""
        if call.outputs:
            did = ("engine", call.scope, call.name, len(call.outputs), call.rows.count, call.timers, 0.0, call.late)
            self._trace.look(call.rule.index, self.seen.sequence, RAN, did)
        call.commit()
        self.outcome.outputs += call.outputs


def cooldown_key(rule: EventRule, device: str) -> str:
    """Return where it is kept when a rule ran for a device."""
    return f"{rule.name}|cooldown|{device}"


def stranger(name: str) -> Definition:
    """Stand in for a rule that does not exist any more, or for a person."""
    actor = name if ":" in name else f"rule:{name}"
    return Definition(name=name, title="", run=print, file="", line=0, actor=actor)
