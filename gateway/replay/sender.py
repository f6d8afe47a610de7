"""Sending again, behind what is live: small sendings, one at a time, each until every event in it is judged.

A route's own events go first: nothing leaves here before the route has caught up, and then at most BATCH_MAX events,
at the pace that was asked for. What is sent again has its old id and is marked `replayed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from gateway.backoff import Backoff
from gateway.event import LANES, Head, decode_head, with_attributes
from gateway.forward.circuit import AFTER_S_MAX
from gateway.routes import Route, Selection
from gateway.targets.target import Outcome, Outgoing, Target, Verdict

BATCH_MAX: Final = 50  # events under way: what a live event may have to wait behind
LOOK_S: Final = 0.05  # between two looks at whether the route has caught up
SHRINK: Final = 8  # a sending nobody passed is followed by one of an eighth
REPLAYED: Final = {"replayed": True}


class Live(Protocol):
    """The forwarder of the route."""

    name: str
    route: Route
    selection: Selection

    @property
    def caught_up(self) -> bool: ...  # noqa: D102


@dataclass
class Way:
    """A route, to be used beside its forwarder; a reload may put others in their places."""

    live: Live
    target: Target


class Judged(NamedTuple):
    """What became of one event: `refused` has the reason, None is delivered."""

    refused: str | None
    attempts: int


def outgoing(sequence: int, raw: bytes, lane: int, topic: str, head: Head | None = None) -> Outgoing:
    """Make an event ready to be sent again. Raises msgspec.DecodeError when it is none."""
    head = head or decode_head(raw)
    return Outgoing(sequence, lane, head.id, head.type, head.subject, topic, with_attributes(raw, REPLAYED))


def outgoing_of(event: dict[str, object], topic: str) -> Outgoing:
    """Make an event that is data already, as in a dead letter, ready to be sent again."""
    lane = LANES[str(event.get("lane", "telemetry"))]
    raw = msgspec.json.encode({key: value for key, value in event.items() if key not in REPLAYED})
    return outgoing(int(str(event.get("sequence", 0))), raw, lane, topic)


class Sender:
    """Sends on one route for somebody; one call of `send` at a time."""

    def __init__(self, way: Way, per_s: float) -> None:
        self.waiting = False  # for the route's own events, or its target
        self.last_error = ""
        self._way = way
        self._per_s = per_s
        self._next = 0.0  # loop time before which nothing leaves
        route = way.live.route
        self._backoff = Backoff(route.retry_first_s, route.retry_longest_s)
        self._refused_s = route.refused_retry_s
        self._attempts_max = route.attempts_max

    @property
    def batch_max(self) -> int:
        """Return how many events one call is to bring."""
        return max(1, min(BATCH_MAX, self._way.target.batch_max))

    async def send(self, events: Sequence[Outgoing]) -> list[Judged]:
        """Send events of one lane in order until each is delivered, refused or given up; as long as that takes."""
        judged: list[Judged | None] = [None] * len(events)
        attempts = [0] * len(events)
        left, size = list(range(len(events))), len(events)
        while left:
            going = left[:size]
            await self._turn(len(going))
            outcomes = await self._way.target.send([events[i] for i in going])
            held = [(i, outcome) for i, outcome in zip(going, outcomes, strict=True) if self._holds(outcome)]
            for i, outcome in zip(going, outcomes, strict=True):
                if not self._holds(outcome):
                    attempts[i] += 1
                    judged[i] = Judged(outcome.reason or "refused" if _rejected(outcome) else None, attempts[i])
            passed = len(held) < len(going)
            for i, outcome in held:
                if _own(outcome, passed=passed, alone=len(going) == 1):
                    attempts[i] += 1
                    if attempts[i] >= self._attempts_max:
                        why = f"given up after {attempts[i]} attempts: {outcome.reason}"
                        judged[i] = Judged(why, attempts[i])
            left = [i for i in left if judged[i] is None]
            if not held:
                self._backoff.reset()
                size = len(events)
            else:
                size = size if passed else max(1, len(going) // SHRINK)
                await self._pause([outcome for _, outcome in held])
        return [each for each in judged if each is not None]

    def _holds(self, outcome: Outcome) -> bool:
        return outcome.verdict in (Verdict.RETRY, Verdict.DOWN, Verdict.STOP)

    async def _turn(self, count: int) -> None:
        """Wait for the route to have caught up, and for the pace."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            self.waiting = not self._way.live.caught_up
            if not self.waiting and now >= self._next:
                break
            await asyncio.sleep(LOOK_S if self.waiting else min(LOOK_S, self._next - now))
        self._next = max(self._next, now - 1.0) + count / self._per_s

    async def _pause(self, held: Sequence[Outcome]) -> None:
        """Wait after a sending that not all passed."""
        worst = max(held, key=lambda outcome: (outcome.verdict is Verdict.STOP, outcome.after or 0.0))
        self.last_error = worst.reason
        if worst.verdict is Verdict.STOP:
            await asyncio.sleep(self._refused_s)
        else:
            await asyncio.sleep(min(worst.after or 0.0, AFTER_S_MAX) or self._backoff.next_s())


def _rejected(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.REJECTED


def _own(outcome: Outcome, *, passed: bool, alone: bool) -> bool:
    """Return whether a failure counts against the event: others passed, or the route was well and this one alone."""
    if outcome.verdict is Verdict.STOP or outcome.throttled:
        return False
    return alone or (passed and outcome.verdict is Verdict.RETRY)
