"""`gateway_heartbeat`: what `status` says, in one small event that leaves for the cloud, at start and every N minutes.

Its data, with units in the names; what is not known is left out::

    reason              "start" or "regular"
    version, identity, identity_state, clock ("synced", "unsynced", "behind"), level ("ok", "warning", "bad")
    uptime_s, boot_s    of the gateway, of the machine
    config, rules, profiles   hashes of what runs (and others by their name)
    queued, dropped     events by lane; hours_left until the journal's budget is full at this rate, while nothing leaves
    dead_letters, alerts, unacknowledged   counts
    sources, routes     state by name
    quarantined         names of rules that were stopped
    memory_bytes, disk_used_bytes, disk_budget_bytes, disk_free_bytes, disk_written_per_day_bytes
    card_life_used_percent    where the card says so
    certificate_days    by source or target: of what ends first
    codes               fault codes that are present now
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.api.findings import findings, headline
from gateway.api.status import Status
from gateway.clock import Clock, rfc3339
from gateway.codes.service import GATEWAY_FAULT
from gateway.event import Event
from gateway.logs.about import about

log = logging.getLogger(__name__)

TYPE: Final = "gateway_heartbeat"
FIRST_S: Final = 5.0  # after the start: sources and routes have had a try
NAMES_MAX: Final = 50  # of one kind


class Heartbeat:
    """Records one event now and then."""

    def __init__(
        self,
        status: Callable[[], Awaitable[Status]],
        record: Callable[[Event], None],
        clock: Clock,
        *,
        gateway: str,
        every_s: Callable[[], float],
    ) -> None:
        """`every_s` is asked before each wait; 0: never."""
        self._status = status
        self._record = record
        self._clock = clock
        self._gateway = gateway
        self._every_s = every_s

    async def run(self) -> None:
        """Record one soon after the start, then regularly, until cancelled. The pause goes by the monotonic clock."""
        await asyncio.sleep(FIRST_S)
        reason = "start"
        while True:
            every_s = self._every_s()
            if every_s > 0:
                try:
                    await self.beat(reason)
                    reason = "regular"
                except Exception:  # whatever a status cannot be made of: the path of events does not end for it
                    log.exception("no heartbeat: a fault of the gateway", extra=about(GATEWAY_FAULT))
            await asyncio.sleep(every_s or 60.0)

    async def beat(self, reason: str) -> None:
        """Record one now."""
        status = await self._status()
        self._record(
            Event(
                source=f"/{self._gateway}/gateway",
                type=TYPE,
                time=rfc3339(self._clock.wall_ns()),
                actor="gateway",
                data=heartbeat_of(status, reason),
            )
        )


def heartbeat_of(status: Status, reason: str) -> dict[str, Any]:
    """Return the data of a heartbeat: what a status says, in short."""
    vitals, disk = status.vitals, status.disk
    hours = [lane.hours_left for lane in status.lanes if lane.hours_left is not None]
    days: dict[str, float] = {}
    for each in vitals.certificates if vitals else ():
        days[each.of] = min(each.days_left, days.get(each.of, each.days_left))
    found: dict[str, Any] = {
        "reason": reason,
        "version": status.version,
        "level": headline(status)[0],
        "uptime_s": round(status.uptime_s),
        "queued": {lane.name: lane.queued for lane in status.lanes},
        "dropped": {lane.name: lane.dropped for lane in status.lanes if lane.dropped},
        "hours_left": round(min(hours), 1) if hours else None,
        "dead_letters": status.dead_letters,
        "alerts": status.alerts.raised,
        "unacknowledged": status.alerts.unacknowledged,
        "sources": {each.name: each.state for each in status.sources[:NAMES_MAX]},
        "routes": {each.name: each.state for each in status.routes[:NAMES_MAX]},
        "quarantined": [rule.name for rule in status.rules.quarantined[:NAMES_MAX]],
        "disk_used_bytes": disk.used_bytes,
        "disk_budget_bytes": disk.budget_bytes,
        "disk_free_bytes": disk.free_bytes,
        "certificate_days": days,
        "codes": sorted({str(each.code) for each in findings(status) if each.code}),
    }
    if vitals is not None:
        found |= {
            **vitals.hashes,
            "identity": vitals.identity,
            "identity_state": vitals.identity_state,
            "clock": vitals.clock.state,
            "boot_s": round(vitals.clock.boot_s),
            "memory_bytes": vitals.memory_bytes,
            "disk_written_per_day_bytes": vitals.written_per_day_bytes,
            "card_life_used_percent": vitals.card_life_used_percent,
        }
    return {name: value for name, value in found.items() if value is not None}
