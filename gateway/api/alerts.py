"""What a running gateway says of its alerts, and a person's acknowledgement of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from gateway.api.line import ApiError
from gateway.clock import Clock, rfc3339
from gateway.errors import probably_meant
from gateway.event import Event
from gateway.notify.outbox import Outbox
from gateway.rules.engine.tables import ALERTS, TIMERS
from gateway.rules.records import ACKNOWLEDGE

ID_CHARS_MIN = 4  # of the part behind the log id, to name an alert by
SHORT_CHARS = 8
ANSWER_S = 5.0  # how long the rule worker is waited for
POLL_S = 0.05


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is raised now."""

    id: str  # the same in all its events
    short: str  # enough of it to type
    key: str
    text: str
    rule: str
    device: str = ""
    lane: str = "telemetry"
    since: str
    count: int = 1  # how often it was raised or repeated
    state: str = "raised"  # or acknowledged
    acknowledged_by: str | None = None
    acknowledged_at: str | None = None
    told: list[str] = []  # recipients and groups
    waiting: list[str] = []  # whom it has not reached yet, and why
    held: list[str] = []  # devices that escalation holds on
    next_at: str | None = None
    next_to: str | None = None  # whom escalation tells next, or which device it holds


class Alerts:
    """The table of alerts as people see it. Belongs to the event loop's thread."""

    def __init__(
        self,
        table: Callable[[str], Mapping[str, Any]],
        record: Callable[[Event], None],
        clock: Clock,
        *,
        gateway: str,
        members: Callable[[str], Collection[str] | None],
        outbox: Outbox,
    ) -> None:
        """Wire it up: `members` says who is in a group, `outbox` whom a message has not reached yet."""
        self._table = table
        self._record = record
        self._clock = clock
        self._gateway = gateway
        self._members = members
        self._outbox = outbox

    def listed(self) -> list[Alert]:
        """Return what is raised now, the newest last."""
        rows = sorted(self._table(ALERTS).values(), key=lambda row: (row["since"], row["key"]))
        return [self._alert(row) for row in rows]

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many are raised, and how many of these nobody has acknowledged."""
        rows = self._table(ALERTS).values()
        return len(rows), sum(not row.get("acknowledged") for row in rows)

    async def acknowledge(self, alert: str, actor: str = "person") -> list[Alert]:
        """Acknowledge the alerts with a key, or the one with an id or the beginning of its short form."""
        found = self._named(alert)
        for each in found:
            self._record(
                Event(
                    source=f"/{self._gateway}/api",
                    type=ACKNOWLEDGE,
                    time=rfc3339(self._clock.wall_ns()),
                    lane="timer",
                    actor=actor,
                    data={"alert": each.id or each.key},
                )
            )
        wanted = {each.id for each in found}
        for _ in range(round(ANSWER_S / POLL_S)):
            now = [each for each in self.listed() if each.id in wanted]
            if all(each.state == "acknowledged" for each in now):
                break
            await asyncio.sleep(POLL_S)
        still = {each.id: each for each in now}
        return [still.get(each.id, each) for each in found]

    def _named(self, name: str) -> list[Alert]:
        """Return the alerts that a person means. ApiError when there are none, or it could be several."""
        raised = self.listed()
        found = [each for each in raised if name in (each.key, each.id)]
        if not found and len(name) >= ID_CHARS_MIN:
            found = [each for each in raised if _tail(each.id).startswith(name)]
            if len(found) > 1:
                raise ApiError(f"{name!r} is the beginning of {len(found)} ids: write more of it")
        if not found:
            keys = sorted({each.key for each in raised})
            hint = probably_meant(name, keys) or (f"there are {', '.join(keys)}" if keys else "none is raised")
            raise ApiError(f"there is no alert {name!r}, {hint}")
        return found

    def _alert(self, row: Mapping[str, Any]) -> Alert:
        steps, step = row.get("steps", ()), row.get("step", 0)
        timer = self._table(TIMERS).get(row.get("step_timer") or "")
        seen = row.get("acknowledged") or {}
        return Alert(
            id=row.get("id", ""),
            short=_tail(row.get("id", ""))[:SHORT_CHARS],
            key=row["key"],
            text=row["text"],
            rule=row["rule"],
            device=row["device"],
            lane=row["lane"],
            since=rfc3339(row["since"]),
            count=row["count"],
            state="acknowledged" if seen else "raised",
            acknowledged_by=seen.get("by"),
            acknowledged_at=rfc3339(seen["at"]) if seen else None,
            told=[name if self._members(name) else f"{name} (nobody)" for name in row.get("told", ())],
            waiting=[
                f"{notice.to}: {self._outbox.wait(notice).why or notice.error or 'under way'}"
                for notice in self._outbox.waiting
                if notice.alert and notice.alert == row.get("id")
            ],
            held=list(row.get("held", ())),
            next_at=rfc3339(timer["due"]) if timer else None,
            next_to=steps[step][1] if timer and step < len(steps) else None,
        )


def _tail(alert_id: str) -> str:
    return alert_id.rpartition("-")[2]
