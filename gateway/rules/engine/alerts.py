"""Alerts have a life: raised, repeated, escalated, acknowledged, cleared.

An alert is known by its key, house-wide, and by what it is about; each time it is raised anew it gets an id, which all
its events carry: `alert_raised`, `alert_repeated`, `alert_escalated`, `alert_acknowledged`, `alert_cleared`, each with
its actor.  Acknowledging it stops repeats and escalation and ends what escalation holds; the alert stays until what it
is about is over.  Who was told that it is raised is told when it is repeated and when it is over.

A row of the table "alerts" is ``{id, key, scope, rule, text, lane, device, since, count, timer, repeat, steps, step,
step_timer, told, held, acknowledged?}``: `steps` are ``[after_ns, name]``, `step` is the next one; `told` are names of
recipients and groups, `held` the devices that escalation holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import LaneName, derived_id
from gateway.rules.engine import claims, notices
from gateway.rules.engine.call import Call, LimitReached
from gateway.rules.engine.tables import ALERTS, TIMERS, Rows
from gateway.rules.language.definition import duration_ns
from gateway.rules.language.house import UnknownName
from gateway.rules.records import ACKNOWLEDGE

ALERTS_MAX = 1000  # raised at the same time
TEXT_CHARS_MAX = 500
KEY_CHARS_MAX = 100
STEPS_MAX = 10
REPEAT, ESCALATE = "repeat", "escalate"  # kinds of timers
"""A person's wish, a record of the lane timer; the event `alert_acknowledged` is what becomes of it."""
TYPES = ("alert_raised", "alert_repeated", "alert_escalated", "alert_acknowledged", "alert_cleared", ACKNOWLEDGE)

Row = dict[str, Any]
Step = tuple[int, str]
"""How long after it was raised (ns), and who or what: a recipient, a group, a device to be held on."""
Settle = Callable[[str], None]
"""Commands a device whose claims have changed."""


def _nothing_held(device: str) -> None:
    """Command nothing: of an alert without escalation."""


def raise_alert(
    call: Call,
    text: str,
    key: str,
    lane: LaneName,
    repeat_ns: int,
    steps: Sequence[Step] = (),
    settle: Settle = _nothing_held,
) -> None:
    """Raise an alert, or once more the one that is already there. LimitReached when there are too many."""
    if not key or len(key) > KEY_CHARS_MAX or "|" in key:
        raise ValueError(f"alert key {key!r}: 1 to {KEY_CHARS_MAX} characters and no '|'")
    rows, at = call.rows, _at(key, call.scope)
    row: Row | None = rows.get(ALERTS, at)
    about: Row = {"rule": call.rule.name, "text": text[:TEXT_CHARS_MAX], "lane": lane, "repeat": repeat_ns}
    if row is None:
        if sum(1 for _ in rows.keys(ALERTS)) >= ALERTS_MAX:
            raise LimitReached(f"more than {ALERTS_MAX} alerts at the same time")
        row = {**_new(call, at), **about, "key": key, "steps": [list(step) for step in steps]}
        call.output("alert_raised", _data(row), lane=lane, subject=row["device"])
        _plan(call, at, row, settle)
        return
    row = {**_new(call, at), **row, **about, "count": row["count"] + 1}
    if [list(step) for step in steps] != row["steps"]:  # another plan: what it wants from now on
        passed_ns = call.cause.time_ns - row["since"]
        row["steps"] = [list(step) for step in steps]
        row["step"] = sum(step[0] <= passed_ns for step in steps)
        _stop(call, row, "step_timer")
    _stop(call, row, "timer")
    _say_again(call, row)
    if row.get("acknowledged"):
        rows.put(ALERTS, at, row)
    else:
        _plan(call, at, row, settle)


def read_steps(call: Call, escalate: Sequence[tuple[str | float, str]]) -> list[Step]:
    """Read an author's escalation, in the order of time. ValueError and LookupError say what to write."""
    if not isinstance(escalate, (list, tuple)) or len(escalate) > STEPS_MAX:
        raise ValueError(f'escalate={escalate!r}: at most {STEPS_MAX} steps such as ("15m", "everyone")')
    steps: list[Step] = []
    for step in escalate:
        if not isinstance(step, (list, tuple)) or len(step) != 2 or not isinstance(step[1], str):
            raise ValueError(f'escalate: {step!r} is no step: write such as ("15m", "everyone")')
        if step[1] not in call.site.recipients:
            try:
                call.site.house.device(step[1])
            except UnknownName:
                call.site.recipients.check(step[1], [device.name for device in call.site.house.devices.values()])
        steps.append((duration_ns(step[0]), step[1]))
    return sorted(steps, key=lambda step: step[0])


def timer_fired(call: Call, kind: str, at: str, present_ns: int, settle: Settle) -> None:
    """Repeat or escalate an alert whose time has come, if it is still there and nobody has acknowledged it."""
    late_ns = max(0, present_ns - call.cause.time_ns) if call.late else 0
    row = call.rows.get(ALERTS, at)
    if row is None or row.get("acknowledged"):
        return
    if kind == REPEAT and row.get("repeat"):
        wait_ns = row["repeat"] * (late_ns // row["repeat"] + 1)
        row = {**row, "timer": call.start_timer(REPEAT, wait_ns, {"alert": at})}
        if not call.late:  # nobody wants to hear now that it was so then; the next one is in time
            row["count"] += 1
            _say_again(call, row)
        call.rows.put(ALERTS, at, row)
    elif kind == ESCALATE and row.get("step", 0) < len(row.get("steps", ())):
        row = {**row, "step_timer": None}
        call.late = False  # it is still so: whoever would have been told then is told now
        _take_step(call, row, settle)
        _plan(call, at, row, settle, late_ns)


def acknowledge(call: Call, at: str, by: str, settle: Settle) -> None:
    """Let nobody be bothered any more by an alert that somebody has seen; nothing if it is gone, or was seen before."""
    row = call.rows.get(ALERTS, at)
    if row is None or row.get("acknowledged"):
        return
    row = {**row, "acknowledged": {"by": by, "at": call.cause.time_ns}}
    _stop(call, row, "timer")
    _stop(call, row, "step_timer")
    _release(call, row, settle)
    call.rows.put(ALERTS, at, row)
    event = call.output("alert_acknowledged", _data(row), lane=row["lane"], subject=row["device"])
    call.outputs[-1] = msgspec.structs.replace(event, actor=by)


def named(rows: Rows, name: str, scope: str | None = None) -> list[str]:
    """Return where the alerts are that have a key (in one scope, or any), or the one with an id."""
    found = [(at, rows.get(ALERTS, at)) for at in rows.keys(ALERTS)]
    return [
        at
        for at, row in found
        if row is not None and (row.get("id") == name or (row["key"] == name and scope in (None, row["scope"])))
    ]


def clear_alerts(call: Call, key: str | None, scope: str | None, settle: Settle = _nothing_held) -> None:
    """Clear the alerts with a key (None: of the call's rule) and a scope (None: of any)."""
    for at in list(call.rows.keys(ALERTS)):
        row = call.rows.get(ALERTS, at)
        assert row is not None
        mine = row["key"] == key if key is not None else row["rule"] == call.rule.name
        if mine and scope in (None, row["scope"]):
            clear(call, at, row, settle)


def clear(call: Call, at: str, row: Row, settle: Settle = _nothing_held) -> None:
    """Clear one alert."""
    row = {**row}
    _stop(call, row, "timer")
    _stop(call, row, "step_timer")
    _release(call, row, settle)
    call.rows.put(ALERTS, at, None)
    call.output("alert_cleared", _data(row), lane=row["lane"], subject=row["device"])
    _tell(call, row, f"over: {row['text']}", urgent=False)


def raised(rows: Rows) -> list[Row]:
    """Return all alerts that are raised, in the order of their keys."""
    return [row for row in (rows.get(ALERTS, at) for at in rows.keys(ALERTS)) if row is not None]


def _new(call: Call, at: str) -> Row:
    """Return what an alert begins with."""
    return {
        "id": derived_id(call.site.log_id, f"alert|{at}", call.cause.id, 0),
        "scope": call.scope,
        "device": call.device,
        "since": call.cause.time_ns,
        "count": 1,
        "timer": None,
        "steps": [],
        "step": 0,
        "step_timer": None,
        "told": [],
        "held": [],
    }


def _plan(call: Call, at: str, row: Row, settle: Settle, late_ns: int = 0) -> None:
    """Take the steps that are due now, set the timers of what comes later, and keep the row.

    A step that comes late moves the ones behind it: between telling somebody and the siren there is the time that the
    author wanted, power cut or not.  What is raised late waits for a timer: it may be over by then.
    """
    steps: Sequence[Step] = row["steps"]
    now_ns = call.cause.time_ns - row["since"]
    while not call.late and row["step"] < len(steps) and steps[row["step"]][0] <= now_ns and not row["step_timer"]:
        _take_step(call, row, settle)
    if row["step"] < len(steps) and not row["step_timer"]:
        after_ns = steps[row["step"]][0]
        if late_ns and row["step"]:
            wait_ns = late_ns + after_ns - steps[row["step"] - 1][0]
        else:
            wait_ns = max(0, after_ns - now_ns)
        row["step_timer"] = call.start_timer(ESCALATE, wait_ns, {"alert": at})
    if row["repeat"] and not row["timer"]:
        row["timer"] = call.start_timer(REPEAT, row["repeat"], {"alert": at})
    call.rows.put(ALERTS, at, row)


def _take_step(call: Call, row: Row, settle: Settle) -> None:
    """Tell the next one, or hold the next device on."""
    _, name = row["steps"][row["step"]]
    said = {**_data(row), "to": name, "step": row["step"]}
    row["step"] += 1
    if name in call.site.recipients:
        row["told"] = [*row["told"], *([] if name in row["told"] else [name])]
        since = "" if row["since"] == call.cause.time_ns else f" (since {_clock(call, row['since'])}, not acknowledged)"
        _tell(call, row, row["text"] + since, urgent=row["lane"] == "alarm", names=[name])
    else:
        try:
            device = call.site.house.device(name)
        except UnknownName as error:  # removed since it was raised: the others are still told
            call.output("alert_escalated", {**said, "reason": str(error)}, lane=row["lane"], subject=row["device"])
            return
        row["held"] = [*row["held"], device.id]
        scope, call.scope = call.scope, _claims(row)
        claims.hold(call, device, {"on": True}, 0, "safety" if row["lane"] == "alarm" else "rule")
        call.scope = scope
        settle(device.id)
    call.output("alert_escalated", said, lane=row["lane"], subject=row["device"])


def _release(call: Call, row: Row, settle: Settle) -> None:
    """End what escalation holds."""
    for device in row.get("held", ()):
        if claims.release(call, device, lambda claim: bool(claim["scope"] == _claims(row))):
            settle(device)
    row["held"] = []


def _say_again(call: Call, row: Row) -> None:
    said = {"acknowledged": row["acknowledged"]["by"]} if row.get("acknowledged") else {}
    call.output("alert_repeated", {**_data(row), **said}, lane=row["lane"], subject=row["device"])
    if not row.get("acknowledged") and not call.late:
        _tell(call, row, f"{row['text']} (since {_clock(call, row['since'])})", urgent=row["lane"] == "alarm")


def _tell(call: Call, row: Row, text: str, *, urgent: bool, names: Sequence[str] | None = None) -> None:
    """Notify those who were told before, or these; a newer word about an alert replaces one that still waits."""
    late, call.late = call.late, False  # what is said is said of now
    for name in row.get("told", ()) if names is None else names:
        if name in call.site.recipients:  # may have left the config since
            notices.notify(
                call,
                name,
                text,
                title=row["key"].replace("_", " "),
                key=f"alert:{row['id']}",
                ttl_ns=notices.TTL_ALERT_S * NS_PER_S,
                urgent=urgent,
                alert=row["id"],
            )
    call.late = late


def _data(row: Row) -> Row:
    """Return what all events about an alert say."""
    return {
        "alert": row["key"],
        "id": row.get("id", ""),
        "rule": row["rule"],
        "text": row["text"],
        "since": rfc3339(row["since"]),
        "count": row["count"],
    }


def _stop(call: Call, row: Row, name: str) -> None:
    if row.get(name):
        call.rows.put(TIMERS, row[name], None)
    row[name] = None


def _clock(call: Call, time_ns: int) -> str:
    """Return a time as the clock on the wall shows it."""
    return f"{datetime.fromtimestamp(time_ns // NS_PER_S, call.site.timezone):%H:%M}"


def _claims(row: Row) -> str:
    """Return the scope of what escalation of an alert holds."""
    return f"alert:{row['id']}"


def _at(key: str, scope: str) -> str:
    return f"{key}|{scope}"
