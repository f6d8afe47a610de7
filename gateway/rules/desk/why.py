"""A rule as it is now: each test with its present value, what it waits for, what it holds, how its last looks went.

Reads definitions, tables and last values and changes nothing; times are RFC 3339, durations seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.errors import probably_meant
from gateway.rules.desk.looks import disabled_text, holds, told, unmeant
from gateway.rules.engine.claims import PRIORITIES, strongest
from gateway.rules.engine.conditions import UNKNOWN
from gateway.rules.engine.engine import Engine
from gateway.rules.engine.patterns import ROWS
from gateway.rules.engine.runner import cooldown_key
from gateway.rules.engine.tables import ALERTS, HOLDS, MODE_KEY, MODES, RULE_STATE, TIMERS
from gateway.rules.engine.trace import kept
from gateway.rules.language.calendar import Place
from gateway.rules.language.definition import At, Condition, Declared, EventRule, Every, FieldTest, Gate
from gateway.rules.language.house import Device

SHOWN_MAX = 50  # devices, scopes, timers: the rest is counted
LOOKS_SHOWN = 10
Entry = dict[str, Any]


def why(engine: Engine, name: str, now_ns: int, device: str = "", last: int = LOOKS_SHOWN) -> Entry:
    """Say all there is to say of a rule. LookupError when there is no such rule or device."""
    rule = next((each for each in engine.definitions if each.name == name), None)
    if rule is None:
        hint = probably_meant(name, [each.name for each in engine.definitions])
        raise LookupError(f"there is no rule {name!r}" + (f", {hint}" if hint else ""))
    asked = _Asked(engine, rule, now_ns, engine.site.house.device(device) if device else None)
    found: Entry = {
        "name": rule.name,
        "kind": _KINDS.get(type(rule), "timer"),
        "title": rule.title,
        "trigger": rule.trigger,
        "file": rule.file,
        "line": rule.line,
        "version": rule.actor.partition("@")[2],
        "now": rfc3339(now_ns),
        "trouble": asked.trouble(),
        "disabled": asked.disabled(),
    }
    if isinstance(rule, EventRule):
        found |= asked.of_event_rule(rule)
    elif isinstance(rule, Condition):
        found |= asked.of_condition(rule)
    found |= {"hours": asked.hours(rule), "timers": asked.timers(), "holds": asked.holds(), "alerts": asked.alerts()}
    times = engine.trace.times_us(rule.index)
    found["call_us_median"], found["call_us_max"] = times if times is not None else (None, None)
    looks = engine.trace.of(rule.index, last)
    found["looks"] = [msgspec.to_builtins(told(engine, rule, look)) for look in looks]
    return found


class _Asked:
    """A rule, and the moment it is asked about."""

    def __init__(self, engine: Engine, rule: Declared, now_ns: int, device: Device | None) -> None:
        self._site = engine.site
        self._rows = engine.site.tables
        self._rule = rule
        self._now_ns = now_ns
        self._device = device

    # ---- @rule --------------------------------------------------------------------------------------

    def of_event_rule(self, rule: EventRule) -> Entry:
        """Say which devices are meant, what speaks against a run now, and for how long."""
        mode = self._mode()
        wanted = {"now": mode, "wanted": list(rule.modes), "fits": mode in rule.modes} if rule.modes else None
        devices = [device for device in self._devices() if not unmeant(rule.selector, device)]
        found: Entry = {
            "types": list(rule.types),
            "mode": wanted,
            "late": rule.late,
            "where": [f"{name}{test.text}" for name, test in rule.where],
            "waiting": self.waiting(),
            "devices": [self._meant(rule, device) for device in devices[:SHOWN_MAX]],
            "devices_count": len(devices),
        }
        if self._device is not None and not devices:
            found["not_meant"] = unmeant(rule.selector, self._device)
        return found

    def _meant(self, rule: EventRule, device: Device) -> Entry:
        ran_ns = self._rows.get(RULE_STATE, cooldown_key(rule, device.id))
        left_ns = rule.cooldown_ns - (self._now_ns - ran_ns) if ran_ns is not None else 0
        known = [(name, test) for name, test in rule.where if device[name] is not None]
        return {
            "id": device.id,
            "name": device.name,
            "cooldown_left_s": max(0, left_ns) / NS_PER_S,
            "fields": [_field(name, test, device[name]) for name, test in known],
        }

    # ---- @when --------------------------------------------------------------------------------------

    def of_condition(self, rule: Condition) -> Entry:
        """Say of each device, room or the house: is it so, since when, what comes next."""
        devices = [device for device in self._site.house.devices.values() if not unmeant(rule.selector, device)]
        scopes: dict[str, list[Device]] = {}
        for device in devices:
            scope = {"device": device.id, "room": device.room, "house": "house"}[rule.per]
            if scope:
                scopes.setdefault(scope, []).append(device)
        prefix = f"{rule.name}|when|"
        for key in self._rows.keys(RULE_STATE, prefix):
            scopes.setdefault(key[len(prefix) :], [])
        found: Entry = {"per": rule.per, "lasts_s": rule.lasts_ns / NS_PER_S, "unknown": rule.unknown.then}
        if self._device is not None:
            mine = self._device
            scopes = {scope: members for scope, members in scopes.items() if mine in members}
            found["not_meant"] = unmeant(rule.selector, mine)
        shown = sorted(scopes.items())[:SHOWN_MAX]
        found["scopes"] = [self._scope(rule, scope, members) for scope, members in shown]
        found["scopes_count"] = len(scopes)
        return found

    def _scope(self, rule: Condition, scope: str, members: Sequence[Device]) -> Entry:
        row: Mapping[str, Any] = self._rows.get(RULE_STATE, f"{rule.name}|when|{scope}") or {}
        was = bool(row.get("true"))
        found: Entry = {
            "scope": scope,
            "name": members[0].name if members and rule.per == "device" else scope,
            "so": was,
            "begun": bool(row.get("begun")),
            "since": rfc3339(row["since"]) if was else None,
            "failing": bool(row.get("failing")),
            "members": [self._member(rule, device, was) for device in members[:SHOWN_MAX]],
        }
        timer = self._rows.get(TIMERS, row["timer"]) if row.get("timer") else None
        if timer is not None:
            left_ns = max(0, timer["due"] - self._now_ns)
            found["begins"] = rfc3339(timer["due"])
            found["lasted_s"] = max(0, timer["after"] - left_ns) / NS_PER_S
            found["lasts_s"] = timer["after"] / NS_PER_S
        waiting = self._rows.get(TIMERS, row["unknown"]["timer"]) if UNKNOWN in row else None
        if waiting is not None:
            found["unknown_until"] = rfc3339(waiting["due"])
        return found

    def _member(self, rule: Condition, device: Device, was: bool) -> Entry:
        fields = []
        for name, test in rule.fields:
            value = device[name] if device.is_online or name == "online" else None
            fields.append(_field(name, test, value, was))
        return {"id": device.id, "name": device.name, "online": device.is_online, "fields": fields}

    # ---- all sorts ----------------------------------------------------------------------------------

    def hours(self, rule: Declared) -> Entry | None:
        """Say whether the rule's hours are open, and until when."""
        if not isinstance(rule, (EventRule, Condition)) or rule.hours is None:
            return None
        stretch = rule.hours.at(self._now_ns, Place(self._site.timezone, self._site.location))
        return {"text": rule.hours.text, "open": stretch.open, "until": rfc3339(stretch.until)}

    def trouble(self) -> Entry | None:
        """Say whether the rule is in quarantine or being retried, and why."""
        row = self._rows.get(RULE_STATE, f"{self._rule.name}|trouble")
        if not row:
            return None
        timer = self._rows.get(TIMERS, row["timer"]) if row.get("timer") else None
        return {
            "quarantined": bool(row.get("quarantined")),
            "reason": row.get("why", ""),
            "faults": row.get("faults", 0),
            "again": rfc3339(timer["due"]) if timer is not None else None,
            "waiting": sum(1 for _ in self._rows.keys(RULE_STATE, f"{self._rule.name}|parked|")),
        }

    def disabled(self) -> str:
        """Say who disabled the rule, and for how long; nothing if nobody did."""
        row = self._rows.get(RULE_STATE, f"{self._rule.name}|disabled")
        return disabled_text(row) if row else ""

    def waiting(self) -> list[Entry]:
        """List what is kept until another event or silence follows."""
        found = []
        for kind in ROWS:
            prefix = f"{self._rule.name}|{kind}|"
            keys = self._rows.keys(RULE_STATE, prefix)
            found += [{"kind": kind, "scope": key[len(prefix) :].partition("|")[0]} for key in keys]
        return found[:SHOWN_MAX]

    def timers(self) -> list[Entry]:
        """List the timers that wait, the next one first."""
        found = []
        for key in self._rows.keys(TIMERS, f"{self._rule.name}|"):
            row = self._rows.get(TIMERS, key) or {}
            entry = {"kind": row["kind"], "due": rfc3339(row["due"]), "scope": row.get("scope", "")}
            found.append(entry | ({"function": row["function"]} if "function" in row else {}))
        return sorted(found, key=lambda entry: str(entry["due"]))[:SHOWN_MAX]

    def holds(self) -> list[Entry]:
        """List what the rule claims, and whether that counts or somebody else's claim does."""
        found = []
        for device_id in self._rows.keys(HOLDS):
            for claim, counts in claims_on(self._rows.get(HOLDS, device_id)):
                if claim["by"] == self._rule.name and (self._device is None or self._device.id == device_id):
                    found.append(claim_entry(device_id, self._name(device_id), claim, counts))
        return found

    def alerts(self) -> list[Entry]:
        """List the alerts the rule has raised that are still there."""
        rows = [self._rows.get(ALERTS, at) for at in self._rows.keys(ALERTS)]
        return [
            {"alert": row["key"], "text": row["text"], "since": rfc3339(row["since"]), "device": row["device"]}
            for row in rows
            if row is not None and row["rule"] == self._rule.name
        ]

    def _devices(self) -> list[Device]:
        if self._device is not None:
            return [self._device]
        return [device for _, device in sorted(self._site.house.devices.items())]

    def _name(self, device_id: str) -> str:
        device = self._site.house.devices.get(device_id)
        return device_id if device is None else device.name

    def _mode(self) -> str:
        row = self._rows.get(MODES, MODE_KEY)
        return str(row["mode"]) if row else self._site.modes[0]


def claims_on(row: Mapping[str, Any] | None) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Yield the claims of a row of the table "holds", each with whether it counts."""
    claims = row["claims"] if row else []
    counts = strongest(claim for claim in claims if not claim.get("observe"))
    return ((claim, counts.get(claim["field"]) is claim) for claim in claims)


def claim_entry(device_id: str, name: str, claim: Mapping[str, Any], counts: bool) -> Entry:
    """Say who holds what of a device, and until when."""
    return {
        "device": device_id,
        "name": name,
        "by": claim["by"],
        "field": claim["field"],
        "value": claim["value"],
        "priority": PRIORITIES[claim["priority"]],
        "why": claim.get("why", ""),
        "observed": bool(claim.get("observe")),
        "until": rfc3339(claim["until"]) if claim.get("until") else None,
        "counts": counts,
    }


def _field(name: str, test: FieldTest, value: Any, was: bool = False) -> Entry:
    return {
        "field": name,
        "wanted": test.text.strip(),
        "value": kept(value),
        "so": None if value is None else bool(test.holds(value, was)),
        "text": holds(test, value),
    }


_KINDS: Mapping[type, str] = {EventRule: "rule", Gate: "gate", Condition: "when", Every: "every", At: "at"}
