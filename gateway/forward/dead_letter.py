"""The dead letter of an event that a target refused: the event whole, why, and after how many attempts."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, NamedTuple

import msgspec

from gateway.clock import Clock, rfc3339
from gateway.codes.targets import EVENT_REFUSED
from gateway.event import EVENT_BYTES_MAX, Event, derived_id

ENVELOPE_BYTES_MAX = 8 * 1024  # what the dead letter adds to the event
WHOLE_BYTES_MAX = EVENT_BYTES_MAX - ENVELOPE_BYTES_MAX
REASON_CHARS_MAX = 1000  # a target's own words are cut here
HEAD_BYTES = 1024  # of an event that does not fit whole, beside its length and hash


class Envelope(msgspec.Struct, gc=False):
    """Of a refused event only what its dead letter repeats."""

    id: str = ""
    source: str = ""
    subject: str = ""


class Refusal(NamedTuple):
    """An event that becomes a dead letter."""

    raw: bytes
    sequence: int
    reason: str
    attempts: int


def letter_of(
    refusal: Refusal, route: str, target: str, log_id: str, clock: Clock, *, whole_bytes_max: int = WHOLE_BYTES_MAX
) -> Event:
    """Make the dead letter. Its id follows from the event and the route: the same however often it is made.

    Of an event larger than `whole_bytes_max` it has length, hash and the first HEAD_BYTES.
    """
    raw = refusal.raw
    try:
        event: dict[str, Any] = msgspec.json.decode(raw)
        head = msgspec.convert(event, Envelope)
    except (msgspec.DecodeError, msgspec.ValidationError):
        event, head = {}, Envelope()
    reason = refusal.reason[:REASON_CHARS_MAX]
    data: dict[str, Any] = {"reason": reason, "code": str(EVENT_REFUSED), "attempts": refusal.attempts}
    data |= {"route": route, "target": target}
    if event and len(raw) <= whole_bytes_max:
        data["event"] = event
    else:
        data["payload_bytes"] = len(raw)
        data["payload_sha256"] = hashlib.sha256(raw).hexdigest()
        data["payload_head_b64"] = base64.b64encode(raw[:HEAD_BYTES]).decode()
    return Event(
        id=derived_id(log_id, f"route:{route}", head.id, refusal.sequence),
        source=head.source or f"/route/{route}",
        type="event_refused",
        subject=head.subject,
        time=rfc3339(clock.wall_ns()),
        lane="dead_letter",
        actor="gateway",
        cause=head.id or None,
        clock=None if clock.synced() else "unsynced",
        data=data,
    )
