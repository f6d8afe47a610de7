"""The trace in words: which rules looked at an event, which ran, and which test spoke against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import derived_id
from gateway.profiles.vocabulary import meaning
from gateway.quantity import counted, duration
from gateway.rules.engine.engine import Engine
from gateway.rules.engine.tables import RULE_STATE
from gateway.rules.engine.trace import (
    CHANGED,
    COOLDOWN,
    FAILED,
    GATED,
    MISSED,
    MODE,
    OVER,
    PARKED,
    RAN,
    STEADY,
    WAITS,
    WHERE,
    Look,
)
from gateway.rules.engine.trace import HOURS as CLOSED
from gateway.rules.language.definition import Condition, Declared, EventRule, Selector
from gateway.rules.language.house import OFFLINE, ONLINE, Device

OUTPUTS_NAMED_MAX = 20  # of one call
NOT_MEANT, FORGOTTEN, DISABLED = "not meant", "forgotten", "disabled"
_OF_PARTS = (FAILED, PARKED, OVER)
_PARTS: Mapping[str, str] = {"begin": "begin: ", "end": "end: ", "timer": "ctx.after: "}


class Told(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What one rule made of one record."""

    rule: str
    title: str
    file: str
    line: int
    version: str  # of its file
    sequence: str
    scope: str = ""  # device or room of a condition
    verdict: str  # of trace.py, or NOT_MEANT, DISABLED, or FORGOTTEN: it would have looked, that is not in memory
    text: str
    ran: bool = False
    outputs: list[str] = []  # ids
    outputs_count: int = 0
    rows: int = 0  # of state, claims, alerts and timers, that changed
    timers: int = 0
    us: float = 0.0  # that the call took
    late: bool = False


def told_of(engine: Engine, sequence: str, event_id: str, event_type: str, subject: str, fields: Sequence[str]) -> Any:
    """Say what each rule made of an event, in the order of the rules; those it is nothing to are left out."""
    found: list[Told] = []
    device = engine.site.house.devices.get(subject)
    for rule in engine.definitions:
        looks = list(engine.trace.at(rule.index, sequence))
        found += [told(engine, rule, look, event_id) for look in looks]
        if looks or not _of_interest(rule, event_type, fields):
            continue
        why = unmeant(rule.selector, device) if isinstance(rule, (EventRule, Condition)) else ""
        if why:
            found.append(_about(rule, (sequence, NOT_MEANT, None), why))
        elif engine.trace.forgotten(rule.index, sequence):
            text = "what it made of it is not in memory any more"
            found.append(_about(rule, (sequence, FORGOTTEN, None), text))
        elif row := engine.site.tables.get(RULE_STATE, f"{rule.name}|disabled"):
            found.append(_about(rule, (sequence, DISABLED, None), disabled_text(row)))
    return found


def disabled_text(row: Mapping[str, Any]) -> str:
    """Say who disabled a rule, and for how long."""
    until = f" until {rfc3339(row['until'])}" if row["until"] else ""
    return f"disabled by {row['actor']} since {rfc3339(row['since'])}{until}"


def told(engine: Engine, rule: Declared, look: Look, event_id: str = "") -> Told:
    """Put one look into words; `event_id` names the outputs of a call."""
    _, verdict, detail = look
    if verdict != RAN:
        said = _about(rule, look, _words(rule, verdict, detail))
        said.scope = detail[0] if verdict in (STEADY, CHANGED) else detail[1] if verdict in _OF_PARTS else ""
        return said
    part, scope, name, outputs, rows, timers, us, late = detail
    said = _about(rule, look, _PARTS.get(part, "") + _did(part, outputs, rows, timers, us, late))
    said.scope = scope
    log_id, count = engine.site.log_id, min(outputs, OUTPUTS_NAMED_MAX)
    said.outputs = [derived_id(log_id, name, event_id, n) for n in range(count)] if event_id else []
    said.ran, said.outputs_count, said.rows, said.timers, said.us, said.late = True, outputs, rows, timers, us, late
    return said


def _about(rule: Declared, look: Look, text: str) -> Told:
    version = rule.actor.partition("@")[2]
    return Told(
        rule=rule.name, title=rule.title, file=rule.file, line=rule.line, version=version, sequence=look[0],
        verdict=look[1], text=text,
    )  # fmt: skip


def _did(part: str, outputs: int, rows: int, timers: int, us: float, late: bool) -> str:
    done = [counted(outputs, "output")] if outputs else []
    done += [counted(rows, "row") + " changed"] if rows else []
    done += [counted(timers, "timer") + " set"] if timers else []
    ran = "cleared up" if part == "engine" else f"ran in {us / 1000:.2f} ms"
    return f"{ran}: {', '.join(done) or 'nothing followed'}" + (", late: nothing was switched" if late else "")


def _words(rule: Declared, verdict: str, detail: Any) -> str:
    """Say why a rule did not run."""
    if verdict == WHERE and isinstance(rule, EventRule):
        name, value = detail
        wanted = next((test.text for field, test in rule.where if field == name), "")
        return f"where: {name} was {_value(value)}, not {name}{wanted}"
    if verdict == MODE and isinstance(rule, EventRule):
        return f"mode: it was {detail}, not {' or '.join(rule.modes)}"
    if verdict == COOLDOWN:
        return f"cooldown: {duration(detail / NS_PER_S)} left"
    if verdict == CLOSED:
        return f"hours: it was not {detail}" if detail.startswith(("between", "on ")) else f"hours: {detail}"
    if verdict in (STEADY, CHANGED) and isinstance(rule, Condition):
        return _weighed(rule, detail[1], verdict == STEADY)
    if verdict in (WAITS, MISSED, GATED):
        return str(detail)
    if verdict == FAILED:
        part, _, what, attempts, us = detail
        return f"{_PARTS.get(part, '')}failed after {us / 1000:.2f} ms, attempt {attempts}: {what}"
    if verdict == PARKED:
        return f"{_PARTS.get(detail[0], '')}the rule was in quarantine: the call waits"
    if verdict == OVER:
        return f"{_PARTS.get(detail[0], '')}not called, it was over meanwhile"
    return f"{verdict}: {detail}" if detail is not None else verdict


def _weighed(condition: Condition, values: Sequence[Any], steady: bool) -> str:
    """Say of each field what it was and whether that is so, and what that came to."""
    if CLOSED in values[len(condition.fields) :] and condition.hours is not None:
        return f"is not so: it was not {condition.hours.text}"
    if len(values) > len(condition.fields):
        return "not known: the device is offline"
    found = [
        (name, test, value, holds(test, value)) for (name, test), value in zip(condition.fields, values, strict=True)
    ]
    each = ", ".join(f"{name} is {_value(value)} ({test.text.strip()}: {so})" for name, test, value, so in found)
    answers = {so for *_, so in found}
    if "no" in answers:
        return f"{'is not so' if steady else 'is over'}: {each}"
    if answers != {"yes"}:
        return f"stays what it was: {each}"
    lasts = f", has to last {duration(condition.lasts_ns / NS_PER_S)}" if condition.lasts_ns and not steady else ""
    return f"{'is so already' if steady else 'became so'}{lasts}: {each}"


def holds(test: Any, value: Any) -> str:
    """Say whether a value passes: yes, no, or between the limit and `clear`, where it stays what it was."""
    if value is None:
        return "not known"
    if test.holds(value, False):
        return "yes"
    return "as before" if test.holds(value, True) else "no"


def unmeant(selector: Selector, device: Device | None) -> str:
    """Return why a selector does not mean a device; nothing if it does."""
    if device is None:
        return "" if selector.anything else f"only {selector}; this is about no device"
    if selector.device and device.id not in selector.device and device.name not in selector.device:
        return f"only device={'|'.join(selector.device)}; this is {device.name}"
    if selector.room and device.room not in selector.room:
        return f"only room={'|'.join(selector.room)}; {device.name} is in {device.room or 'no room'}"
    if selector.kind and device.kind not in selector.kind:
        return f"only kind={'|'.join(selector.kind)}; {device.name} is a {device.kind or 'device of no kind'}"
    if selector.label and not device.labels.intersection(selector.label):
        return f"only label={'|'.join(selector.label)}; {device.name} has {', '.join(sorted(device.labels)) or 'none'}"
    return ""


def looking_at(definitions: Sequence[Declared], device: Device) -> list[Declared]:
    """Return the rules that look at what a device reports, by its fields as far as they are known."""
    types = {OFFLINE, ONLINE}
    for field in device.fields:
        means = meaning(field)
        if means is not None:
            types |= {name.format(kind=device.kind) for name in (means.event, means.off) if name}
        types.add(f"{field.replace('.', '_')}_changed")
    return [rule for rule in definitions if _looks(rule, device, types)]


def _looks(rule: Declared, device: Device, types: set[str]) -> bool:
    if not isinstance(rule, (EventRule, Condition)) or unmeant(rule.selector, device):
        return False
    if rule.selector.device:
        return True
    if isinstance(rule, EventRule):
        return not types.isdisjoint(rule.types)
    return any(name in device.fields for name, _ in rule.fields)


def _of_interest(rule: Declared, event_type: str, fields: Sequence[str]) -> bool:
    if isinstance(rule, EventRule):
        return event_type in rule.types
    if isinstance(rule, Condition):
        return event_type in (OFFLINE, ONLINE) or any(name in fields for name, _ in rule.fields)
    return False


def _value(value: Any) -> str:
    return "not known" if value is None else str(value)
