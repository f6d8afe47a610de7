"""What the encoder writes from ready parts is what `encode` writes, and what it cannot write it refuses."""

from __future__ import annotations

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode, encode_properties, publish, publish_size


@pytest.mark.parametrize("size", [0, 1, 121, 122, 123, 16_370, 16_376, 16_380, 2_097_140, 2_097_150])
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", [4, 5])
def test_publish_sizes(size: int, qos: int, version: int) -> None:
    """Around each step of the remaining length the bytes are right and their number is foretold."""
    properties = encode_properties(p.NO_PROPERTIES) if version == 5 else b""
    data = publish(b"ab", b"x" * size, qos << 1, 9, properties)
    assert len(data) == publish_size(2, size, qos, len(properties))
    assert Decoder(version, 3_000_000).feed(data) == [p.Publish("ab", b"x" * size, qos, packet_id=9 if qos else 0)]


UNWRITABLE = [
    p.Publish("t" * 65_536, b""),
    p.Connect("c" * 65_536),
    p.Connect("a\0b"),
    p.Connect("\ud800"),
    p.Connect("c", keep_alive=65_536),
    p.Subscribe(65_536, (p.Subscription("a"),)),
    p.Puback(1, 0, p.Properties(reason_string="x" * 65_536)),
    p.Connack(False, 0, p.Properties(maximum_packet_size=1 << 32)),
    p.Connack(False, 0, p.Properties(maximum_qos=256)),
    p.Subscribe(1, (p.Subscription("a"),), p.Properties(subscription_identifier=(1 << 28,))),
]


@pytest.mark.parametrize("packet", UNWRITABLE)
def test_what_the_format_cannot_carry(packet: p.Packet) -> None:
    """A field that does not fit is a ValueError, never a broken packet."""
    with pytest.raises(ValueError, match=r".+"):
        encode(packet, 5)


def test_311_leaves_out_what_only_5_has() -> None:
    """In 3.1.1 properties and reason codes are left out and a refused subscription is 0x80."""
    properties = p.Properties(reason_string="no")
    assert encode(p.Puback(1, 0x87, properties), 4) == bytes.fromhex("40020001")
    assert encode(p.Disconnect(0x8E, properties), 4) == bytes.fromhex("e000")
    assert encode(p.Suback(1, (2, 0x87), properties), 4) == bytes.fromhex("900400010280")
    assert encode(p.Unsuback(1, (0,)), 4) == bytes.fromhex("b0020001")
