"""Messages to one client: a window in flight, a bounded queue behind it, and what is dropped is counted (sans-io).

QoS 1 goes through the window (the client's Receive Maximum, section 4.9) and is sent again with DUP when the client
comes back to its session. QoS 0 is sent when the client keeps up and dropped when it does not. At the queue's limit
the new message is refused, so that whoever sent it can be told; nothing already promised is taken back.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from gateway.mqtt import codec
from gateway.mqtt.packet import NO_PROPERTIES, PACKET_ID_MAX, V5, Properties, Publish
from gateway.mqtt.retained import fresh

QUEUE_MESSAGES_MAX: Final = 1000
QUEUE_BYTES_MAX: Final = 1024 * 1024
WINDOW_MESSAGES_MAX: Final = 100  # in flight to a client that names no Receive Maximum


class OutboundLimits(msgspec.Struct, frozen=True, gc=False):
    """What may wait for one client."""

    queue_messages_max: int = QUEUE_MESSAGES_MAX
    queue_bytes_max: int = QUEUE_BYTES_MAX
    window_messages_max: int = WINDOW_MESSAGES_MAX


class _Waiting(msgspec.Struct, frozen=True, gc=False):
    publish: Publish  # as this client gets it, packet identifier still 0
    expires: float | None  # caller's clock, seconds


class Outbound:
    """The sending half of a client's session state (MQTT 5 section 4.1). Needs `attach` before it sends."""

    __slots__ = (
        *("_bytes_max", "_in_flight", "_next_id", "_out", "_queue", "_queue_bytes", "_version", "_window"),
        *("blocked", "dropped", "limits"),
    )

    def __init__(self, limits: OutboundLimits) -> None:
        self.limits = limits
        self.dropped = 0  # messages this client did not get
        self.blocked = False  # the connection's write buffer is full
        self._out: list[bytes] | None = None  # output of the current connection
        self._version = V5
        self._window = limits.window_messages_max
        self._bytes_max: int | None = None  # the client's Maximum Packet Size
        self._in_flight: dict[int, Publish] = {}
        self._next_id = 1
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0

    @property
    def queued(self) -> int:
        """Return how many messages wait or are in flight."""
        return len(self._queue) + len(self._in_flight)

    def attach(self, out: list[bytes], version: int, receive_max: int | None, bytes_max: int | None) -> None:
        """Begin a connection; call `resume` when CONNACK is in `out`."""
        self._out = out
        self._version = version
        self._window = min(receive_max or PACKET_ID_MAX, self.limits.window_messages_max)
        self._bytes_max = bytes_max
        self.blocked = False

    def detach(self) -> None:
        """End the connection; what is not acknowledged stays."""
        self._out = None

    def resume(self, now: float) -> None:
        """Send again what was in flight, with DUP and in its order (section 4.4), then what waited."""
        for publish in self._in_flight.values():
            self._write(publish, dup=True)
        self.go_on(now)

    def send(self, publish: Publish, qos: int, now: float, *, retain: bool, identifiers: tuple[int, ...] = ()) -> bool:
        """Send or queue a message at `qos` (0 or 1); return False if it was dropped."""
        properties = publish.properties
        if identifiers:
            properties = msgspec.structs.replace(properties, subscription_identifier=identifiers)
        copy = Publish(publish.topic, publish.payload, qos, retain, properties=properties)
        if not qos:
            sent = self._out is not None and not self.blocked and self._fits(copy) and self._write(copy)
            self.dropped += not sent
            return sent
        interval = properties.message_expiry_interval
        waiting = _Waiting(copy, None if interval is None else now + interval)
        size = len(copy.payload) + len(copy.topic)
        full = len(self._queue) >= self.limits.queue_messages_max or (
            self._queue and self._queue_bytes + size > self.limits.queue_bytes_max
        )
        if full or not self._fits(copy):
            self.dropped += 1
            return False
        self._queue.append(waiting)
        self._queue_bytes += size
        self.go_on(now)
        return True

    def acknowledged(self, packet_id: int, now: float) -> bool:
        """Take a PUBACK; return whether that message was in flight."""
        known = self._in_flight.pop(packet_id, None) is not None
        self.go_on(now)
        return known

    def go_on(self, now: float) -> None:
        """Fill the window from the queue, unless the client does not keep up."""
        queue = self._queue
        while queue and self._out is not None and not self.blocked and len(self._in_flight) < self._window:
            waiting = queue.popleft()
            self._queue_bytes -= len(waiting.publish.payload) + len(waiting.publish.topic)
            publish = fresh(waiting.publish, waiting.expires, now)
            if publish is None or not self._fits(publish):
                self.dropped += 1
                continue
            publish.packet_id = self._free_id()
            self._in_flight[publish.packet_id] = publish
            self._write(publish)

    def _free_id(self) -> int:
        while self._next_id in self._in_flight:
            self._next_id = self._next_id % PACKET_ID_MAX + 1
        packet_id = self._next_id
        self._next_id = packet_id % PACKET_ID_MAX + 1
        return packet_id

    def _fits(self, publish: Publish) -> bool:
        """Return whether the client accepts a packet of this size (section 3.1.2.11.4)."""
        if self._bytes_max is None:
            return True
        properties = len(_properties(publish.properties, self._version))
        topic = len(publish.topic.encode())
        return codec.publish_size(topic, len(publish.payload), publish.qos, properties) <= self._bytes_max

    def _write(self, publish: Publish, *, dup: bool = False) -> bool:
        assert self._out is not None
        flags = dup << 3 | publish.qos << 1 | publish.retain
        properties = _properties(publish.properties, self._version)
        self._out.append(codec.publish(publish.topic.encode(), publish.payload, flags, publish.packet_id, properties))
        return True


def _properties(properties: Properties, version: int) -> bytes:
    if version != V5:
        return b""
    return b"\0" if properties is NO_PROPERTIES else codec.encode_properties(properties)
