"""The engine: definitions + house + records -> outcome. No clock, no files, no process of its own.

`Engine.step` looks at records in order.  A record updates the house, then runs the rules that react to it and the
conditions it changes; time comes as records, too (`timer_fired`, `rules_loaded`).  Given the same tables and the same
records it does the same, with the same ids: after a crash, in a test, in a backtest. An index by type and device finds
the rules, so an event costs the same with one rule loaded and with two hundred.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from gateway.rules.engine import alerts, claims, jumps
from gateway.rules.engine.absence import ENABLE, FORGET, KEPT_S, Absence
from gateway.rules.engine.appointments import AT, Appointments, in_time, missed_text
from gateway.rules.engine.call import Call, Cause, Part, Site
from gateway.rules.engine.conditions import LASTS, PRESENCE, UNKNOWN, Conditions, touches
from gateway.rules.engine.decision import Decisions
from gateway.rules.engine.index import Index
from gateway.rules.engine.openings import HOURS, InForce, Openings
from gateway.rules.engine.overrides import ANSWERS, ECHO, HOUSE_TYPES, Overrides
from gateway.rules.engine.patterns import KINDS as WAITING
from gateway.rules.engine.patterns import Patterns
from gateway.rules.engine.runner import Runner, Watch, cooldown_key, stranger
from gateway.rules.engine.seen import Seen, decode, field_of, time_ns
from gateway.rules.engine.tables import ALERTS, HOLDS, MODE_KEY, MODES, RULE_STATE, TIMERS
from gateway.rules.engine.ticks import EVERY, Ticks
from gateway.rules.engine.trace import CHANGED, COOLDOWN, MISSED, MODE, SMALL, STEADY, WAITS, WHERE, Trace, kept
from gateway.rules.engine.trace import HOURS as CLOSED
from gateway.rules.engine.trouble import RETRY, Work
from gateway.rules.engine.windows import Windows
from gateway.rules.language.calendar import place_of
from gateway.rules.language.definition import At, Condition, Declared, Definition, EventRule, Every, Gate, Timer
from gateway.rules.language.inputs import PREFIX as INPUTS_PREFIX
from gateway.rules.protocol import Blamed, DeviceEntry, Outcome, RuleFault
from gateway.rules.records import ACKNOWLEDGE, DISABLED, ENABLED, HTTP_ANSWERED

AFTER = "after"  # kind of timer
OUTCOME_BYTES_MAX = 128 * 1024  # of outputs, from which on an outcome is closed


class Engine:
    """Runs rules. One `step` at a time; everything durable is in `site.tables`."""

    def __init__(
        self,
        definitions: Sequence[Declared],
        site: Site,
        watch: Watch,
        *,
        late_s: float,
        complete: bool = True,
        blamed: Sequence[Blamed] = (),
        trace: Trace | None = None,
        kept_s: float = KEPT_S,
    ) -> None:
        """Set up; `complete` says that no file failed to load, so what belongs to no rule belongs to nobody."""
        self.site = site
        self.definitions = definitions
        self.trace = trace or Trace(len(definitions))
        self._looks = self.trace.looks
        self._complete = complete
        self._definitions: dict[str, Declared] = {}  # those that are not disabled, as all below
        self._index = Index(site.house)
        self._decisions = Decisions(site.house, self.trace, site.acting, self._offer)
        self._acting: tuple[list[Condition], list[At]] = ([], [])
        self._place = place_of(site.timezone, site.location)
        self._conditions = Conditions(site, self._acting[0], Openings(site, self._place), self._begin, self._end)
        self._runner = Runner(self._definitions, site, self._conditions, watch, late_s, blamed, self.trace)
        self._in_force = InForce(self._place, self._runner.say)
        windows = Windows(site, self._place, self._run)
        self._patterns = Patterns(site, self._runner, windows, self._run)
        self._overrides = Overrides(site, self._runner)
        self._appointments = Appointments(site, self._acting[1], self._runner, self._place, self.trace)
        self._ticks = Ticks(site, self._runner)
        self._absence = Absence(site, self._runner, definitions, self._settle, kept_s)
        self._arm()

    def _arm(self) -> None:
        """Index the rules that are not disabled."""
        disabled = self._absence.disabled()
        acting = [definition for definition in self.definitions if definition.name not in disabled]
        self._definitions.clear()
        self._definitions.update((definition.name, definition) for definition in acting)
        self._index.put(acting)
        self._decisions.put(acting, self.definitions)
        self._acting[0][:] = [definition for definition in acting if isinstance(definition, Condition)]
        self._acting[1][:] = [definition for definition in acting if isinstance(definition, At)]
        self._conditions.forget()

    @property
    def outcome(self) -> Outcome:
        """What has come so far of the step that is under way, or of the last one."""
        return self._runner.outcome

    def move(self, now_ns: int) -> None:
        """Let it be later for the records of the step under way that are still to come."""
        self._runner.now_ns = now_ns

    def step(self, raws: Iterable[bytes], upto: int, now_ns: int, live_after: int = 0) -> Outcome:
        """Look at records in order; `upto` is the sequence of the last one. Raises nothing a rule raised.

        Stops early, with a smaller `upto`, when outputs are more than a batch of the journal should hold.
        """
        outcome = self._runner.begin(upto, now_ns, live_after)
        runner, devices, watched = self._runner, self.site.house.devices, self._conditions.watched
        index, held = self._index.by_type, self.site.tables.of(HOLDS)
        for raw in raws:
            try:
                seen = decode(raw)
            except msgspec.DecodeError as error:
                runner.fault(RuleFault("", "", 0, f"a record up to {upto} can't be read: {error}"))
                continue
            if seen.lane == "timer":
                self._time(raw, seen)
                if runner.bytes > OUTCOME_BYTES_MAX:
                    break
                continue
            if seen.gate is not None:
                continue  # rules have seen the event that the gate held
            subject = seen.subject
            device = devices.get(subject)
            if device is None:
                self._meet(seen)
            elif seen.actor == "device":
                device.update(seen.data)
                if subject in held:
                    runner.take(raw, seen)
                    self._overrides.reported(seen)
            elif seen.type in ANSWERS:
                runner.take(raw, seen)
                self._overrides.take(seen)
            if runner.deferred:
                runner.take(raw, seen)
                runner.catch_up()
            by_device = index.get(seen.type)
            if by_device is not None:
                rules = by_device.get(subject)
                if rules is None:
                    rules = self._index.find(seen.type, subject)
                if rules:
                    runner.take(raw, seen)
                    for rule in rules:
                        self._offer(rule, seen)
            if seen.type in self._decisions.types:
                runner.decided(raw, seen, self._decisions.of)
            conditions = watched.get(subject)
            if conditions is None:
                conditions = self._conditions.of(subject)
            for entry in conditions:
                if touches(entry, seen.type, seen.data):
                    steady = self._conditions.steady(entry[0], entry[2], subject)
                    look = (entry[2], self._conditions.values(entry[0], devices[subject]))
                    self._looks[entry[0].index].append((seen.sequence, STEADY if steady else CHANGED, look))
                    if not steady:
                        runner.take(raw, seen)
                        self._conditions.evaluate(entry[0], entry[2], runner.cause(seen))
            if seen.type in PRESENCE and "devices" in seen.data:
                self._conditions.behind(raw, seen, runner)
            if runner.bytes > OUTCOME_BYTES_MAX:
                break
        outcome.upto = int(runner.seen.sequence) if runner.bytes > OUTCOME_BYTES_MAX else outcome.upto
        outcome.puts = self.site.tables.take_changes()
        return outcome

    # ---- events -------------------------------------------------------------------------------------

    def _meet(self, seen: Seen) -> None:
        """Learn a device from its first event; or what is new about the house, which is none."""
        if not seen.subject:
            if seen.type in HOUSE_TYPES:
                self._overrides.house_changed(seen, time_ns(seen, self._runner.now_ns))
            return
        if seen.actor != "device" or not self.site.house.meet(seen.subject, seen.type):
            return
        self.site.house.devices[seen.subject].update(seen.data)
        self.reindex()

    def install(self, entries: Sequence[DeviceEntry]) -> None:
        """Take over what the installation says of devices."""
        self.site.house.install(entries)
        self.reindex()

    def reindex(self) -> None:
        """Forget which rules look at which devices."""
        self._conditions.forget()
        self._index.forget()
        self._decisions.forget()

    def _offer(self, rule: EventRule, seen: Seen) -> Any:
        """Run a rule for an event unless its tests, mode or cooldown speak against it; the trace says which did.

        Returns what it returned (`Runner.do`); None when something spoke against it.
        """
        for name, test in rule.where:
            value = field_of(seen.data, name)
            if value is None:
                value = self._elsewhere(name, seen.subject)
            if not test.holds(value):
                value = value if type(value) in SMALL else kept(value)
                return self._looks[rule.index].append((seen.sequence, WHERE, (name, value)))
        if rule.modes and self._mode() not in rule.modes:
            return self._looks[rule.index].append((seen.sequence, MODE, self._mode()))
        if rule.hours is not None and (why := self._in_force.why_not(rule, seen, self._runner.now_ns)):
            return self._looks[rule.index].append((seen.sequence, CLOSED, why))
        if rule.waits:
            if why := self._patterns.take(rule, seen):
                self._looks[rule.index].append((seen.sequence, WAITS, why))
            return None
        return self._run(rule, seen, self._runner.raw)

    def _elsewhere(self, name: str, subject: str) -> Any:
        """Return what an event does not say: the last value of its device, or an input of the house."""
        if name.startswith(INPUTS_PREFIX):
            return self._overrides.input(name.removeprefix(INPUTS_PREFIX))
        device = self.site.house.devices.get(subject)
        return None if device is None else device[name]

    def _run(self, rule: EventRule, seen: Seen, raw: bytes, cause: Cause | None = None, **more: Any) -> Any:
        """Run a rule, unless it did a short while ago."""
        if rule.cooldown_ns and (left_ns := self._cools(rule, seen)):
            return self._looks[rule.index].append((seen.sequence, COOLDOWN, left_ns))
        part: Part = "gate" if isinstance(rule, Gate) else "event"
        work = Work(rule.name, part, raw, int(seen.sequence), device=seen.subject, **more)
        return self._runner.do(work, rule, seen, cause)

    def _cools(self, rule: EventRule, seen: Seen) -> int:
        """Return for how many ns a rule that ran for this device is still to rest; a clock that went back ends that."""
        row = self.site.tables.get(RULE_STATE, cooldown_key(rule, seen.subject))
        passed_ns = -1 if row is None else time_ns(seen, self._runner.now_ns) - row
        return max(0, rule.cooldown_ns - passed_ns) if passed_ns >= 0 else 0

    def _mode(self) -> str:
        row = self.site.tables.get(MODES, MODE_KEY)
        return str(row["mode"]) if row else self.site.modes[0]

    # ---- conditions ---------------------------------------------------------------------------------

    def _begin(self, condition: Condition, scope: str, cause: Cause) -> None:
        work = Work(condition.name, "begin", self._runner.raw, cause.sequence, scope, self._about(condition, scope))
        if not self._runner.trouble.quarantined(condition.name):  # looked at again when the quarantine is over
            self._runner.do(work, condition, self._runner.seen)

    def _end(self, condition: Condition, scope: str, cause: Cause) -> None:
        """Clear what the condition raised and release what it holds, then run the author's own end."""
        device = self._about(condition, scope)
        call = Call(self.site, condition, cause, scope=scope, device=device, name=f"{condition.name}|over|{scope}")
        for at in list(call.rows.keys(ALERTS)):
            row = call.rows.get(ALERTS, at)
            if row and row["scope"] == scope and row["rule"] == condition.name:
                alerts.clear(call, at, row, partial(self._settle, call))
        self._runner.settle(call, claims.release_scope(call, scope))
        self._runner.accept(call)
        if condition.end is not None:
            work = Work(condition.name, "end", self._runner.raw, cause.sequence, scope, device)
            self._runner.do(work, condition, self._runner.seen)

    def _acknowledge(self, seen: Seen) -> None:
        """Let a person acknowledge the alerts with a key, or the one with an id."""
        cause = self._runner.cause(seen)
        for at in alerts.named(self.site.tables, str(seen.data.get("alert", ""))):
            row = self.site.tables.get(ALERTS, at) or {}
            rule = self._definitions.get(row["rule"]) or stranger(row["rule"])
            call = Call(self.site, rule, cause, device=row["device"], name=f"{rule.name}|acknowledged|{at}")
            alerts.acknowledge(call, at, seen.actor, partial(self._settle, call))
            self._runner.accept(call)

    def _settle(self, call: Call, device: str) -> None:
        self._runner.settle(call, [device])

    def _about(self, condition: Condition, scope: str) -> str:
        return scope if condition.per == "device" else ""

    # ---- time ---------------------------------------------------------------------------------------

    def _time(self, raw: bytes, seen: Seen) -> None:
        """Look at a record of time."""
        self._runner.take(raw, seen)
        if seen.type in ("rules_loaded", DISABLED, ENABLED):
            if seen.type == "rules_loaded" or self._absence.switch(seen, self._runner.cause(seen)):
                self._loaded(self._runner.cause(seen))
            return
        if seen.type == ACKNOWLEDGE:
            self._acknowledge(seen)
            return
        if seen.type == "clock_set":
            self._in_force.clock_set()
            jumps.clock_set(self.site.tables, seen, self._runner.now_ns)
            self._look_at_the_clock(seen)
            return
        if seen.type == HTTP_ANSWERED:
            self._answered(seen)
            return
        key = str(seen.data.get("timer", ""))
        row = self.site.tables.get(TIMERS, key)
        if row is None:
            return  # cancelled meanwhile, or fired twice over a crash
        self.site.tables.put(TIMERS, key, None)
        cause, kind = self._runner.cause(seen), row["kind"]
        rule = self._definitions.get(row["rule"]) or stranger(row["rule"])
        if kind == claims.HOLD:
            call = Call(self.site, rule, cause, scope=row["scope"], device=row["held"], name=f"{rule.name}|{key}")
            if claims.release(call, row["held"], lambda claim: claim.get("timer") == key):
                self._runner.settle(call, [row["held"]])
            self._runner.accept(call)
        elif kind in (alerts.REPEAT, alerts.ESCALATE):
            call = Call(self.site, rule, cause, scope=row["scope"], device=row["device"], name=f"{rule.name}|{key}")
            call.late = self._runner.is_late(seen, cause)
            alerts.timer_fired(call, kind, row["alert"], self._runner.now_ns, partial(self._settle, call))
            self._runner.accept(call)
        elif kind == ECHO:
            self._overrides.time_passed(row, key, cause)
        elif kind in (FORGET, ENABLE):
            if self._absence.time_passed(kind, rule.name, key):
                self._loaded(cause)
        elif rule.name in self._definitions:
            self._time_of(rule, kind, key, row, cause)
        elif kind not in (AT, EVERY, HOURS):
            self._absence.keep(key, row)

    def _time_of(self, rule: Definition, kind: str, key: str, row: Mapping[str, Any], cause: Cause) -> None:
        """Let a rule that exists see its time."""
        seen, about = self._runner.seen, (row["scope"], row["device"])
        if kind == AFTER:
            function, arguments = row["function"], row["arguments"]
            work = Work(rule.name, "timer", self._runner.raw, cause.sequence, *about, function, arguments)
            self._after(work, rule, cause, seen)
        elif kind in (LASTS, UNKNOWN) and isinstance(rule, Condition):
            self._conditions.time_passed(rule, row["scope"], kind, key, cause)
        elif kind == EVERY and isinstance(rule, Every):
            self._ticks.next(rule, cause)
            self._runner.do(Work(rule.name, "every", self._runner.raw, cause.sequence), rule, seen)
        elif kind == AT and isinstance(rule, At):
            self._appointments.look(rule, seen, key)
        elif kind in WAITING and isinstance(rule, EventRule):
            self._patterns.time_passed(rule, kind, key, row, cause)
        elif kind == HOURS and isinstance(rule, Condition):
            self._look_at_the_clock(seen, rule.name)
        elif kind == RETRY:
            self._retry(rule, key, cause)

    def _after(self, work: Work, rule: Definition, cause: Cause, seen: Seen) -> None:
        """Call what ctx.after asked for, unless it is too late for its @timer."""
        timer = self._definitions.get(work.function)
        fitting: Seen | None = seen
        if isinstance(timer, Timer) and timer.missed is not None:
            fitting = in_time(timer.missed, cause.time_ns, self._runner, seen)
        if fitting is not None:
            self._runner.do(work, rule, fitting)
            return
        text = f"{work.function} {missed_text(cause.time_ns, self._runner.now_ns, self._place)}"
        self._runner.say(rule.name, text)
        self.trace.look(rule.index, seen.sequence, MISSED, text)

    def _look_at_the_clock(self, seen: Seen, only: str | None = None) -> None:
        """Open and close hours, and look what is due, by the clock as it is now."""
        present = self._runner.present(self._runner.cause(seen))
        self._conditions.look_at_hours(present, synced=seen.clock != "unsynced", only=only)
        if only is None:
            self._appointments.look_at_all(seen)
        self._conditions.evaluate_all(present, only=only)

    def _answered(self, seen: Seen) -> None:
        """Let the rule that called a web service see what came of it."""
        rule, then = self._definitions.get(str(seen.data.get("rule"))), str(seen.data.get("then", ""))
        if rule is not None and then:
            about = (str(seen.data.get("scope", "")), str(seen.data.get("device", "")), then)
            arguments = seen.data.get("arguments") or {}
            work = Work(rule.name, "answer", self._runner.raw, int(seen.sequence), *about, arguments)
            self._runner.do(work, rule, seen)

    def _retry(self, rule: Definition, timer: str | None, cause: Cause) -> None:
        """Make the calls again that wait for a rule."""
        works, outputs = self._runner.trouble.resume(rule, self._runner.present(cause), timer)
        self._runner.outcome.outputs += outputs
        for work in works:
            self._runner.do(work, rule, decode(work.raw))
        if isinstance(rule, Condition) and not self._runner.trouble.quarantined(rule.name):
            self._conditions.evaluate_all(cause, only=rule.name)

    def _loaded(self, cause: Cause) -> None:
        """Rules were (re)loaded, or switched: conditions from state, ticks, what belongs to rules that are absent."""
        self.trace.begin(self._runner.seen.sequence)
        self._arm()
        self._absence.loaded(self._definitions, cause, complete=self._complete)
        self._overrides.loaded(self._definitions)
        for rule in self._definitions.values():
            if self._runner.trouble.edited(rule):
                self._retry(rule, None, cause)
            if isinstance(rule, Every):
                self._ticks.loaded(rule, cause)
        self._patterns.tidy(self._definitions)
        self._look_at_the_clock(self._runner.seen)
        self._runner.deferred.update(self.site.tables.keys(HOLDS))
        self._runner.catch_up()
