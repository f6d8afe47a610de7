"""@at at work: one timer a rule, and a row that says up to when its times were dealt with.

The row ``<rule>|at`` of "rule_state" is ``{plan, dealt, timer}``.  Whatever wakes it (its timer, a start, a clock that
was set), the same question is asked: is there a time of the plan behind `dealt` and not ahead of now?  Of several the
last one counts; it runs if it is on time or `missed` lets it, and everything up to now is dealt with.  So neither a
clock that jumps by years nor a long night without power makes more than one call, and what is left out is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.quantity import duration
from gateway.rules.engine.call import Call, Site
from gateway.rules.engine.openings import NOBODY_KNOWS
from gateway.rules.engine.runner import Runner
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import RULE_STATE, TIMERS
from gateway.rules.engine.trace import HOURS, MISSED, Trace
from gateway.rules.engine.trouble import Work
from gateway.rules.language.calendar import Place
from gateway.rules.language.cron import last_until, next_after
from gateway.rules.language.definition import At, Missed

AT = "at"  # kind of timer
ON_TIME_NS = 60 * NS_PER_S
SET_BACK_NS_MAX = 3600 * NS_PER_S  # a clock set back by less repeats no time; by more, it was wrong before


class Appointments:
    """The times of all @at rules."""

    def __init__(self, site: Site, rules: Sequence[At], runner: Runner, place: Place, trace: Trace) -> None:
        self._trace = trace
        self._site = site
        self._rules = rules
        self._runner = runner
        self._place = place

    def look_at_all(self, seen: Seen) -> None:
        """Look at every rule, when rules were loaded or the clock was set."""
        for rule in self._rules:
            self.look(rule, seen)

    def look(self, rule: At, seen: Seen, fired: str = "") -> None:
        """Run what is due, and set the timer of what comes next; `fired` is the timer that woke us, if one did."""
        now, key = self._runner.now_ns, f"{rule.name}|{AT}"
        before: dict[str, Any] = self._site.tables.get(RULE_STATE, key) or {}
        timer = before.get("timer")
        away = timer is not None and timer != fired and self._site.tables.get(TIMERS, timer) is None
        if timer:
            self._site.tables.put(TIMERS, timer, None)
        if seen.clock == "unsynced" and rule.unsynced == "skip":
            self._say(rule, seen, HOURS, NOBODY_KNOWS)
            if before:
                self._site.tables.put(RULE_STATE, key, {**before, "timer": None})
            return
        dealt = int(before.get("dealt", now))
        if before.get("plan") != rule.plan.text or dealt > now + SET_BACK_NS_MAX or away:
            dealt = now  # its time is another one, or was when the rule was disabled or removed: nothing is made up for
        last = last_until(rule.plan, now, self._place, dealt)
        row = {"plan": rule.plan.text, "dealt": max(last, dealt), "timer": self._next(rule, max(now, dealt), seen)}
        self._site.tables.put(RULE_STATE, key, row)
        if last > dealt:
            self._due(rule, last, seen)

    def _next(self, rule: At, after_ns: int, seen: Seen) -> str | None:
        following = next_after(rule.plan, after_ns, self._place)
        if following is None:
            return None
        cause = self._runner.present(self._runner.cause(seen))
        call = Call(self._site, rule, cause)
        timer = call.start_timer(AT, following - cause.time_ns, {})
        call.commit()
        return timer

    def _due(self, rule: At, due: int, seen: Seen) -> None:
        """Run a rule whose time has come, or say why not."""
        fitting = in_time(rule.missed, due, self._runner, seen)
        if fitting is None:
            self._say(rule, seen, MISSED, missed_text(due, self._runner.now_ns, self._place))
        else:
            self._runner.do(Work(rule.name, "at", self._runner.raw, int(self._runner.seen.sequence)), rule, fitting)

    def _say(self, rule: At, seen: Seen, verdict: str, text: str) -> None:
        self._runner.say(rule.name, text)
        self._trace.look(rule.index, seen.sequence, verdict, text)


def in_time(missed: Missed, due: int, runner: Runner, seen: Seen) -> Seen | None:
    """Return the record as the call is to see it: at its time, or late at the present; None when it is too late."""
    late_ns = runner.now_ns - due
    if late_ns > max(ON_TIME_NS, missed.within_ns):
        return None
    return msgspec.structs.replace(seen, time=rfc3339(due if late_ns <= ON_TIME_NS else runner.now_ns))


def missed_text(due: int, now_ns: int, place: Place) -> str:
    """Say that something was due and was not done."""
    return f"was due at {place.local(due):%Y-%m-%d %H:%M}, {duration((now_ns - due) / NS_PER_S)} ago: left out"
