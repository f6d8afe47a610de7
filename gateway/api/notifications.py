"""What a running gateway says of notifications, and a person's wish to tell somebody."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from gateway.api.line import ApiError
from gateway.clock import Clock, rfc3339
from gateway.errors import probably_meant
from gateway.event import Event
from gateway.history.query import EventFilter, Past
from gateway.notify.notifier import Notifier
from gateway.notify.options import Directory
from gateway.notify.outbox import written
from gateway.rules.engine.notices import (
    EXPIRED,
    FAILED,
    LIMITED,
    REQUESTED,
    SENT,
    TEXT_CHARS_MAX,
    TITLE_CHARS_MAX,
    TTL_S_MAX,
)

PAST_MAX = 50  # outcomes in a list, unless more are asked for
WAIT_S_MAX = 120.0


class Notifications:
    """The answers about notifications."""

    def __init__(self, notifier: Notifier, directory: Directory, past: Past, clock: Clock, *, gateway: str) -> None:
        self._notifier = notifier
        self._directory = directory
        self._past = past
        self._clock = clock
        self._gateway = gateway

    async def listed(self, limit: int = PAST_MAX) -> dict[str, Any]:
        """Return what waits and why, what became of the newest others, and who can be told."""
        outbox = self._notifier.outbox
        waiting = [written(each) | {"why": outbox.wait(each).why or each.error} for each in outbox.waiting]
        wanted = EventFilter(types=[SENT, FAILED, EXPIRED, LIMITED], limit=limit)
        raws = await asyncio.to_thread(lambda: list(self._past.events(wanted)))
        recipients = [
            {
                "name": name,
                "quiet": options.quiet,
                "per_hour_max": options.per_hour_max,
                "dropped": outbox.dropped.get(name, 0),
                "error": self._notifier.errors.get(name, ""),
            }
            for name, options in self._directory.recipients.items()
        ]
        past = [msgspec.json.decode(raw) for raw in raws]
        return {"waiting": waiting, "past": past, "recipients": recipients, "groups": self._directory.groups}

    async def notify(
        self, to: str, text: str, title: str = "", urgent: bool = False, wait_s: float = 0, actor: str = "person"
    ) -> list[dict[str, str]]:
        """Tell somebody; returns what became of it for each recipient within `wait_s`, or why it waits."""
        members = self._directory.members(to)
        if members is None:
            names = self._directory.names
            hint = probably_meant(to, names) or f"there are {', '.join(names)}"
            raise ApiError(f"there is no recipient {to!r}, {hint}")
        if not members:
            raise ApiError(f"nobody is in {to!r}: add a recipient, [notify.NAME], to the config")
        if not text or len(text) > TEXT_CHARS_MAX or len(title) > TITLE_CHARS_MAX:
            raise ApiError(f"a text has 1 to {TEXT_CHARS_MAX} characters, a title at most {TITLE_CHARS_MAX}")
        data: dict[str, Any] = {"to": to, "text": text, "urgent": urgent, "ttl_s": TTL_S_MAX / 7}
        time = rfc3339(self._clock.wall_ns())
        request = Event(
            source=f"/{self._gateway}/api",
            type=REQUESTED,
            time=time,
            lane="command",
            actor=actor,
            data=data | ({"title": title} if title else {}),
        )
        asked = self._notifier.ask(request)
        if wait_s > 0 and asked:
            await asyncio.wait([answer for _, answer in asked], timeout=min(wait_s, WAIT_S_MAX))
        self._notifier.forget([notice for notice, _ in asked])
        outbox = self._notifier.outbox
        return [
            {"to": notice.to, "outcome": answer.result()}
            if answer.done()
            else {
                "to": notice.to,
                "outcome": "waits",
                "why": outbox.wait(notice).why or self._notifier.errors.get(notice.to, ""),
            }
            for notice, answer in asked
        ]
