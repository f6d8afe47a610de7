"""What a running gateway answers on its local API: how it is, its records, and what a person asks of it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gateway import __version__
from gateway.api import events as api_events
from gateway.api import lanes
from gateway.api.acting import People
from gateway.api.alerts import Alerts
from gateway.api.dead_letters import open_letters
from gateway.api.notifications import Notifications
from gateway.api.rule_files import RuleFiles
from gateway.api.rules import RuleAnswers
from gateway.api.shadow import ShadowAnswers
from gateway.api.status import (
    AlertStatus,
    BlobStatus,
    DeviceStatus,
    DiskStatus,
    LaneStatus,
    NotificationStatus,
    ProfileStatus,
    Quarantined,
    RouteStatus,
    RuleStatus,
    SourceStatus,
    Status,
)
from gateway.clock import NS_PER_S, wall_ns_of
from gateway.config.changes import Changes
from gateway.event import LANES, ROUTED, Lane, LaneName
from gateway.forward.drops import dropped
from gateway.forward.forwarder import ForwarderStatus
from gateway.installation.raw import Raw, secrets_in
from gateway.journal.committer import State as DiskState
from gateway.journal.options import RESERVE_SEGMENTS
from gateway.profiles.report import only_a_bridge
from gateway.rules.files.edits import version

if TYPE_CHECKING:
    from gateway.daemon import Daemon

_ROUTE_STATES: Mapping[str, Literal["up", "retrying", "down", "refused", "starting"]] = {
    "starting": "starting",
    "sending": "up",
    "idle": "up",
    "waiting": "down",
    "refused": "refused",
    "backing off": "retrying",
}

_DELIVERING = ("sending", "idle")
ERROR_KEPT_S = 3600.0  # how long a route that is up again still shows its last error


class Answers:
    """The answers, by what is asked."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._journal = daemon.journal
        self.changes = Changes(daemon.config)
        self.raw = Raw(daemon.decoders, daemon.sources, daemon.values, self._secrets)
        self.renew()

    def renew(self) -> None:
        """Go by the config that counts now."""
        daemon = self._daemon
        self.alerts = Alerts(
            daemon.journal.table, daemon.pipeline.record, daemon.clock,
            gateway=daemon.name, members=daemon.config.notify.members, outbox=daemon.notifier.outbox,
        )  # fmt: skip
        self.people = People(daemon)
        self.notifications = Notifications(
            daemon.notifier, daemon.config.notify, daemon.past, daemon.clock, gateway=daemon.name
        )

    def all(self) -> dict[str, Callable[..., Any]]:
        """Return every answer of the API."""
        daemon = self._daemon
        found: dict[str, Callable[..., Any]] = {
            "status": self.status,
            "events": api_events.answer(daemon.past),
            "table": self.table,
            "record": self.record,
            "answered": self.answered,
            **RuleFiles(daemon.rules, daemon.clock).all(),
            **RuleAnswers(lambda: daemon.rules, daemon.past, daemon.clock).all(),
            **self._shadow().all(),
            **self.people.all(),
            "devices_expect": daemon.installation.expect,
            "devices_settled": daemon.installation.settled,
            "devices_forget": daemon.installation.forget,
            "devices_unknown": daemon.installation.strangers,
            "devices_described": lambda device: daemon.announcements.left_out(device, daemon.decoders),
            "raw": self.raw.follow,
            "alerts": self.alerts.listed,
            "alerts_acknowledge": self.alerts.acknowledge,
            "notifications": self.notifications.listed,
            "notify": self.notifications.notify,
            "dead_letters_retry": daemon.dead_letters.retry,
            "dead_letters_drop": daemon.dead_letters.drop,
            "replay_start": daemon.replays.start,
            "replay_found": daemon.replays.found,
            "replay_list": daemon.replays.listed,
            "replay_stop": daemon.replays.stop,
            "identity": daemon.belonging.said,
            "identity_adopt": self.identity_adopt,
            "flush": self.flush,
            **daemon.trying.all(),
            "reload": daemon.reload.ask,
            "config_diff": daemon.reload.differences,
        }
        return daemon.audit.answers(found)

    def _secrets(self) -> Iterator[str]:
        config = self._daemon.config
        for options in (config.sources, config.targets, config.http, config.notify.recipients, config.journal):
            yield from secrets_in(options)

    def _shadow(self) -> ShadowAnswers:
        daemon, journal = self._daemon, self._journal
        return ShadowAnswers(
            daemon.past, daemon.clock, log_id=journal.log_id, table=self.table, last=lambda: journal.last_sequence,
            seen=lambda: daemon.rules.seen,
        )  # fmt: skip

    # ---- how it is -----------------------------------------------------------------------------------

    async def status(self) -> Status:
        """Say how everything is, in the form of gateway.api.status."""
        daemon, journal = self._daemon, self._journal
        routes = [each.status() for each in daemon.forwarders]
        waiting = [await asyncio.to_thread(lanes.waiting, journal, lane, self._over(lane, routes)) for lane in ROUTED]
        return Status(
            gateway=daemon.name,
            version=__version__,
            pid=os.getpid(),
            started=daemon.started,
            uptime_s=daemon.vitals.uptime_s,
            clock_synced=daemon.clock_watch.state.synced,
            log_id=journal.log_id,
            epoch=journal.epoch,
            sequence=journal.last_sequence,
            durable=journal.durable_sequence,
            dead_letters=open_letters(journal),
            sources=[self._source(name) for name in daemon.sources],
            lanes=[self._lane(lane, routes, waiting[: i + 1]) for i, lane in enumerate(ROUTED)],
            routes=[self._route(each) for each in routes],
            rules=self._rules(),
            commands=self.people.commands(),
            alerts=AlertStatus(*self.alerts.counts),
            notifications=self._notifications(),
            disk=self._disk(),
            blobs=BlobStatus(**daemon.blobs.status()),
            left_out=[str(part) for part in daemon.config.left_out],
            warnings=[str(fault) for fault in daemon.config.warnings],
            devices=self._devices(),
            profiles=self._profiles(),
            vitals=await asyncio.to_thread(daemon.vitals.now()),
            applied=daemon.trying.status(),
            since=daemon.reload.since or None,
            reload_faults=daemon.reload.faults,
            unread=await asyncio.to_thread(self.changes.since_read),
        )

    def _source(self, name: str) -> SourceStatus:
        said: dict[str, Any] = dict(self._daemon.sources[name].status())
        said |= self._daemon.announcements.status(name)
        listens = "listening" in said
        kind = said.pop("kind", "listener" if listens else "mqtt")
        up = bool(said.pop("listening", False) or (not listens and said.get("connected")))
        error = said.pop("last_error", None)
        return SourceStatus(
            name=name,
            kind=kind,
            state=("listening" if listens else "connected") if up else "connecting",
            where=str(said.pop("address", "") or said.pop("url", "")),
            since=said.pop("since", None),
            received=int(said.pop("received", 0)),
            rejected=self._daemon.pipeline.rejected[name],
            unclaimed=self._daemon.pipeline.unclaimed[name],
            duplicates=int(said.pop("duplicates", 0)),
            qos={str(qos): count for qos, count in enumerate(self._daemon.pipeline.qos[name]) if count},
            clients=int(said.pop("connected")) if listens else None,
            paused=self._daemon.pipeline.paused,
            last_error=str(error) if error else None,
            detail=said,
        )

    def _over(self, lane: Lane, routes: Sequence[ForwarderStatus]) -> int:
        """Return the sequence up to which no route waits for anything of a lane; without routes all of it waits."""
        name = lane.name.lower()
        nobody = self._journal.durable_sequence if routes else 0
        return min((each.over_through[name] for each in routes if name in each.over_through), default=nobody)

    def _lane(self, lane: Lane, routes: list[ForwarderStatus], waiting: list[lanes.Waiting]) -> LaneStatus:
        """Say how a lane is. `waiting`: what waits in it, and before it in those that it makes way for."""
        name, oldest = lane.name.lower(), waiting[-1].oldest
        queued = max((each.backlog.get(name, 0) for each in routes), default=self._journal.count(lane, 0))
        left = None
        if oldest is not None and not all(each.state in _DELIVERING for each in routes):
            usage = self._journal.usage()
            room = usage["bytes_max"] - RESERVE_SEGMENTS * usage["segment_bytes"]
            age_s = (self._daemon.clock.wall_ns() - wall_ns_of(oldest)) / NS_PER_S
            left = lanes.hours_left(room, [each.bytes for each in waiting], age_s)
        return LaneStatus(
            name=name,
            queued=queued,
            queued_bytes=waiting[-1].bytes,
            oldest=oldest,
            hours_left=left,
            dropped=dropped(self._journal, name),
        )

    def _route(self, said: ForwarderStatus) -> RouteStatus:
        where = self._daemon.targets[said.target].status()
        error, at = said.last_error, said.last_error_at
        if said.state in _DELIVERING:
            passed_s = (self._daemon.clock.wall_ns() - wall_ns_of(at)) / NS_PER_S if at else 0.0
            error, at = (error, at) if passed_s < ERROR_KEPT_S else (None, None)
        elif where.get("last_error") and (error is None or said.state == "waiting"):
            error, at = str(where["last_error"]), None  # the target knows better why it is away
        return RouteStatus(
            name=said.name,
            target=said.target,
            kind=type(self._daemon.targets[said.target]).__module__.rpartition(".")[2],
            state=_ROUTE_STATES[said.state],
            where=str(where.get("url", "") or where.get("where", "")),
            since=said.since,
            delivered=said.delivered,
            backlog=sum(said.backlog.values()),
            in_flight=said.in_flight,
            retries=said.retried,
            dead_lettered=said.rejected,
            last_error=error,
            last_error_at=at,
        )

    def _rules(self) -> RuleStatus:
        worker = self._daemon.rules
        said: Any = worker.status()
        return RuleStatus(
            state=said["state"] if said["state"] in ("running", "stopped", "none") else "starting",
            loaded=said["rules"],
            fired=said["fired"],
            behind=said["backlog"],
            quarantined=[Quarantined(name=name, reason=why) for name, why in worker.quarantined()],
            commands=self._daemon.config.gateway.commands,
            faults=said["faults"],
            disabled=worker.disabled(),
            versions={name: version(source) for name, source in worker.edits.running.items()},
            edits=worker.edits.edits,
            gates=self._daemon.gates.report(),
            held=self._daemon.gates.waiting,
            shut={gate.name: gate.file for gate in self._daemon.gates.lost},
            enforced=worker.diary.enforced,
        )

    def _devices(self) -> DeviceStatus:
        installation, values = self._daemon.installation, self._daemon.values
        installed = installation.devices
        return DeviceStatus(
            installed=len(installed),
            heard=len(values),
            not_adopted=sum(
                installed.get(device) is None and not only_a_bridge(known) for device, known in values.items()
            ),
            unknown=len(installation.unknown),
            file=installation.file.name,
            since=installation.since or None,
            faults=installation.faults,
        )

    def _profiles(self) -> ProfileStatus:
        files = self._daemon.profiles
        loaded = len(self._daemon.catalogue.profiles)
        return ProfileStatus(loaded=loaded, since=files.since or None, faults=files.faults, waiting=files.waiting)

    def _notifications(self) -> NotificationStatus:
        notifier = self._daemon.notifier
        waiting = len(notifier.outbox.waiting)
        return NotificationStatus(waiting, notifier.sent, notifier.failed, dict(notifier.errors))

    def _disk(self) -> DiskStatus:
        daemon, usage = self._daemon, self._journal.usage()
        committer = daemon.committer
        return DiskStatus(
            folder=str(daemon.config.places.journal),
            state="ok" if committer.state is DiskState.OK else "refused",
            used_bytes=usage["segments_live"] * usage["segment_bytes"],
            budget_bytes=usage["bytes_max"],
            free_bytes=_free_bytes(daemon.config.places.journal),
            commits=committer.commits,
            written_bytes=usage["written_bytes"],
            read_back_bytes=usage["read_back_bytes"],
            direct=bool(usage["direct"]),
            mended_blocks=usage["mended_blocks"],
            damaged_records=daemon.damaged_records,
            last_error=committer.reason or None,
        )

    # ---- records -------------------------------------------------------------------------------------

    def table(self, name: str) -> dict[str, Any]:
        """Return a durable table: values, cursors, dead_letters ..."""
        return dict(self._daemon.values if name == "values" else self._journal.table(name))

    async def record(self, sequence: int) -> dict[str, Any] | None:
        """Return ``{event, written, moment}`` (see Past): the record with a number; None when it is not there."""
        past = self._daemon.past
        found = await asyncio.to_thread(past.at, sequence)
        if found is None:
            return None
        return {"event": msgspec.Raw(found[0]), "written": found[1], "moment": past.moment(sequence, found[0])}

    async def identity_adopt(self, how: Literal["replace", "copy"], actor: str = "person") -> Mapping[str, object]:
        """Decide who this gateway is: the one that was in the other machine, or another one from its next start on."""
        daemon = self._daemon
        daemon.belonging.adopt(how, actor, self._journal, daemon.pipeline.record, daemon.name)
        await daemon.committer.flush()
        return daemon.belonging.said()

    def answered(self, lane: LaneName, sequence: int) -> dict[str, dict[str, str]]:
        """Return when routes sent an event and their targets acknowledged it, as far as it is remembered."""
        asked = ((each.name, each.answered.of(int(LANES[lane]), sequence)) for each in self._daemon.forwarders)
        return {name: said for name, said in asked if said}

    async def flush(self) -> bool:
        """Return when everything that was received is on the disk."""
        await self._daemon.committer.flush()
        return True


def _free_bytes(folder: Path) -> int | None:
    """Return what the file system of a folder has left; None when it is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
