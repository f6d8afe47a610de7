"""What a target is: it speaks one cloud's protocol and judges each event. Nothing else.

Order, window, backoff, circuit, retry limits and dead letters belong to the forwarder.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

import msgspec


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One event on its way out: the stored bytes and what a topic template or key needs."""

    sequence: int
    lane: int
    id: str
    type: str
    subject: str
    topic: str  # the route's own topic template; "": the target's
    raw: bytes  # CloudEvents structured JSON as stored, plus attributes added outside (replayed)


class Verdict(Enum):
    """What became of one event."""

    DELIVERED = "delivered"  # the cloud has it (or had it already)
    RETRY = "retry"  # not now: throttled or a passing fault; `after` seconds if the cloud said so
    REJECTED = "rejected"  # never: this event is refused for what it is
    DOWN = "down"  # nothing was judged: the connection is away
    STOP = "stop"  # no event is to blame: credentials, permission, no such place. Nothing is dead-lettered for it


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The verdict on one event, with the cloud's own words."""

    verdict: Verdict
    reason: str = ""
    after: float | None = None  # seconds, only with RETRY
    throttled: bool = False  # only with RETRY: too much at once; does not count as an attempt


DELIVERED = Outcome(Verdict.DELIVERED)


class Target(Protocol):
    """A cloud bus. `name` is its key under [targets]."""

    name: str
    batch_max: int  # events per `send`
    windows: int  # how many sends of one lane may be in flight at once and still keep their order
    patience_s: float  # after so long without any answer it has given up the connection by itself

    async def run(self) -> None:
        """Keep the connection (reconnecting with backoff) until cancelled."""
        ...

    async def ready(self) -> None:
        """Return when the target can be tried; waits while it is known to be down."""
        ...

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Send events of one lane in order; one outcome per event, in the same order. Raises nothing of the protocol's.

        A target that judges one event at a time sends nothing more of a device behind an event it could not
        deliver, and says RETRY for those too. When it says DOWN, sends under way behind that one are DOWN as well,
        not delivered over the next connection: they would pass what has to be sent again.
        """
        ...

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows: connected, since, last error; requests or answered, which count."""
        ...
