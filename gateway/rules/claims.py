"""Claims on devices: who wants a field to be what, and which command follows from it.

`hold` puts a claim; the strongest one counts (safety, then person, then rule; among equals the latest).  A command
is made only when what counts changes.  When the last claim goes, the field returns to what it was before the first.

A row of the table "holds" (by device id) is ``{claims: [{by, scope, field, value, priority, since, timer?}],
base: {field: value}, sent: {field: value}}``: `base` is what the device reported before, `sent` what it was told.
Claims may be put while the engine is not up to date; the difference is sent when it is (`reconcile`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from gateway.clock import NS_PER_S, rfc3339
from gateway.rules.call import Call, LimitReached
from gateway.rules.house import Device
from gateway.rules.tables import HOLDS, TIMERS

Priority = Literal["safety", "person", "rule"]
PRIORITIES: tuple[Priority, ...] = ("safety", "person", "rule")
CLAIMS_PER_DEVICE_MAX = 32
HOLD = "hold"  # kind of timer
COMMAND_LIFETIME_S = 3600  # a command of a hold without an end is not sent later than this

Claim = dict[str, Any]


def hold(call: Call, device: Device, fields: Mapping[str, Any], lasts_ns: int, priority: Priority) -> None:
    """Claim fields of a device for the call's rule and scope; an earlier claim of theirs is replaced."""
    row = _row(call, device.id)
    timer = call.start_timer(HOLD, lasts_ns, {"held": device.id}) if lasts_ns else None
    mine = (call.rule.name, call.scope)
    base = dict(row["base"])
    claims = [claim for claim in row["claims"] if (claim["by"], claim["scope"]) != mine or claim["field"] not in fields]
    for gone in row["claims"]:
        if gone not in claims and gone.get("timer"):
            call.rows.put(TIMERS, gone["timer"], None)
    for name, value in fields.items():
        if name not in row["sent"] and name not in base:
            base[name] = device[name]
        claims.append(
            {
                "by": call.rule.name,
                "scope": call.scope,
                "field": name,
                "value": value,
                "priority": PRIORITIES.index(priority),
                "since": call.cause.sequence,
                "timer": timer,
                "until": call.cause.time_ns + lasts_ns if lasts_ns else None,
            }
        )
    if len(claims) > CLAIMS_PER_DEVICE_MAX:
        raise LimitReached(f"more than {CLAIMS_PER_DEVICE_MAX} claims on {device.name}")
    call.rows.put(HOLDS, device.id, {**row, "claims": claims, "base": base})


def release(call: Call, device: str, goes: Callable[[Claim], bool]) -> bool:
    """Drop the claims on a device for which `goes` is true; returns whether there were any."""
    row = call.rows.get(HOLDS, device)
    if row is None:
        return False
    gone = [claim for claim in row["claims"] if goes(claim)]
    for claim in gone:
        if claim.get("timer"):
            call.rows.put(TIMERS, claim["timer"], None)
    if gone:
        call.rows.put(HOLDS, device, {**row, "claims": [claim for claim in row["claims"] if not goes(claim)]})
    return bool(gone)


def release_scope(call: Call, scope: str | None) -> list[str]:
    """Drop all claims of the call's rule in a scope (None: in any); returns the devices."""
    rule = call.rule.name

    def goes(claim: Claim) -> bool:
        return claim["by"] == rule and scope in (None, claim["scope"])

    return [device for device in list(call.rows.keys(HOLDS)) if release(call, device, goes)]


def reconcile(call: Call, device: str) -> None:
    """Make the commands that bring a device from what it was told to what counts now."""
    row = call.rows.get(HOLDS, device)
    if row is None:
        return
    sent, base = dict(row["sent"]), dict(row["base"])
    strongest = {claim["field"]: claim for claim in sorted(row["claims"], key=_strength)}
    for name, claim in strongest.items():
        if name not in sent or sent[name] != claim["value"]:
            sent[name] = claim["value"]
            until = claim["until"] or call.cause.time_ns + COMMAND_LIFETIME_S * NS_PER_S
            _command(call, device, name, claim["value"], until, PRIORITIES[claim["priority"]])
    for name in [name for name in base if name not in strongest]:
        value, told = base.pop(name), sent.pop(name, None)
        if value is None and isinstance(told, bool):
            value = not told  # a siren that never says how it is: what was switched on is switched off
        if value is not None and told is not None and value != told:
            _command(call, device, name, value, call.cause.time_ns + COMMAND_LIFETIME_S * NS_PER_S, "rule")
    kept = {"claims": row["claims"], "base": base, "sent": sent}
    if kept != row:
        call.rows.put(HOLDS, device, kept if kept["claims"] else None)


def _command(call: Call, device: str, name: str, value: Any, until_ns: int, priority: Priority) -> None:
    data = {"command": command_for(name), "value": value, "field": name, "priority": priority}
    call.output("command_requested", {**data, "expires": rfc3339(until_ns)}, lane="command", subject=device)


def command_for(field: str) -> str:
    """Return the command that sets a field: ``set_mode``, ``set_setpoint`` for ``setpoint.heat``."""
    return f"set_{field.partition('.')[0]}"


def _row(call: Call, device: str) -> dict[str, Any]:
    return call.rows.get(HOLDS, device) or {"claims": [], "base": {}, "sent": {}}


def _strength(claim: Claim) -> tuple[int, int]:
    """Order claims from the weakest to the strongest."""
    return (-claim["priority"], claim["since"])
