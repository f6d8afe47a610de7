"""What `status` says: frozen types that the daemon fills in; what it means is in findings.py.

The JSON form (`edge-gateway status --json`) is these types as they are. Times are RFC 3339 in UTC;
bytes, seconds and hours are in the field's name.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.api.applied import Applied
from gateway.api.vitals import Vitals
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
    waiting: list[str] = []  # profiles whose serial line or polls have changed: that counts from the next reload


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
    since: str | None = None  # when a reload put this config into force; None: the start did
    reload_faults: list[str] = []  # why the last reload changed nothing
    unread: list[str] = []  # files of the installation that were changed since they were read
