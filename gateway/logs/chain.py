"""One event's way through the gateway, at level DEBUG: received, on the disk, leaves by a route, answered.

Each line carries the event's id, so that ``journalctl GATEWAY_EVENT_ID=…`` shows its way from the device's message to
the cloud's answer.  Whoever calls this has asked `followed` first, once for a batch: at another level it costs nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.event import Event
from gateway.logs.about import about

log = logging.getLogger("gateway.chain")

WAITING_MAX = 10_000  # events whose arrival on the disk is yet to be told; of more, the oldest are not


class Leaving(Protocol):
    """An event on its way out."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102


def followed() -> bool:
    """Return whether anybody wants to know of single events."""
    return log.isEnabledFor(logging.DEBUG)


class Chain:
    """Tells of events until they are on the disk."""

    def __init__(self) -> None:
        self.waiting: deque[Event] = deque(maxlen=WAITING_MAX)

    def received(self, source: str, topic: str, events: Iterable[Event]) -> None:
        """Tell what a message became; the events have their ids and wait for the disk."""
        for event in events:
            said = about(source=source, device=event.subject, event_id=event.id)
            log.debug("received on %r: %s of %s", topic, event.type, event.subject, extra=said)
            self.waiting.append(event)

    def made(self, events: Iterable[Event]) -> None:
        """Tell what rules made."""
        for event in events:
            rule = event.actor.partition("@")[0].removeprefix("rule:")
            said = about(rule=rule, device=event.subject, event_id=event.id)
            log.debug("made: %s, because of %s", event.type, event.cause, extra=said)
            self.waiting.append(event)

    def durable(self, sequence: int) -> None:
        """Tell what is on the disk now."""
        waiting = self.waiting
        while waiting and int(waiting[0].sequence) <= sequence:
            event = waiting.popleft()
            said = about(device=event.subject, event_id=event.id)
            log.debug("on disk as record %d", int(event.sequence), extra=said)


def leaves(route: str, target: str, events: Sequence[Leaving]) -> None:
    """Tell what is sent."""
    for event in events:
        said = about(route=route, target=target, device=event.subject, event_id=event.id)
        log.debug("sent by route %s to %s", route, target, extra=said)


def answered(route: str, target: str, events: Sequence[Leaving], answers: Iterable[str], took_s: float) -> None:
    """Tell what the cloud said to each."""
    for event, answer in zip(events, answers, strict=True):
        said = about(route=route, target=target, device=event.subject, event_id=event.id)
        log.debug("%s by %s after %.0f ms, route %s", answer, target, took_s * 1000, route, extra=said)
