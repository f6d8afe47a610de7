"""The hours of conditions: open or closed is a row, turned over by a timer, so that it is the same after a crash.

A row ``<rule>|hours`` of "rule_state" is ``{open, timer}``.  While nobody knows the time it stays as it is.
"""

from __future__ import annotations

from typing import Any

from gateway.rules.calendar import Place
from gateway.rules.call import Call, Cause, Site
from gateway.rules.definition import Condition
from gateway.rules.tables import RULE_STATE, TIMERS

HOURS = "hours"  # kind of timer


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
