"""A record of the journal as the engine reads it, and what time it is in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.clock import wall_ns_of


class Seen(msgspec.Struct, gc=False, tag_field="specversion", tag="1.0"):
    """The attributes of an event that rules see; decoded in two thirds of the time of a whole Event."""

    id: str
    type: str
    source: str = ""
    subject: str = ""
    time: str = ""
    sequence: str = "0"
    lane: str = "telemetry"
    actor: str = "device"
    clock: str | None = None
    hops: int = 0
    gate: str | None = None  # it is a copy that a gate let go
    data: dict[str, Any] = {}


decode = msgspec.json.Decoder(Seen).decode
"""Read a record. Raises `msgspec.DecodeError`."""


def time_ns(seen: Seen, now_ns: int) -> int:
    """Return when it happened, at most now; a time nobody can read is now."""
    try:
        wall_ns = wall_ns_of(seen.time)
    except ValueError:
        return now_ns
    return min(now_ns, wall_ns)


def field_of(data: Mapping[str, Any], name: str) -> Any:
    """Return a field by its flat name (``object.label``), or nested as ``{"object": {"label": ...}}``, or None."""
    if name in data:
        return data[name]
    value: Any = data
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
