"""`rules why`: a rule as it is now, each test with its value, and what it made of the last events it looked at."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import Colour, printable, say, say_json, where
from gateway.cli.verb import OK
from gateway.quantity import counted, duration

Entry = Mapping[str, Any]
Line = tuple[str, Colour | None]


def why(words: argparse.Namespace) -> int:
    """Ask the running gateway and print what it says."""
    found = ask(words, "rules_why", name=words.name, device=words.device or "", last=words.last)
    if words.json:
        say_json(found)
        return OK
    for text, colour in lines(found):
        say(printable(text), colour)
    return OK


def lines(found: Entry) -> Iterator[Line]:
    """Yield what a person reads, line by line."""
    version = f", version {found['version']}" if found["version"] else ""
    yield f"{found['name']}: {found['title']}", "bold"
    yield f"  runs on  {found['trigger']}", None
    yield f"  file     {where(found['file'], found['line'])}{version}", None
    times = counted(found["fired"], "time")
    fired = f"{times} since the gateway started" if found["fired"] else "not since the gateway started"
    last = f", last {found['fired_at']}" if found["fired_at"] else ""
    took = f", {found['call_us_median'] / 1000:.2f} ms a call" if found["call_us_median"] is not None else ""
    yield f"  ran      {fired}{last}{took}", None
    yield from _trouble(found)
    if found["disabled"]:
        yield f"  {found['disabled']}; to end that: edge-gateway rules enable {found['name']}", "yellow"
    yield from _now(found)
    if "scopes" in found:
        yield from _scopes(found)
    elif "devices" in found:
        yield from _devices(found)
    yield from _kept(found)
    yield from _looks(found)


def _trouble(found: Entry) -> Iterator[Line]:
    trouble = found["trouble"]
    if trouble is None:
        return
    again = f", tried again {trouble['again']}" if trouble["again"] else ""
    calls = f", {trouble['waiting']} of its calls wait" if trouble["waiting"] else ""
    word = "in quarantine" if trouble["quarantined"] else "failed"
    yield f"  {word}: {trouble['reason']}{again}{calls}", "red"


def _now(found: Entry) -> Iterator[Line]:
    """Say what speaks for or against any run at this moment."""
    mode, hours = found.get("mode"), found.get("hours")
    if mode:
        word = "yes" if mode["fits"] else "no"
        yield f"  mode     {word}: it is {mode['now']}, wanted {' or '.join(mode['wanted'])}", None
    if hours:
        yield f"  hours    {'yes' if hours['open'] else 'no'}: {hours['text']}, until {hours['until']}", None
    if found.get("not_meant"):
        yield f"  not meant: {found['not_meant']}", "yellow"
    elif "devices" in found and not found["devices"]:
        yield "  devices  none is meant now", "yellow"
    elif "scopes" in found and not found["scopes"]:
        yield "  so for   no device is meant now", "yellow"


def _devices(found: Entry) -> Iterator[Line]:
    if found["where"]:
        yield f"  where    {', '.join(found['where'])}", None
    for device in found["devices"]:
        rests = f"cooldown: {duration(device['cooldown_left_s'])} left" if device["cooldown_left_s"] else ""
        parts = [*(_field(field) for field in device["fields"]), rests]
        yield f"  device   {device['name']}  {', '.join(part for part in parts if part)}".rstrip(), None
    yield from _rest(found["devices_count"], len(found["devices"]))


def _scopes(found: Entry) -> Iterator[Line]:
    for scope in found["scopes"]:
        yield f"  so for   {scope['name']}: {_state(scope)}", "bold" if scope["begun"] else None
        for member in scope["members"]:
            offline = "" if member["online"] else "offline; "
            yield f"             {member['name']}: {offline}{', '.join(map(_field, member['fields']))}", None
    yield from _rest(found["scopes_count"], len(found["scopes"]))


def _state(scope: Entry) -> str:
    """Say how far a condition is: not so, waiting, begun."""
    if not scope["so"]:
        return f"not known, stays so until {scope['unknown_until']}" if "unknown_until" in scope else "no"
    if scope["begun"]:
        return f"yes since {scope['since']}, begun"
    if "begins" in scope:
        over, all_of = duration(scope["lasted_s"]), duration(scope["lasts_s"])
        return f"yes since {scope['since']}, {over} of {all_of} over, begins {scope['begins']}"
    waits = "its begin failed, tried again" if scope["failing"] else "not begun"
    return f"yes since {scope['since']}, {waits}"


def _field(field: Entry) -> str:
    value = "not known" if field["value"] is None else field["value"]
    return f"{field['field']} is {value} ({field['wanted']}: {field['text']})"


def _kept(found: Entry) -> Iterator[Line]:
    """Say what the rule has going: timers, claims, alerts."""
    for waiting in found.get("waiting", ()):
        yield f"  waits    {waiting['kind']} for {waiting['scope']}", None
    for timer in found["timers"]:
        what = timer.get("function") or {"every": "next tick", "at": "next time"}.get(timer["kind"], timer["kind"])
        about = f" for {timer['scope']}" if timer["scope"] else ""
        yield f"  timer    {what}{about}, due {timer['due']}", None
    for claim in found["holds"]:
        until = f" until {claim['until']}" if claim["until"] else ""
        counts = "" if claim["counts"] else f"; {not_counting(claim)}"
        what = f"{claim['field']}={claim['value']} as {claim['priority']}"
        yield f"  holds    {claim['name']} {what}{until}{counts}", None
    for alert in found["alerts"]:
        yield f"  alert    {alert['alert']} since {alert['since']}: {alert['text']}", "yellow"


def not_counting(claim: Entry) -> str:
    """Say why a claim does not count."""
    return "only observed, nothing is switched" if claim["observed"] else "a stronger claim counts"


def _looks(found: Entry) -> Iterator[Line]:
    if not found["looks"]:
        yield "  looked   at nothing since the rules were loaded", None
    for look in found["looks"]:
        event = look.get("event") or {}
        device = str(event.get("subject") or "").rpartition(":")[2]
        about = f"{event.get('time', 'record ' + look['sequence'])}  {event.get('type', '')} {device}".rstrip()
        yield f"  {'ran' if look.get('ran') else 'not':<8} {about}: {look['text']}", None


def _rest(count: int, shown: int) -> Iterator[Line]:
    if count > shown:
        yield f"  and {count - shown} more; --device shows one", "dim"
