"""Events on their way out, as a route makes them."""

from __future__ import annotations

from gateway.event import Event, Lane, encode, stamp
from gateway.targets.target import Outgoing


def outgoing(
    count: int, *, start: int = 0, devices: int = 10, device: str = "", lane: Lane = Lane.TELEMETRY
) -> list[Outgoing]:
    """Return `count` events n = start, start + 1, ... of `device`, or of devices in turn."""
    batch = []
    for n in range(start, start + count):
        event = Event(
            source="/gw/house",
            type="temperature_changed",
            subject=device or f"house/test:{n % devices}",
            data={"n": n, "value": 21.5},
        )
        stamp(event, f"0123456789ab-1-{n:x}", n + 1)
        batch.append(Outgoing(n + 1, int(lane), event.id, event.type, event.subject, "", encode(event)))
    return batch
