"""Lets time reach the rules: a record `timer_fired` when a timer is due, and the gateway's other records for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.clock import Clock, rfc3339
from gateway.event import Event
from gateway.rules.engine.tables import TIMERS
from gateway.rules.worker.schedule import Schedule

TIMERS_PER_TURN_MAX = 100
TIMER_CHECK_S_MAX = 30.0  # the machine may have slept


class Timekeeper:
    """Waits for timers and appends their records."""

    def __init__(self, gateway: str, clock: Clock, append: Callable[[Event], None]) -> None:
        """Keep time for the gateway of a name; `append` journals a record and feeds it like any other."""
        self._gateway = gateway
        self._clock = clock
        self._append = append
        self._schedule = Schedule(clock)
        self._moved = asyncio.Event()

    def __len__(self) -> int:
        """Return how many timers wait."""
        return len(self._schedule)

    def load(self, rows: Mapping[str, Any]) -> None:
        """Wait for the timers there are."""
        for key, row in rows.items():
            self._schedule.add(key, row)

    def scheduled(self, table: str, key: str, row: Any, then: tuple[int, int] | None = None) -> tuple[str, str, Any]:
        """Return a change of a table; one of a timer with its place on the boot clock, and from now on it waits.

        then   wall and boot clock as they were when the worker was told the time; None: now
        """
        if table == TIMERS:
            self._schedule.remove(key)
            if row is not None:
                row = self._schedule.anchored(row, then)
                self._schedule.add(key, row)
            self._moved.set()
        return table, key, row

    async def run(self) -> None:
        """Append a record for each timer that is due, until cancelled."""
        while True:
            wait = min(self._schedule.wait_s(), TIMER_CHECK_S_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):  # not wait_for: before 3.12 it may swallow a cancellation
                    await self._moved.wait()
            self._moved.clear()
            self.clock_set()
            for due in self._schedule.due(TIMERS_PER_TURN_MAX):
                rule, kind = str(due.row.get("rule", "")), str(due.row.get("kind", ""))
                data = {"timer": due.key, "rule": rule, "kind": kind, "due": rfc3339(int(due.row["due"]))}
                event = self.event("timer_fired", f"rule:{rule}", data, wall_ns=due.wall_ns)
                clock = event.clock if due.trusted else "unsynced"
                self._append(msgspec.structs.replace(event, clock=clock, hops=int(due.row.get("hops", 0))))

    def clock_set(self) -> None:
        """Append a record if the wall clock was set, or is believed only now, since the last time."""
        if (jumped_s := self._schedule.clock_set()) is not None:
            self.record("clock_set", {"jumped_s": jumped_s})

    def record(self, event_type: str, data: dict[str, Any], *, subject: str = "", actor: str = "gateway") -> Event:
        """Append a record of the gateway's own about rules."""
        event = self.event(event_type, subject, data, actor=actor)
        self._append(event)
        return event

    def event(
        self,
        event_type: str,
        subject: str,
        data: dict[str, Any],
        *,
        wall_ns: int | None = None,
        actor: str = "gateway",
    ) -> Event:
        """Make a record of the lane of time, now or when it says."""
        return Event(
            source=f"/{self._gateway}/rules",
            type=event_type,
            subject=subject,
            time=rfc3339(self._clock.wall_ns() if wall_ns is None else wall_ns),
            lane="timer",
            actor=actor,
            clock=None if self._clock.synced() else "unsynced",
            data=data,
        )
