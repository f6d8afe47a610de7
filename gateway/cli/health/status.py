"""`status`: one sentence first, then what is behind it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.terminal.printing import Colour, say, say_json, table
from gateway.cli.verb import BAD, CONFIG, HERE, OK, Verbs, add
from gateway.quantity import duration, size

if TYPE_CHECKING:
    from gateway.api.status import Level, RouteStatus, Status

_COLOURS: dict[str, Colour] = {"ok": "green", "warning": "yellow", "bad": "red"}


def add_verbs(verbs: Verbs) -> None:
    """Declare `status`."""
    add(
        verbs,
        "status",
        "what the running gateway does: sources, lanes, routes, rules, disk, hours left",
        status,
        examples=["edge-gateway status", "edge-gateway status --json | jq .routes"],
        json=True,
    )


def status(words: argparse.Namespace) -> int:
    """Ask the running gateway; 1 when something is bad or nothing runs."""
    from gateway.api.client import ApiClient
    from gateway.api.findings import findings, headline
    from gateway.api.line import NotRunning
    from gateway.api.status import Status
    from gateway.config.places import places

    where = places(words.config)
    try:
        with ApiClient(where.socket) as client:
            raw = client.ask("status")
    except NotRunning as error:
        return _not_running(words, str(error).partition(": is it")[0])
    now = msgspec.convert(raw, Status)
    level, sentence = headline(now)
    if words.json:
        codes = [str(each.code) for each in findings(now) if each.code]
        say_json({"level": level, "sentence": sentence, "codes": codes, **raw})
    else:
        show(now, level, sentence)
    return BAD if level == "bad" else OK


def _not_running(words: argparse.Namespace, why: str) -> int:
    if not words.config.exists():
        why += f", and there is no {words.config} to say where it is"
    start = "systemctl start edge-gateway" if words.config == CONFIG else f"edge-gateway run --config {words.config}"
    if not words.config.exists() and Path(HERE).is_file():
        start = f"edge-gateway status --config {HERE}"
    sentence = f"The gateway is not running: {why}. Type: {start}"
    if words.json:
        say_json({"level": "bad", "sentence": sentence})
    else:
        say(sentence, "red")
    return BAD


def show(now: Status, level: Level, sentence: str) -> None:
    """Print a status for a person."""
    from gateway.api.findings import findings

    say(sentence, _COLOURS[level])
    for finding in findings(now)[1:]:
        command = f" Type: {finding.command}" if finding.command else ""
        say(f"  also: {finding.said}.{command}", _COLOURS[finding.level])
    clock = "" if now.clock_synced else ", clock not synchronised"
    up = duration(now.uptime_s)
    say(f"\n{now.gateway}, version {now.version}, pid {now.pid}, up {up}, on disk up to record {now.durable:,}{clock}")
    for heading, headers, rows in _tables(now):
        if rows:
            say()
            say(heading, "bold")
            table(headers, rows, [_colour(row) for row in rows])
    say()
    say(_rules(now))
    say(_devices(now))
    say(_commands(now))
    say(_disk(now))
    if now.applied.bundle:
        site = f" of site {now.applied.site}" if now.applied.site else ""
        say(f"config: bundle {now.applied.bundle[:12]}{site}, applied {now.applied.since}")


def _tables(now: Status) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
    headers = [
        "name",
        "kind",
        "state",
        "since",
        "received",
        "QoS 0/1/2",
        "rejected",
        "no profile",
        "where",
        "last error",
    ]
    rows = [
        [
            s.name,
            s.kind,
            s.state,
            s.since,
            s.received,
            _qos(s.qos),
            s.rejected,
            s.unclaimed or None,
            s.where,
            s.last_error,
        ]
        for s in now.sources
    ]
    yield "sources", headers, rows
    headers = ["name", "queued", "size", "oldest", "hours left", "dropped"]
    rows = [
        [lane.name, lane.queued, _size(lane.queued_bytes), lane.oldest, _hours(lane.hours_left), lane.dropped]
        for lane in now.lanes
    ]
    yield "lanes", headers, rows
    headers = ["name", "target", "state", "since", "delivered", "backlog", "retries", "dead", "last error"]
    rows = [
        [r.name, r.target, r.state, r.since, r.delivered, r.backlog, r.retries, r.dead_lettered, _error(r)]
        for r in now.routes
    ]
    yield "routes", headers, rows


def _devices(now: Status) -> str:
    devices = now.devices
    since = f"; {devices.file} took effect {devices.since}" if devices.since else ""
    unknown = f", {devices.unknown} that no profile reads" if devices.unknown else ""
    return (
        f"devices: {devices.installed} installed, {devices.heard} heard, {devices.not_adopted} of them not adopted"
        f"{unknown}{since}"
    )


def _rules(now: Status) -> str:
    rules = now.rules
    if rules.state == "none":
        return "rules: none installed"
    observed = ", commands are only observed" if rules.commands == "observe" else ""
    stopped = f", {len(rules.quarantined)} stopped" if rules.quarantined else ""
    ends = (f"{name} until {until}" if until else name for name, until in rules.disabled.items())
    stopped += f", disabled: {', '.join(ends)}" if rules.disabled else ""
    kept_in = sum(counts.get("dropped", 0) for counts in rules.gates.values())
    stopped += f", gates dropped {kept_in:,} events ({', '.join(sorted(rules.gates))})" if kept_in else ""
    return f"rules: {rules.loaded} {rules.state}{stopped}, {rules.fired:,} fired, {rules.behind:,} behind{observed}"


def _commands(now: Status) -> str:
    told = now.commands
    parts = [f"{told.sent:,} sent", f"{told.confirmed:,} confirmed", f"{told.failed:,} failed"]
    parts += [f"{told.waiting:,} waiting"] if told.waiting else []
    parts += [f"{told.awaited:,} not confirmed yet"] if told.awaited else []
    if told.observed or told.observing:
        parts.append(f"{told.observed:,} only observed ({', '.join(told.observing) or 'of single rules'})")
    calls = told.calls_answered + told.calls_failed + told.calls_waiting
    services = f"; web services: {told.calls_answered:,} of {calls:,} calls answered" if calls else ""
    look = ". Type: edge-gateway events --type command_failed" if told.failed else ""
    return f"commands: {', '.join(parts)}{services}{look}"


def _disk(now: Status) -> str:
    disk = now.disk
    free = f", {size(disk.free_bytes)} free" if disk.free_bytes is not None else ""
    used = f"{size(disk.used_bytes)} of {size(disk.budget_bytes)}"
    written = f", {size(disk.written_bytes)} written in {disk.commits:,} commits" if disk.commits else ""
    checked = f", {size(disk.read_back_bytes)} read back" if disk.direct else ", not read back (no direct reads here)"
    return f"disk: {disk.state}, {used} in {disk.folder}{free}{written}{checked}"


def _colour(row: list[Any]) -> Colour | None:
    if {"stopped", "down", "refused"} & set(map(str, row)):
        return "red"
    return "yellow" if {"retrying", "connecting", "starting"} & set(map(str, row)) else None


def _error(route: RouteStatus) -> str | None:
    """Return what is wrong with a route; of one that is up what was, and when."""
    old = route.state == "up" and route.last_error_at
    return f"at {route.last_error_at}: {route.last_error}" if old else route.last_error


def _qos(counts: dict[str, int]) -> str:
    return "/".join(str(counts.get(qos, 0)) for qos in "012") if counts else ""


def _size(number: int | None) -> str:
    return "" if number is None else size(number)


def _hours(hours: float | None) -> str:
    return "" if hours is None else duration(hours * 3600)
