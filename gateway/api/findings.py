"""What a status means: each thing a person should know, what to type about it, and the one sentence made of them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.api.status import Level, Status
from gateway.codes import config
from gateway.codes.clock import CLIENT_ID_TAKEN, CLOCK_BEHIND, CLOCK_UNSYNCED, OTHER_MACHINE
from gateway.codes.code import Code
from gateway.codes.disk import BLOCKS_MENDED, DEAD_LETTERS, DISK_REFUSES, JOURNAL_FULL, RECORDS_DAMAGED
from gateway.codes.rules import ALERTS_RAISED, RULE_FILE_FAULT, RULE_STOPPED, WALLS_ARE_THIN, WORKER_ENDED
from gateway.codes.service import APPLY_CLOUD, APPLY_START, RELOAD_REFUSED
from gateway.codes.sources import NOT_LISTENING, PORT_GONE, SOURCE_DOWN, SOURCE_PAUSED, SOURCE_REFUSED, UNKNOWN_DEVICES
from gateway.codes.targets import NOT_TOLD, ROUTE_DOWN, ROUTE_REFUSED
from gateway.quantity import counted


class Finding(msgspec.Struct, frozen=True):
    """One thing a person should know, which kind of fault it is, and what to type about it."""

    level: Level
    text: str
    command: str | None = None
    code: Code | None = None

    @property
    def said(self) -> str:
        """Return the text with its code behind it."""
        return f"{self.text} [{self.code}]" if self.code else self.text


def findings(status: Status) -> list[Finding]:
    """Judge a status: what is wrong, the worst first; empty when all is well."""
    found = [
        *_left_out(status),
        *_disk(status),
        *_routes(status),
        *_sources(status),
        *_rules(status),
        *_devices(status),
    ]
    found += [*_alerts(status), *_rest(status)]
    return sorted(found, key=lambda finding: finding.level != "bad")


def headline(status: Status) -> tuple[Level, str]:
    """Return the level and the one sentence: overall state, cause, what to type."""
    found = findings(status)
    if not found:
        sources = sum(source.state in ("connected", "listening") for source in status.sources)
        ways = f"{counted(sources, 'source')} in, {counted(len(status.routes), 'route')} out"
        return "ok", f"All is well: {ways}, {_waiting(status)}."
    worst = found[0]
    more = f" (and {counted(len(found) - 1, 'more finding')})" if len(found) > 1 else ""
    type_this = f" Type: {worst.command}" if worst.command else ""
    return worst.level, f"{worst.said}{more}.{type_this}"


def _left_out(status: Status) -> Iterator[Finding]:
    for part in status.left_out:
        yield Finding("bad", f"Left out: {part}", "edge-gateway check", config.PART_LEFT_OUT)


def _disk(status: Status) -> Iterator[Finding]:
    disk = status.disk
    if disk.state == "refused":
        why = f": {disk.last_error}" if disk.last_error else ""
        text = f"The disk refuses writes{why}; nothing is acknowledged until it takes them"
        yield Finding("bad", text, f"df -h {disk.folder}; dmesg | tail", DISK_REFUSES)
    elif disk.state == "full":
        yield Finding(
            "bad",
            "The journal is at its byte limit: the oldest telemetry is being evicted",
            "edge-gateway journal stat",
            JOURNAL_FULL,
        )
    if disk.mended_blocks:
        text = f"{counted(disk.mended_blocks, 'block')} of the journal had to be written again: the card loses data"
        yield Finding("warning", text, "edge-gateway journal verify", BLOCKS_MENDED)
    if disk.damaged_records:
        text = f"{counted(disk.damaged_records, 'damaged record')} of the journal set aside"
        yield Finding("warning", text, "edge-gateway journal verify", RECORDS_DAMAGED)


def _routes(status: Status) -> Iterator[Finding]:
    if not status.routes:
        text = f"No target is configured: events stay in the journal, {_waiting(status)}"
        yield Finding("warning", text, "edge-gateway check", config.NO_TARGET)
    for route in status.routes:
        if route.state in ("down", "refused", "retrying"):
            why = f": {route.last_error}" if route.last_error else ""
            since = f" since {route.since}" if route.since else ""
            kept = f"{counted(route.backlog, 'event')} kept on disk"
            text = f"Route {route.name} to {route.target} is {route.state}{since}{why}; {kept}"
            command = "edge-gateway check" if route.state == "refused" else "journalctl -u edge-gateway -n 50"
            code = ROUTE_REFUSED if route.state == "refused" else ROUTE_DOWN
            command, code = _pushed_off(why) or (command, code)
            yield Finding("warning" if route.state == "retrying" else "bad", text, command, code)


def _pushed_off(why: str) -> tuple[str, Code] | None:
    """Return what to type when somebody else has connected with the gateway's client id, and the code."""
    return (CLIENT_ID_TAKEN.type, CLIENT_ID_TAKEN) if CLIENT_ID_TAKEN.title in why else None


_OF_KIND = {"serial": PORT_GONE, "bus": PORT_GONE, "listener": NOT_LISTENING, "http": NOT_LISTENING}


def _sources(status: Status) -> Iterator[Finding]:
    for source in status.sources:
        if source.state in ("connecting", "stopped"):
            why = f": {source.last_error}" if source.last_error else ""
            word = "is not connected" if source.state == "connecting" else "has stopped"
            where = f" ({source.where})" if source.where else ""
            ours = any(each in why for each in ("credentials", "refused: "))  # the broker's no is about our config
            command = "edge-gateway check" if ours else "journalctl -u edge-gateway -n 50"
            if source.kind == "serial":
                command = "edge-gateway serial list"
            code = _OF_KIND.get(source.kind) or (SOURCE_REFUSED if ours else SOURCE_DOWN)
            command, code = _pushed_off(why) or (command, code)
            yield Finding("bad", f"Source {source.name}{where} {word}{why}", command, code)
        elif source.paused:
            text = f"Source {source.name} is paused: the disk does not keep up, devices wait"
            yield Finding("warning", text, "edge-gateway journal stat", SOURCE_PAUSED)


def _rules(status: Status) -> Iterator[Finding]:
    rules = status.rules
    for rule in rules.quarantined:
        text = f"Rule {rule.name} is stopped: {rule.reason}"
        yield Finding("bad", text, "edge-gateway rules list", RULE_STOPPED)
    for gate, file in rules.shut.items():
        text = f"Gate {gate} stays closed while {file} does not load: what it is about is dropped"
        yield Finding("bad", text, "edge-gateway rules list", RULE_FILE_FAULT)
    if rules.faults:
        first = rules.faults[0]
        text = f"{counted(len(rules.faults), 'fault')} in rule files, first: {first}"
        yield Finding("bad", text, "edge-gateway rules list", RULE_FILE_FAULT)
    if rules.enforced.by and not (rules.enforced.landlock or rules.enforced.seccomp):
        text = f"Nothing but an audit hook keeps rules in: {'; '.join(rules.enforced.missing)}"
        yield Finding("warning", text, "edge-gateway rules list --json", WALLS_ARE_THIN)
    if rules.state == "stopped":
        why = f": {rules.last_error}" if rules.last_error else ""
        yield Finding("bad", f"The rule worker is not running{why}", "edge-gateway rules test", WORKER_ENDED)


def _devices(status: Status) -> Iterator[Finding]:
    devices = status.devices
    if devices.faults:
        more = f" (and {counted(len(devices.faults) - 1, 'more fault')})" if len(devices.faults) > 1 else ""
        since = f" of {devices.since}" if devices.since else " as they were at the start"
        text = f"{devices.faults[0]}{more}; the devices{since} count"
        yield Finding("bad", text, "edge-gateway check", config.DEVICES_FAULT)
    profiles = status.profiles
    if profiles.faults:
        more = f" (and {counted(len(profiles.faults) - 1, 'more fault')})" if len(profiles.faults) > 1 else ""
        since = f" of {profiles.since}" if profiles.since else " as they were at the start"
        text = f"{profiles.faults[0]}{more}; the profiles{since} count"
        yield Finding("bad", text, "edge-gateway check", config.PROFILE_FAULT)
    if profiles.waiting:
        text = f"The serial line of {', '.join(profiles.waiting)} has changed: that counts from the next reload"
        yield Finding("warning", text, "edge-gateway reload", config.PROFILE_WAITS)
    if devices.unknown:
        text = f"{counted(devices.unknown, 'device')} that no profile reads"
        yield Finding("warning", text, "edge-gateway devices list --unknown", UNKNOWN_DEVICES)


def _alerts(status: Status) -> Iterator[Finding]:
    alerts = status.alerts
    if alerts.raised:
        text = f"{counted(alerts.raised, 'alert')} raised, {alerts.unacknowledged} unacknowledged"
        yield Finding("warning", text, "edge-gateway alerts list", ALERTS_RAISED)
    for name, why in status.notifications.errors.items():
        yield Finding("warning", f"{name} cannot be told: {why}", "edge-gateway notifications list", NOT_TOLD)


def _rest(status: Status) -> Iterator[Finding]:
    if status.dead_letters:
        text = f"{counted(status.dead_letters, 'dead letter')} to look at"
        yield Finding("warning", text, "edge-gateway dead-letters list", DEAD_LETTERS)
    vitals = status.vitals
    if vitals is not None and vitals.identity_state in ("moved", "other"):
        text = f"This card belongs to another machine (since {vitals.identity_since}): a copy, or a replacement?"
        yield Finding("warning", text, "edge-gateway identity show", OTHER_MACHINE)
    if vitals is not None and vitals.clock.state == "behind":
        text = f"The clock is behind: it is after {vitals.clock.not_before}; times of events are mended when it is set"
        yield Finding("warning", text, "timedatectl", CLOCK_BEHIND)
    elif not status.clock_synced:
        text = "The clock is not synchronised: times of events are marked, rules wait for their hours"
        yield Finding("warning", text, "timedatectl", CLOCK_UNSYNCED)
    if status.applied.sentence:
        code = APPLY_CLOUD if status.applied.code == str(APPLY_CLOUD) else APPLY_START
        told = None if status.applied.trying else code
        yield Finding("warning", status.applied.sentence, "edge-gateway apply --status", told)
    for fault in status.reload_faults[:1]:
        more = f" (and {len(status.reload_faults) - 1} more)" if len(status.reload_faults) > 1 else ""
        text = f"The last reload changed nothing: {fault}{more}"
        yield Finding("warning", text, "edge-gateway check", RELOAD_REFUSED)
    if status.unread:
        more = f" and {len(status.unread) - 1} more" if len(status.unread) > 1 else ""
        text = f"{status.unread[0]}{more} changed since it was read: the gateway goes by it after a reload"
        yield Finding("warning", text, "edge-gateway reload", config.CONFIG_UNREAD)
    for warning in status.warnings:
        if not status.routes and "no target" in warning:
            continue  # said above, with what waits
        yield Finding("warning", warning, "edge-gateway check", config.CONFIG_DOUBTFUL)


def _waiting(status: Status) -> str:
    queued = sum(lane.queued for lane in status.lanes)
    return f"{counted(queued, 'event')} waiting" if queued else "nothing waiting"
