"""@when: conditions over state, each in every device or room it is about.

A row ``<rule>|when|<scope>`` of the table "rule_state" lives while a condition is true or unknown:
``{true, since, begun, lasted, timer?, failing?, unknown?: {timer, over}}``.  True becomes *begun* when it has
lasted long enough; *end* follows only what has begun.  Nothing depends on the wall clock: `lasted` is set by a timer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from gateway.rules.engine.call import Call, Cause, Site
from gateway.rules.engine.openings import Openings
from gateway.rules.engine.seen import Seen
from gateway.rules.engine.tables import RULE_STATE, TIMERS
from gateway.rules.engine.tallies import HOUSE, Tallies, meant, truth_of
from gateway.rules.engine.trace import HOURS as CLOSED
from gateway.rules.engine.trace import SMALL, kept
from gateway.rules.language.definition import Condition
from gateway.rules.language.house import OFFLINE, ONLINE, Device

LASTS, UNKNOWN = "lasts", "unknown"  # kinds of timers
PRESENCE = frozenset((OFFLINE, ONLINE))

Act = Callable[[Condition, str, Cause], None]
"""Runs the begin or the end of a condition in a scope."""
Watched = tuple[Condition, frozenset[str], str]
"""A condition, the fields it reads, and the scope a device counts in."""


class Events(Protocol):
    """What a condition needs of whoever looks at records."""

    def take(self, raw: bytes, seen: Seen) -> None:
        """Look at this record now."""

    def cause(self, seen: Seen) -> Cause:
        """Return what happens because of it."""
        ...


class Conditions:
    """Keeps all conditions up to date. `begin` and `end` are called when one begins and ends."""

    def __init__(self, site: Site, conditions: Sequence[Condition], openings: Openings, begin: Act, end: Act) -> None:
        self._site = site
        self.openings = openings
        self._conditions = conditions
        self._begin = begin
        self._end = end
        self._tallies = Tallies(site.house)
        self.watched: dict[str, tuple[Watched, ...]] = {}  # by device, as far as asked for

    def forget(self) -> None:
        """Devices came or changed: look again who is meant."""
        self.watched.clear()
        self._tallies.forget()

    def of(self, device_id: str) -> tuple[Watched, ...]:
        """Return what has to be looked at when a device's fields change."""
        if device_id not in self.watched:
            device = self._site.house.devices.get(device_id)
            self.watched[device_id] = () if device is None else tuple(self._watching(device))
        return self.watched[device_id]

    def _watching(self, device: Device) -> list[Watched]:
        found: list[Watched] = []
        for condition in self._conditions:
            if meant(condition, device):
                names = {name for name, _ in condition.fields} | {"online"}
                scope = {"device": device.id, "room": device.room, "house": HOUSE}[condition.per]
                if scope:
                    found.append((condition, frozenset(names), scope))
        return found

    def evaluate_all(self, cause: Cause, only: str | None = None) -> None:
        """Look at every condition (or those of one rule) in every scope, and end what is about nothing any more."""
        for condition in self._conditions:
            if only not in (None, condition.name):
                continue
            devices = [device for device in self._site.house.devices.values() if meant(condition, device)]
            scopes = {
                "device": {device.id for device in devices},
                "room": {device.room for device in devices if device.room},
                "house": {HOUSE},
            }[condition.per]
            prefix = _key(condition, "")
            known = {key[len(prefix) :] for key in self._site.tables.keys(RULE_STATE, prefix)}
            for scope in sorted(scopes | known):
                self.evaluate(condition, scope, cause)

    def look_at_hours(self, present: Cause, *, synced: bool, only: str | None = None) -> None:
        """Open or close the hours of conditions (or of one) by the clock; `evaluate_all` comes next."""
        for condition in self._conditions:
            if only in (None, condition.name):
                self.openings.refresh(condition, present, synced=synced)

    def steady(self, condition: Condition, scope: str, device_id: str) -> bool:
        """Return whether a condition is what it was now that a device changed: the usual case, and cheap."""
        if condition.per != "device":
            self._tallies.changed(condition, scope, device_id)
        row: dict[str, Any] = self._site.tables.get(RULE_STATE, _key(condition, scope)) or {}
        was = bool(row.get("true"))
        if "unknown" in row or (was and row.get("lasted") and not row.get("begun")):
            return False
        return self._truth(condition, scope, was) is was

    def behind(self, raw: bytes, seen: Seen, events: Events) -> None:
        """Take the devices behind a parent offline with it, or back: one event of the parent names them all."""
        online, devices = seen.type == ONLINE, self._site.house.devices
        for device_id in seen.data["devices"]:
            device = devices.get(device_id)
            if device is None:
                continue
            device.update({"online": online})
            for condition, _, scope in self.of(device_id):
                if not self.steady(condition, scope, device_id):
                    events.take(raw, seen)
                    self.evaluate(condition, scope, events.cause(seen))

    def values(self, condition: Condition, device: Device) -> list[Any]:
        """Return what a condition's fields are of a device, for the trace; behind them what else counts."""
        last, values = device._values.get, []
        for name, _ in condition.fields:
            value = last(name)
            values.append(value if type(value) in SMALL else kept(value))
        if last("online") is False:
            values.append(OFFLINE)
        if condition.hours is not None and not self.openings.open(condition):
            values.append(CLOSED)
        return values

    def evaluate(self, condition: Condition, scope: str, cause: Cause) -> None:
        """Look at a condition in a scope, and begin or end it."""
        key = _key(condition, scope)
        before: dict[str, Any] = self._site.tables.get(RULE_STATE, key) or {}
        was = bool(before.get("true"))
        truth = self._truth(condition, scope, was)
        row = dict(before)
        call = Call(self._site, condition, cause, scope=scope, name=f"{condition.name}|when|{scope}")
        known = truth is not None
        if truth is None:
            truth = _while_unknown(call, condition, row, was)
        elif "unknown" in row:
            call.rows.put(TIMERS, row.pop("unknown")["timer"], None)
        ended = was and not truth and bool(row.get("begun"))
        if truth and not was:
            _became_true(call, condition, row, known)
        elif was and not truth:
            if row.get("timer"):
                call.rows.put(TIMERS, row["timer"], None)
            row = {name: row[name] for name in ("unknown",) if name in row}
        if row != before:
            call.rows.put(RULE_STATE, key, row or None)
            call.commit()
        if ended:
            self._end(condition, scope, cause)
        elif row.get("true") and row.get("lasted") and not row.get("begun") and not row.get("failing"):
            self._begin(condition, scope, cause)

    def time_passed(self, condition: Condition, scope: str, kind: str, timer: str, cause: Cause) -> None:
        """Take note of a timer of a condition, unless the condition has moved on."""
        tables, key = self._site.tables, _key(condition, scope)
        row = tables.get(RULE_STATE, key) or {}
        if kind == LASTS and row.get("timer") == timer:
            tables.put(RULE_STATE, key, {**row, "timer": None, "lasted": True})
        elif kind == UNKNOWN and row.get("unknown", {}).get("timer") == timer:
            tables.put(RULE_STATE, key, {**row, "unknown": {"timer": timer, "over": True}})
        else:
            return
        self.evaluate(condition, scope, cause)

    def mark(self, condition: Condition, scope: str, *, begun: bool, call: Call | None = None) -> bool:
        """Write down that a begin went well or was given up, or (not `begun`) that it failed; False if it is over."""
        rows, key = (self._site.tables if call is None else call.rows), _key(condition, scope)
        row = rows.get(RULE_STATE, key)
        if row is None or not row.get("true") or row.get("begun"):
            return False
        kept = {name: value for name, value in row.items() if name != "failing"}
        rows.put(RULE_STATE, key, {**kept, "begun": True} if begun else {**kept, "failing": True})
        return True

    def _truth(self, condition: Condition, scope: str, was: bool) -> bool | None:
        """Return whether it is so of any member; None if that is not known; False without members or out of hours."""
        if condition.hours is not None and not self.openings.open(condition):
            return False
        if condition.per == "device":
            device = self._site.house.devices.get(scope)
            return False if device is None or not meant(condition, device) else truth_of(condition, device, was)
        return self._tallies.truth(condition, scope, was)


def touches(watched: Watched, event_type: str, data: dict[str, Any]) -> bool:
    """Return whether an event can change what a condition is."""
    return not watched[1].isdisjoint(data) or event_type in PRESENCE


def _key(condition: Condition, scope: str) -> str:
    return f"{condition.name}|when|{scope}"


def _while_unknown(call: Call, condition: Condition, row: dict[str, Any], was: bool) -> bool:
    policy = condition.unknown
    if policy.then == "keep":
        return was
    if policy.after_ns and "unknown" not in row:
        timer = call.start_timer(UNKNOWN, policy.after_ns, {})
        row["unknown"] = {"timer": timer, "over": False}
    if policy.after_ns and not row["unknown"]["over"]:
        return was
    return policy.then == "true"


def _became_true(call: Call, condition: Condition, row: dict[str, Any], known: bool) -> None:
    """Start to wait for `lasts`; what was unknown for a time has lasted that time already."""
    waits_ns = condition.lasts_ns - (0 if known else condition.unknown.after_ns)
    row |= {"true": True, "since": call.cause.time_ns, "begun": False, "lasted": waits_ns <= 0, "timer": None}
    if waits_ns > 0:
        row["timer"] = call.start_timer(LASTS, waits_ns, {})
