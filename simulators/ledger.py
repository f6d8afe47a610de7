"""The demo's ledger: what the devices were acknowledged for against what the cloud has. Pure.

The devices' side needs no word of the gateway: a house is a pure function of its seed, so the events that its first
n messages must make are computed here again, with the shipped profiles, and compared one by one: per device, in
order, with type and data.  The cloud's side is what arrived.

    sent = delivered + queued + dropped + dead_lettered

`queued` and `dropped` are the gateway's own count at the end; the rest is counted outside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.event import Event
from gateway.profiles.decode import Decoder
from simulators.devices import House

SOURCE = "house"
_NOW_NS = 1_795_000_000_000_000_000


class Arrived(msgspec.Struct, frozen=True):
    """What a device's message looks like to a decoder."""

    topic: str
    payload: bytes
    received_ns: int = _NOW_NS
    retained: bool = False


def told(event: Event) -> bytes:
    """Return what an event says, without identity and time: the form in which both sides are compared."""
    return msgspec.json.encode((event.type, event.data), order="deterministic")


def expected(decoder: Decoder, house: House, acknowledged: Mapping[str, int]) -> dict[str, list[bytes]]:
    """Return, per device, what the events of its first acknowledged messages say."""
    left = Counter(acknowledged)
    events: dict[str, list[bytes]] = {}
    for message in house.messages(1.0) if left else ():
        if left[message.device] > 0:
            left[message.device] -= 1
            for event in decoder.decode(Arrived(message.topic, message.payload)).events:
                events.setdefault(event.subject, []).append(told(event))
            if not +left:
                break
    return events


@dataclass(slots=True)
class CloudSide:
    """What arrived at the cloud, first arrivals apart from repeats."""

    events: dict[str, list[bytes]] = field(default_factory=dict)  # of devices, first arrivals in order
    received: int = 0
    repeats: int = 0
    replayed: int = 0
    alerts: list[str] = field(default_factory=list)
    by_rules: int = 0  # events that rules made
    last: list[str] = field(default_factory=list)  # a few lines for a person
    _ids: set[str] = field(default_factory=set)

    def take(self, payload: bytes) -> None:
        """Book one CloudEvent in structured JSON."""
        event = _event(payload)
        self.received += 1
        if event.id in self._ids:
            self.repeats += 1
            return
        self._ids.add(event.id)
        self.replayed += b'"replayed":true' in payload
        if event.actor == "device":
            self.events.setdefault(event.subject, []).append(told(event))
        elif event.actor.startswith("rule:"):
            self.by_rules += 1
        if event.type == "alert_raised":
            self.alerts.append(str(event.data.get("text", event.data)))


_event = msgspec.json.Decoder(Event).decode


@dataclass(frozen=True, slots=True)
class Ledger:
    """The end of a demo."""

    sent: int
    delivered: int
    queued: int
    dropped: int
    dead_lettered: int
    unexpected: int  # events of devices that no acknowledged message explains
    out_of_order: int

    @property
    def balanced(self) -> bool:
        """Return whether every event that was promised is accounted for, and nothing else is there."""
        accounted = self.delivered + self.queued + self.dropped + self.dead_lettered
        return self.sent == accounted and not self.unexpected and not self.out_of_order


def close(
    promised: Mapping[str, Iterable[bytes]], cloud: CloudSide, *, queued: int, dropped: int, rejects: int, letters: int
) -> Ledger:
    """Compare both sides. `rejects` messages that can't be decoded were acknowledged, `letters` of them were kept."""
    sent = delivered = unexpected = disorder = 0
    for device in promised.keys() | cloud.events.keys():
        wanted, got = list(promised.get(device, ())), cloud.events.get(device, [])
        sent += len(wanted)
        both = Counter(wanted) & Counter(got)
        delivered += both.total()
        unexpected += len(got) - both.total()
        disorder += _disorder(wanted, got)
    return Ledger(sent + rejects, delivered, queued, dropped, letters, unexpected, disorder)


def _disorder(wanted: list[bytes], got: list[bytes]) -> int:
    """Count arrivals that can't be matched going forward through what was wanted (equal texts are one another's)."""
    at = late = 0
    for text in got:
        try:
            at = wanted.index(text, at) + 1
        except ValueError:
            late += text in wanted[:at]
    return late


def summary(ledger: Ledger, cloud: CloudSide, **more: Any) -> dict[str, Any]:
    """Return the JSON object that ends `edge-gateway demo --json`."""
    return {
        "sent": ledger.sent,
        "delivered": ledger.delivered,
        "queued": ledger.queued,
        "dropped": ledger.dropped,
        "dead_lettered": ledger.dead_lettered,
        "repeats": cloud.repeats,
        "replayed": cloud.replayed,
        "out_of_order": ledger.out_of_order,
        "unexpected": ledger.unexpected,
        "alerts": len(cloud.alerts),
        **more,
        "balanced": ledger.balanced,
    }
