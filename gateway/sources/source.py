"""What a source is: it turns bytes from devices into deliveries, and acknowledges when told.

A source never touches the journal. It hands deliveries to the inbox in the order they came and may
acknowledge to its device only when `Delivery.ack` is called, which the pipeline does in one place,
after the commit. Per connection, acks come in the order of the deliveries (one FIFO).

What a source remembers of a message, to know it again over a kill, is never on the disk before the message's
events, or it would be taken for known and be lost. So it is put when the inbox has returned, and of a delivery that
is then still `late`, in `appended`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

ImporterName = Literal["zigbee2mqtt", "homie", "sparkplug", "home-assistant"]
"""Dialects whose devices describe themselves (gateway/importers/registry.py)."""


class Origin(Protocol):
    """The connection a delivery came over; knows how to acknowledge it."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Tell the sender that the delivery is on the disk. Must not raise when the connection is gone."""
        ...


class Delivery(msgspec.Struct, gc=False):
    """One message from a device and its acknowledgement."""

    source: str  # the source's name in the config
    topic: str  # MQTT topic, or the port's name for serial
    payload: bytes
    received_ns: int  # wall clock, nanoseconds
    origin: Origin
    qos: int = 0
    retained: bool = False
    duplicate: bool = False  # DUP flag
    token: int = 0  # the origin's own mark (MQTT packet id)
    known: bool = False  # surely in the journal already: acknowledge in its turn, do not decode
    late: bool = False  # the inbox has it and will append its events later, when a blob is on the disk
    appended: Callable[[], None] | None = None  # a source's, of what is late: called right behind the append

    def ack(self) -> None:
        """Acknowledge to the sender: the events in this message are on the disk."""
        self.origin.acknowledge(self)


Inbox = Callable[[Sequence[Delivery]], None]
"""Takes deliveries in order, at once; never blocks. Called on the event loop's thread."""


class Refusal(NamedTuple):
    """A command that a source took and its device would not do."""

    device: str
    command: str
    value: Any  # its argument, as it was sent
    why: str
    final: bool  # it will be refused again


class Source(Protocol):
    """A way into the gateway. `name` is its key under [sources]."""

    name: str

    async def run(self, inbox: Inbox) -> None:
        """Connect, deliver, reconnect, until cancelled."""
        ...

    def pause(self) -> None:
        """Stop reading from devices (backpressure); pings are still answered."""
        ...

    def resume(self) -> None:
        """Go on reading."""
        ...

    def send(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        """Send a command's bytes towards a device; False when there is no connection now."""
        ...

    def status(self) -> dict[str, object]:
        """Say what `edge-gateway status` shows: connected, since, received, last error."""
        ...
