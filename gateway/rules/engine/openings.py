"""Hours at work. Those of a rule are asked for with each event; those of a condition turn over by themselves.

Of a condition, open or closed is a row, turned over by a timer, so that it is the same after a crash.

A row ``<rule>|hours`` of "rule_state" is ``{open, timer}``.  While nobody knows the time it stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.seen import Seen, time_ns
from gateway.rules.engine.tables import RULE_STATE, TIMERS
from gateway.rules.language.calendar import Place
from gateway.rules.language.definition import Condition, EventRule
from gateway.rules.language.hours import Stretch

HOURS = "hours"  # kind of timer


NOBODY_KNOWS = "waits until the clock is right: nobody knows what time it is"


class InForce:
    """Asks the hours of rules often and calculates seldom: the last stretch of each rule is kept."""

    def __init__(self, place: Place, say: Callable[[str, str], None]) -> None:
        """Use the clock of a place; `say(rule, text)` writes a line to the log."""
        self._place = place
        self._say = say
        self._last: dict[str, Stretch] = {}
        self._said: set[str] = set()  # rules that said that they wait for the clock

    def why_not(self, rule: EventRule, seen: Seen, now_ns: int) -> str:
        """Return why an event is outside of a rule's hours; nothing if it is not."""
        if rule.hours is None:
            return ""
        if seen.clock == "unsynced" and rule.unsynced == "skip":
            if seen.lane == "alarm":
                return ""
            if rule.name not in self._said:
                self._said.add(rule.name)
                self._say(rule.name, NOBODY_KNOWS)
            return NOBODY_KNOWS
        at, last = time_ns(seen, now_ns), self._last.get(rule.name)
        if last is None or not last.since <= at < last.until:
            last = self._last[rule.name] = rule.hours.at(at, self._place)
        return "" if last.open else rule.hours.text

    def clock_set(self) -> None:
        """Say it again when the clock is lost again."""
        self._said.clear()


class Openings:
    """Which conditions' hours are open."""

    def __init__(self, site: Site, place: Place) -> None:
        self._site = site
        self._place = place

    def open(self, condition: Condition) -> bool:
        """Return whether a condition's hours are open."""
        row = self._site.tables.get(RULE_STATE, f"{condition.name}|{HOURS}")
        return row is not None and bool(row["open"])

    def refresh(self, condition: Condition, present: Cause, *, synced: bool) -> None:
        """Look at the clock, and set the timer of the next change."""
        if condition.hours is None:
            return
        key = f"{condition.name}|{HOURS}"
        row: dict[str, Any] = self._site.tables.get(RULE_STATE, key) or {"open": False, "timer": None}
        if row["timer"]:
            self._site.tables.put(TIMERS, row["timer"], None)
        if not synced and condition.unsynced == "skip":
            self._site.tables.put(RULE_STATE, key, {**row, "timer": None})
            return
        stretch = condition.hours.at(present.time_ns, self._place)
        call = Call(self._site, condition, present)
        timer = call.start_timer(HOURS, stretch.until - present.time_ns, {})
        call.rows.put(RULE_STATE, key, {"open": stretch.open, "timer": timer})
        call.commit()
