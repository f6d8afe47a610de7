"""What `status` says: frozen types that the daemon fills in, and the one sentence made of them.

The JSON form (`edge-gateway status --json`) is these types as they are. Times are RFC 3339 in UTC;
bytes, seconds and hours are in the field's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from gateway.api.applied import Applied
from gateway.api.vitals import Vitals
from gateway.codes import config
from gateway.codes.clock import CLOCK_BEHIND, CLOCK_UNSYNCED, OTHER_MACHINE
from gateway.codes.code import Code
from gateway.codes.disk import BLOCKS_MENDED, DEAD_LETTERS, DISK_REFUSES, JOURNAL_FULL, RECORDS_DAMAGED
from gateway.codes.rules import ALERTS_RAISED, RULE_FILE_FAULT, RULE_STOPPED, WALLS_ARE_THIN, WORKER_ENDED
from gateway.codes.service import APPLY_CLOUD, APPLY_START
from gateway.codes.sources import NOT_LISTENING, PORT_GONE, SOURCE_DOWN, SOURCE_PAUSED, SOURCE_REFUSED, UNKNOWN_DEVICES
from gateway.codes.targets import NOT_TOLD, ROUTE_DOWN, ROUTE_REFUSED
from gateway.rules.walls.enforced import Enforced

Level = Literal["ok", "warning", "bad"]


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One way in."""

    name: str
    kind: str  # mqtt | listener | http | serial
    state: Literal["connected", "connecting", "listening", "stopped"]
    where: str = ""  # broker, address or port, without credentials
    since: str | None = None  # in this state
    received: int = 0  # deliveries since start
    rejected: int = 0  # of these: could not be decoded, dead-lettered
    unclaimed: int = 0  # of these: no profile reads them; not kept
    duplicates: int = 0  # redeliveries dropped as surely in the journal
    qos: dict[str, int] = {}  # deliveries by QoS: {"0": 12, "1": 3400}
    clients: int | None = None  # devices connected to a listener
    paused: bool = False  # backpressure: reading from devices has stopped
    last_error: str | None = None
    detail: dict[str, Any] = {}  # what only this kind of source knows


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in one lane of the journal for its slowest route."""

    name: str
    queued: int = 0  # events not yet delivered by every route that reads this lane
    queued_bytes: int | None = None
    oldest: str | None = None  # time of the oldest queued event
    hours_left: float | None = None  # until the lane's limit at today's rate; None: unknown or not filling
    dropped: int = 0  # given up undelivered since the journal was made, by the consumer that lost most


class RouteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One way out."""

    name: str
    target: str
    kind: str  # mqtt | http
    state: Literal["up", "retrying", "down", "refused", "starting"]  # refused: credentials, permission, no such place
    where: str = ""  # endpoint, without credentials
    since: str | None = None  # in this state
    delivered: int = 0  # events since start
    backlog: int = 0  # events that wait for this route
    in_flight: int = 0
    retries: int = 0
    dead_lettered: int = 0
    last_error: str | None = None  # what is wrong; of a route that is up again: what was, for an hour
    last_error_at: str | None = None


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was stopped."""

    name: str
    reason: str
    since: str | None = None


class RuleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The rule worker."""

    state: Literal["running", "starting", "stopped", "none"] = "none"  # none: no rule is installed
    loaded: int = 0
    fired: int = 0  # rule calls that had an outcome, since start
    behind: int = 0  # events appended and not yet judged
    quarantined: list[Quarantined] = []
    commands: Literal["observe", "run"] = "observe"
    faults: list[str] = []  # of files on the disk that are not what runs, with what runs instead
    disabled: dict[str, str | None] = {}  # rules a person has disabled, and until when
    versions: dict[str, str] = {}  # file -> the version that runs
    edits: int = 0  # changes that went live since start
    gates: dict[str, dict[str, int]] = {}  # gate -> events held, dropped, changed, decided by time, in all
    held: int = 0  # events that wait for a gate now
    shut: dict[str, str] = {}  # closed gates whose file does not load: the file; what they are about stays here
    last_error: str | None = None
    enforced: Enforced = Enforced()  # what keeps rules in, and what only asks them to stay


class BlobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures of cameras and the like."""

    count: int = 0  # kept now
    bytes: int = 0
    bytes_max: int = 0
    evicted: int = 0  # made way since start
    failed: int = 0  # could not be kept since start
    last_error: str | None = None


class AlertStatus(msgspec.Struct, frozen=True):
    """Alerts."""

    raised: int = 0  # now
    unacknowledged: int = 0  # of these


class NotificationStatus(msgspec.Struct, frozen=True):
    """Notifications."""

    waiting: int = 0
    sent: int = 0  # since start
    failed: int = 0  # failed, expired or refused, since start
    errors: dict[str, str] = {}  # recipients that cannot be reached, and why


class CommandStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Commands to devices and calls to web services, since start."""

    sent: int = 0
    confirmed: int = 0  # of these: their device reported what follows
    failed: int = 0  # not sent in time, refused, or not confirmed
    waiting: int = 0  # for their source to come back
    awaited: int = 0  # sent, and not confirmed yet
    observed: int = 0  # recorded, not sent
    observing: list[str] = []  # "everything", ids of devices, or names of rules whose commands are only observed
    calls_answered: int = 0  # to web services
    calls_failed: int = 0
    calls_waiting: int = 0


class DeviceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Devices: those of devices.toml, and those that were heard."""

    installed: int = 0
    heard: int = 0
    not_adopted: int = 0  # heard, and not in devices.toml
    unknown: int = 0  # send what no profile reads
    file: str = "devices.toml"
    since: str | None = None  # when the file took effect that counts; None: at the start
    faults: list[str] = []  # why the file on the disk is not what counts


class ProfileStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Device profiles."""

    loaded: int = 0
    since: str | None = None  # when those took effect that count; None: at the start
    faults: list[str] = []  # why the files on the disk are not what counts
    waiting: list[str] = []  # profiles whose serial line or polls have changed: that counts from the next start


class DiskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's folder."""

    folder: str
    state: Literal["ok", "refused", "full"] = "ok"
    used_bytes: int = 0
    budget_bytes: int = 0
    free_bytes: int | None = None
    commits: int = 0
    written_bytes: int = 0
    read_back_bytes: int = 0  # of sealed segments, from the medium itself
    direct: bool = True  # whether the file system can be read past its cache; else nothing is read back
    mended_blocks: int = 0  # that were not on the medium as written, and were written again
    damaged_records: int = 0  # found at start, or since then when they were read; the rest is delivered
    last_error: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    gateway: str
    version: str
    pid: int
    started: str
    uptime_s: float
    clock_synced: bool = True
    log_id: str = ""
    epoch: int = 0
    sequence: int = 0  # greatest appended
    durable: int = 0  # greatest on the disk
    dead_letters: int = 0
    sources: list[SourceStatus] = []
    lanes: list[LaneStatus] = []
    routes: list[RouteStatus] = []
    rules: RuleStatus = RuleStatus()
    commands: CommandStatus = CommandStatus()
    alerts: AlertStatus = AlertStatus()
    notifications: NotificationStatus = NotificationStatus()
    devices: DeviceStatus = DeviceStatus()
    profiles: ProfileStatus = ProfileStatus()
    disk: DiskStatus
    blobs: BlobStatus = BlobStatus()
    vitals: Vitals | None = None
    left_out: list[str] = []  # parts of the config that do not run, each with its fault
    warnings: list[str] = []  # faults of the config that do not stop the gateway
    applied: Applied = Applied()
    unread: list[str] = []  # files of the installation that were changed since the start, and need a restart


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
        ways = f"{_count(sources, 'source')} in, {_count(len(status.routes), 'route')} out"
        return "ok", f"All is well: {ways}, {_waiting(status)}."
    worst = found[0]
    more = f" (and {_count(len(found) - 1, 'more finding')})" if len(found) > 1 else ""
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
        text = f"{_count(disk.mended_blocks, 'block')} of the journal had to be written again: the card loses data"
        yield Finding("warning", text, "edge-gateway journal verify", BLOCKS_MENDED)
    if disk.damaged_records:
        text = f"{_count(disk.damaged_records, 'damaged record')} of the journal set aside"
        yield Finding("warning", text, "edge-gateway journal verify", RECORDS_DAMAGED)


def _routes(status: Status) -> Iterator[Finding]:
    if not status.routes:
        text = f"No target is configured: events stay in the journal, {_waiting(status)}"
        yield Finding("warning", text, "edge-gateway check", config.NO_TARGET)
    for route in status.routes:
        if route.state in ("down", "refused", "retrying"):
            why = f": {route.last_error}" if route.last_error else ""
            since = f" since {route.since}" if route.since else ""
            kept = f"{_count(route.backlog, 'event')} kept on disk"
            text = f"Route {route.name} to {route.target} is {route.state}{since}{why}; {kept}"
            command = "edge-gateway check" if route.state == "refused" else "journalctl -u edge-gateway -n 50"
            code = ROUTE_REFUSED if route.state == "refused" else ROUTE_DOWN
            yield Finding("warning" if route.state == "retrying" else "bad", text, command, code)


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
            code = {"serial": PORT_GONE, "bus": PORT_GONE, "listener": NOT_LISTENING, "http": NOT_LISTENING}.get(
                source.kind
            )
            code = code or (SOURCE_REFUSED if ours else SOURCE_DOWN)
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
        text = f"{_count(len(rules.faults), 'fault')} in rule files, first: {first}"
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
        more = f" (and {_count(len(devices.faults) - 1, 'more fault')})" if len(devices.faults) > 1 else ""
        since = f" of {devices.since}" if devices.since else " as they were at the start"
        text = f"{devices.faults[0]}{more}; the devices{since} count"
        yield Finding("bad", text, "edge-gateway check", config.DEVICES_FAULT)
    profiles = status.profiles
    if profiles.faults:
        more = f" (and {_count(len(profiles.faults) - 1, 'more fault')})" if len(profiles.faults) > 1 else ""
        since = f" of {profiles.since}" if profiles.since else " as they were at the start"
        text = f"{profiles.faults[0]}{more}; the profiles{since} count"
        yield Finding("bad", text, "edge-gateway check", config.PROFILE_FAULT)
    if profiles.waiting:
        text = f"The serial line of {', '.join(profiles.waiting)} has changed: that counts from the next start"
        yield Finding("warning", text, None, config.PROFILE_WAITS)
    if devices.unknown:
        text = f"{_count(devices.unknown, 'device')} that no profile reads"
        yield Finding("warning", text, "edge-gateway devices list --unknown", UNKNOWN_DEVICES)


def _alerts(status: Status) -> Iterator[Finding]:
    alerts = status.alerts
    if alerts.raised:
        text = f"{_count(alerts.raised, 'alert')} raised, {alerts.unacknowledged} unacknowledged"
        yield Finding("warning", text, "edge-gateway alerts list", ALERTS_RAISED)
    for name, why in status.notifications.errors.items():
        yield Finding("warning", f"{name} cannot be told: {why}", "edge-gateway notifications list", NOT_TOLD)


def _rest(status: Status) -> Iterator[Finding]:
    if status.dead_letters:
        text = f"{_count(status.dead_letters, 'dead letter')} to look at"
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
    if status.unread:
        more = f" and {len(status.unread) - 1} more" if len(status.unread) > 1 else ""
        text = f"{status.unread[0]}{more} changed since the start: the gateway goes by it after a restart"
        yield Finding("warning", text, "sudo systemctl restart edge-gateway", config.CONFIG_UNREAD)
    for warning in status.warnings:
        if not status.routes and "no target" in warning:
            continue  # said above, with what waits
        yield Finding("warning", warning, "edge-gateway check", config.CONFIG_DOUBTFUL)


def _waiting(status: Status) -> str:
    queued = sum(lane.queued for lane in status.lanes)
    return f"{_count(queued, 'event')} waiting" if queued else "nothing waiting"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
