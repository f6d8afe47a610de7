"""What waits for one client is bounded, in order, and counted when it is dropped."""

from __future__ import annotations

from gateway.mqtt.codec import Decoder
from gateway.mqtt.outbound import Outbound, OutboundLimits
from gateway.mqtt.packet import PACKET_ID_MAX, V5, Packet, Properties, Publish


class Line:
    """An outbound half with what it wrote."""

    def __init__(self, receive_max: int | None = None, bytes_max: int | None = None, **limits: int) -> None:
        self.outbound = Outbound(OutboundLimits(**limits))
        self.out: list[bytes] = []
        self.outbound.attach(self.out, V5, receive_max, bytes_max)

    def send(self, payload: bytes, qos: int = 1, now: float = 0.0, properties: Properties | None = None) -> bool:
        """Send to topic ``t``."""
        publish = Publish("t", payload, qos, properties=properties or Properties())
        return self.outbound.send(publish, qos, now, retain=False)

    def wrote(self) -> list[Publish]:
        """Return what was written since the last call."""
        data = b"".join(self.out)
        self.out.clear()
        packets: list[Packet] = Decoder(V5).feed(data) if data else []
        return [packet for packet in packets if isinstance(packet, Publish)]


def test_window_and_queue() -> None:
    """The client's Receive Maximum bounds what is in flight, the queue what waits; beyond it a message is refused."""
    line = Line(receive_max=2, queue_messages_max=3)
    taken = [line.send(b"%d" % i) for i in range(7)]
    assert taken == [True] * 5 + [False] * 2
    assert line.outbound.dropped == 2
    got = line.wrote()
    assert [publish.payload for publish in got] == [b"0", b"1"]
    payloads = []
    while got:
        payloads += [publish.payload for publish in got]
        for publish in got:
            assert line.outbound.acknowledged(publish.packet_id, 0.0)
        got = line.wrote()
    assert payloads == [b"0", b"1", b"2", b"3", b"4"]
    assert line.outbound.queued == 0


def test_queue_is_bounded_in_bytes() -> None:
    """Large messages fill the queue by their bytes; one alone always fits."""
    line = Line(receive_max=1, queue_bytes_max=1000)
    assert [line.send(bytes(600)) for _ in range(4)] == [True, True, False, False]


def test_slow_client() -> None:
    """While a client does not keep up QoS 0 is dropped and QoS 1 waits, and goes on in order afterwards."""
    line = Line()
    line.outbound.blocked = True
    assert line.send(b"1")
    assert not line.send(b"zero", 0)
    assert line.wrote() == []
    line.outbound.blocked = False
    line.outbound.go_on(0.0)
    assert line.send(b"2")
    assert [publish.payload for publish in line.wrote()] == [b"1", b"2"]
    assert line.outbound.dropped == 1


def test_too_large_for_the_client() -> None:
    """A message over the client's Maximum Packet Size is not sent, at either QoS."""
    line = Line(bytes_max=50)
    for qos in (0, 1):
        assert line.send(bytes(30), qos)
        assert not line.send(bytes(100), qos)
    assert line.outbound.dropped == 2


def test_expired_while_waiting() -> None:
    """A message whose interval passed while it waited is dropped, another carries what is left."""
    line = Line(receive_max=1)
    line.send(b"first")
    line.send(b"short", now=0.0, properties=Properties(message_expiry_interval=5))
    line.send(b"long", now=0.0, properties=Properties(message_expiry_interval=60))
    line.outbound.acknowledged(line.wrote()[0].packet_id, 10.0)
    (publish,) = line.wrote()
    assert (publish.payload, publish.properties.message_expiry_interval) == (b"long", 50)
    assert line.outbound.dropped == 1


def test_packet_identifiers_skip_what_is_in_flight() -> None:
    """Packet identifiers go round, and one that is still in flight is not given twice."""
    line = Line()
    line.send(b"slow")
    (slow,) = line.wrote()
    seen = set()
    for _ in range(PACKET_ID_MAX + 10):
        line.send(b"")
        (publish,) = line.wrote()
        assert publish.packet_id != slow.packet_id
        seen.add(publish.packet_id)
        line.outbound.acknowledged(publish.packet_id, 0.0)
    assert len(seen) == PACKET_ID_MAX - 1
    assert not line.outbound.acknowledged(77, 0.0)
