"""Claims on devices: who wants a field to be what, and which command follows from it.

`hold` puts a claim; the strongest one counts (safety, then person, then rule; among equals the latest).  A command
is made only when what counts changes.  When the last claim goes, the field returns to what it was before the first,
or to what a person made it meanwhile (`override`).

A row of the table "holds" (by device id) is::

    claims   [{by, scope, field, value, priority, since, timer?, until?, why?, manual?, observe?}]
    base     field -> what it returns to
    sent     field -> what it was told, or what a person made it
    told     field -> {at: ns, before: value, took?: what it said then, failed?: why, check?: timer, observed?: true}
    shown    field -> what rules that are only observed would have made it

Claims may be put while the engine is not up to date; the difference is sent when it is (`reconcile`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from gateway.clock import NS_PER_S, rfc3339
from gateway.rules.engine.call import Call, LimitReached
from gateway.rules.engine.tables import HOLDS, TIMERS
from gateway.rules.language.house import Device
from gateway.rules.records import WITHDRAWN

Priority = Literal["safety", "person", "rule"]
PRIORITIES: tuple[Priority, ...] = ("safety", "person", "rule")
PERSON = PRIORITIES.index("person")
BY_HAND = "person:hand"  # who changed something at the device itself
CLAIMS_PER_DEVICE_MAX = 32
HOLD = "hold"  # kind of timer
COMMAND_LIFETIME_S = 3600  # a command of a hold without an end is not sent later than this

Claim = dict[str, Any]


def hold(
    call: Call,
    device: Device,
    fields: Mapping[str, Any],
    lasts_ns: int,
    priority: Priority,
    manual_ns: int | None = None,
) -> None:
    """Claim fields of a device for the call's rule and scope; an earlier claim of theirs is replaced.

    `manual_ns` is how long a change by hand counts against this claim, where the author says it.
    """
    row = _row(call, device.id)
    timer = call.start_timer(HOLD, lasts_ns, {"held": device.id}) if lasts_ns else None
    mine = (call.rule.name, call.scope)
    base = dict(row["base"])
    claims = [claim for claim in row["claims"] if (claim["by"], claim["scope"]) != mine or claim["field"] not in fields]
    _forget_timers(call, row["claims"], claims)
    extra: dict[str, Any] = {} if manual_ns is None else {"manual": manual_ns}
    if call.observed:
        extra["observe"] = True
    for name, value in fields.items():
        if name not in row["sent"] and name not in base and not call.observed:
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
                **extra,
            }
        )
    if len(claims) > CLAIMS_PER_DEVICE_MAX:
        raise LimitReached(f"more than {CLAIMS_PER_DEVICE_MAX} claims on {device.name}")
    call.rows.put(HOLDS, device.id, {**row, "claims": claims, "base": base})


def override(call: Call, device: str, name: str, value: Any, lasts_ns: int, why: str) -> None:
    """Claim a field for the person who set it, in place of an earlier person's; that is what it was told now.

    Without `lasts_ns` it is no claim, and what counts is told again.  Who is `BY_HAND` has done it already.
    """
    row = _row(call, device)
    base, sent, told = dict(row["base"]), dict(row["sent"]), dict(row.get("told", {}))
    claims = [claim for claim in row["claims"] if not is_persons(claim) or claim["field"] != name]
    _forget_timers(call, row["claims"], claims)
    _forget_check(call, told.get(name))
    now = _now(call, device, name)
    by_hand = call.rule.name == BY_HAND
    if by_hand:
        _withdraw(call, device, name, told.get(name))
    told[name] = {"took": value} if by_hand else {"at": call.cause.time_ns, "before": now}
    sent[name] = value
    if lasts_ns:
        base[name] = value
        claim = {"by": call.rule.name, "scope": "", "field": name, "value": value, "priority": PERSON}
        claim |= {"since": call.cause.sequence, "until": call.cause.time_ns + lasts_ns, "why": why}
        claims.append({**claim, "timer": call.start_timer(HOLD, lasts_ns, {"held": device})})
    call.rows.put(HOLDS, device, {**row, "claims": claims, "base": base, "sent": sent, "told": told})


def is_persons(claim: Claim) -> bool:
    """Return whether a person made a claim, not a rule in a person's stead."""
    return str(claim["by"]).startswith("person:")


def release(call: Call, device: str, goes: Callable[[Claim], bool]) -> bool:
    """Drop the claims on a device for which `goes` is true; returns whether there were any."""
    row = call.rows.get(HOLDS, device)
    if row is None:
        return False
    kept = [claim for claim in row["claims"] if not goes(claim)]
    if len(kept) == len(row["claims"]):
        return False
    _forget_timers(call, row["claims"], kept)
    call.rows.put(HOLDS, device, {**row, "claims": kept})
    return True


def release_scope(call: Call, scope: str | None) -> list[str]:
    """Drop all claims of the call's rule in a scope (None: in any); returns the devices."""
    rule = call.rule.name

    def goes(claim: Claim) -> bool:
        return claim["by"] == rule and scope in (None, claim["scope"])

    return [device for device in list(call.rows.keys(HOLDS)) if release(call, device, goes)]


def strongest(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Return the claim that counts, by field."""
    return {claim["field"]: claim for claim in sorted(claims, key=_strength)}


def reconcile(call: Call, device: str) -> None:
    """Make the commands that bring a device from what it was told to what counts now."""
    row = call.rows.get(HOLDS, device)
    if row is None:
        return
    kept = {**row, "base": dict(row["base"]), "sent": dict(row["sent"]), "told": dict(row.get("told", {}))}
    sent, base, told = kept["sent"], kept["base"], kept["told"]
    counts = strongest(claim for claim in row["claims"] if not claim.get("observe"))
    for name, claim in counts.items():
        if name not in sent or sent[name] != claim["value"]:
            sent[name] = claim["value"]
            _forget_check(call, told.get(name))
            told[name] = {"at": call.cause.time_ns, "before": _now(call, device, name)}
            _command(call, device, name, claim["value"], claim["until"], PRIORITIES[claim["priority"]])
    for name in [name for name in base if name not in counts]:
        value, was, before = base.pop(name), sent.pop(name, None), told.pop(name, None)
        _forget_check(call, before)
        if value is None and isinstance(was, bool):
            value = not was  # a siren that never says how it is: what was switched on is switched off
        if value is not None and was is not None and value != was:
            _command(call, device, name, value, None, "rule")
        else:
            _withdraw(call, device, name, before)
    kept["shown"] = _would_be(call, device, row, sent)
    kept = {name: kept[name] for name in kept if kept[name] or name in ("claims", "base", "sent")}
    if kept != row:
        call.rows.put(HOLDS, device, kept if kept["claims"] else None)


def _would_be(call: Call, device: str, row: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """Record the commands that rules which are only observed would make now."""
    shown = dict(row.get("shown", {}))
    counts = strongest(row["claims"]) if any(claim.get("observe") for claim in row["claims"]) else {}
    for name, claim in counts.items():
        if claim.get("observe") and (name not in shown or shown[name] != claim["value"]):
            shown[name] = claim["value"]
            if sent.get(name, _now(call, device, name)) != claim["value"]:
                _command(
                    call, device, name, claim["value"], claim["until"], PRIORITIES[claim["priority"]], observe=True
                )
    for name in [name for name in shown if name not in counts or not counts[name].get("observe")]:
        value, back = shown.pop(name), sent.get(name, _now(call, device, name))
        if back is not None and back != value:
            _command(call, device, name, back, None, "rule", observe=True)
    return shown


def _command(
    call: Call, device: str, name: str, value: Any, until_ns: int | None, priority: Priority, *, observe: bool = False
) -> None:
    data = {"command": command_for(name), "value": value, "field": name, "priority": priority}
    data["expires"] = rfc3339(until_ns or call.cause.time_ns + COMMAND_LIFETIME_S * NS_PER_S)
    if observe:
        data["observe"] = True
    call.output("command_requested", data, lane="command", subject=device)


def _withdraw(call: Call, device: str, name: str, told: Mapping[str, Any] | None) -> None:
    """Have nobody tell a device again what it has not taken yet and what nobody wants any more."""
    if told and "at" in told and not told.keys() & {"took", "failed", "observed"}:
        call.output(WITHDRAWN, {"field": name}, lane="command", subject=device)


def command_for(field: str) -> str:
    """Return the command that sets a field: ``set_mode``, ``set_setpoint`` for ``setpoint.heat``."""
    return f"set_{field.partition('.')[0]}"


def _now(call: Call, device: str, name: str) -> Any:
    known = call.site.house.devices.get(device)
    return None if known is None else known[name]


def _forget_timers(call: Call, before: Iterable[Claim], after: Iterable[Claim]) -> None:
    """Cancel the timers that end no claim any more; claims made together share one."""
    for timer in {claim["timer"] for claim in before} - {claim["timer"] for claim in after} - {None}:
        call.rows.put(TIMERS, timer, None)


def _forget_check(call: Call, told: Mapping[str, Any] | None) -> None:
    if told and told.get("check"):
        call.rows.put(TIMERS, told["check"], None)


def _row(call: Call, device: str) -> dict[str, Any]:
    return call.rows.get(HOLDS, device) or {"claims": [], "base": {}, "sent": {}}


def _strength(claim: Claim) -> tuple[int, int]:
    """Order claims from the weakest to the strongest."""
    return (-claim["priority"], claim["since"])
