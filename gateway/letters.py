"""Dead letters of messages and events that cannot be taken as they are, and what else an event says about a loss."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import msgspec

from gateway.clock import rfc3339
from gateway.codes.sources import MESSAGE_REJECTED
from gateway.event import Event
from gateway.sources.source import Delivery

DEAD_LETTER_PAYLOAD_BYTES_MAX = 64 * 1024  # whole payload up to here; beyond it length, hash and the head
DEAD_LETTER_HEAD_BYTES = 4096


def rejected(gateway: str, delivery: Delivery, reason: str) -> Event:
    """Make the dead letter of a message that can't be decoded, with its bytes and the reason."""
    said = {"reason": reason, "code": str(MESSAGE_REJECTED), "topic": delivery.topic}
    return Event(
        source=f"/{gateway}/{delivery.source}",
        type="message_rejected",
        time=rfc3339(delivery.received_ns),
        lane="dead_letter",
        actor="gateway",
        data={**said, **raw_payload(delivery.payload)},
    )


def raw_payload(payload: bytes) -> dict[str, object]:
    """Keep raw bytes for a dead letter: whole when small, else length, SHA-256 and the first 4 KB."""
    if len(payload) <= DEAD_LETTER_PAYLOAD_BYTES_MAX:
        return {"payload_b64": base64.b64encode(payload).decode()}
    return {
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "payload_head_b64": base64.b64encode(payload[:DEAD_LETTER_HEAD_BYTES]).decode(),
    }


def not_kept(event: Event, lost: Sequence[str]) -> Event:
    """Return an event that says so when what it refers to is not kept."""
    if event.data.get("sha256") not in lost:
        return event
    return msgspec.structs.replace(event, data={**event.data, "kept": False})


def too_large(event: Event, reason: str) -> Event:
    """Return the dead letter of a held event whose copy no record can hold."""
    data = {"reason": reason, "event_id": event.cause, "type": event.type}
    return Event(
        source=event.source, type="event_refused", subject=event.subject, time=event.time, lane="dead_letter",
        actor="gateway", cause=event.cause, data=data,
    )  # fmt: skip
