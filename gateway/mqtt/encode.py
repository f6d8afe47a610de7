"""Packets -> MQTT bytes, for either side of a connection, 3.1.1 and 5 (sans-io).

`encode` writes any packet. `publish` and `ack` write the frequent ones from parts that a session keeps
ready (0.4 us and 0.1 us). What 3.1.1 cannot carry (properties, reason codes) is left out there.
ValueError: a field the format cannot carry; nothing is checked that `decode` would check in a peer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.mqtt import packet as p
from gateway.mqtt import wire
from gateway.mqtt.packet import NO_PROPERTIES, Packet
from gateway.mqtt.wire import varint

PINGREQ: Final = b"\xc0\x00"
PINGRESP: Final = b"\xd0\x00"

_HEAD_1: Final = struct.Struct(">BBH").pack  # flags, remaining length of one byte, topic length
_HEAD_2: Final = struct.Struct(">BBBH").pack  # the same with two bytes, 128 .. 16,383
_PACKET_ID: Final = struct.Struct(">H").pack
ack: Final[Callable[[int, int, int], bytes]] = struct.Struct(">BBH").pack
"""`ack(first byte, 2, packet_id)`: PUBACK 0x40, PUBREC 0x50, PUBREL 0x62, PUBCOMP 0x70 with success."""


def puback(packet_id: int) -> bytes:
    """Write a PUBACK that says success."""
    return ack(0x40, 2, packet_id)


def publish(topic: bytes, payload: bytes, flags: int, packet_id: int, properties: bytes) -> bytes:
    """Write a PUBLISH from ready parts.

    `topic` is UTF-8; `flags` is DUP 8 | QoS << 1 | RETAIN; `packet_id` is left out at QoS 0;
    `properties` is what `wire.properties` made, or b"" in 3.1.1.
    """
    if flags & 6:
        properties = _PACKET_ID(packet_id) + properties
    size = len(topic)
    length = 2 + size + len(properties) + len(payload)
    if length < 128:
        return b"".join((_HEAD_1(0x30 | flags, length, size), topic, properties, payload))
    if length < 16_384:
        return b"".join((_HEAD_2(0x30 | flags, length & 0x7F | 0x80, length >> 7, size), topic, properties, payload))
    head = bytes((0x30 | flags,)) + varint(length) + _PACKET_ID(size)
    return b"".join((head, topic, properties, payload))


def publish_size(topic_bytes: int, payload_bytes: int, qos: int, properties_bytes: int) -> int:
    """Return the size of a PUBLISH as the peer's Maximum Packet Size counts it."""
    length = 2 + topic_bytes + payload_bytes + properties_bytes + (2 if qos else 0)
    return 1 + len(varint(length)) + length


def encode(packet: Packet, version: int) -> bytes:
    """Write any packet as bytes of the given version (a CONNECT goes by its own)."""
    return _WRITERS[type(packet)](packet, version)


def _framed(first: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((first,)) + varint(len(body)) + body


def _properties(values: p.Properties, version: int) -> bytes:
    return wire.properties(values) if version == p.V5 else b""


def _publish(packet: p.Publish, version: int) -> bytes:
    flags = packet.dup << 3 | packet.qos << 1 | packet.retain
    topic = packet.topic.encode()
    if len(topic) > wire.STRING_BYTES_MAX:
        raise ValueError(f"a topic of {len(topic)} bytes")
    return publish(topic, packet.payload, flags, packet.packet_id, _properties(packet.properties, version))


def _connect(packet: p.Connect, _version: int) -> bytes:
    version, will = packet.version, packet.will
    flags = packet.clean_start << 1 | (packet.username is not None) << 7 | (packet.password is not None) << 6
    parts = [wire.binary(b"MQTT"), b"", wire.u16(packet.keep_alive), _properties(packet.properties, version)]
    parts.append(wire.text(packet.client_id))
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        parts += [_properties(will.properties, version), wire.text(will.topic), wire.binary(will.payload)]
    if packet.username is not None:
        parts.append(wire.text(packet.username))
    if packet.password is not None:
        parts.append(wire.binary(packet.password))
    parts[1] = bytes((version, flags))
    return _framed(0x10, *parts)


def _connack(packet: p.Connack, version: int) -> bytes:
    head = bytes((packet.session_present, packet.reason_code))
    return _framed(0x20, head, _properties(packet.properties, version))


def _ack_writer(first: int) -> Callable[[Any, int], bytes]:
    def write(packet: p.Puback | p.Pubrec | p.Pubrel | p.Pubcomp, version: int) -> bytes:
        return _framed(first, wire.u16(packet.packet_id), _reason_and_properties(packet, version))

    return write


def _reason_and_properties(packet: Any, version: int) -> bytes:
    """Write the end of a short packet as short as MQTT 5 lets it be."""
    if version != p.V5 or (not packet.reason_code and packet.properties is NO_PROPERTIES):
        return b""
    code = bytes((packet.reason_code,))
    return code if packet.properties is NO_PROPERTIES else code + wire.properties(packet.properties)


def _options(subscription: p.Subscription, version: int) -> bytes:
    if version != p.V5:
        return bytes((subscription.qos,))
    s = subscription
    return bytes((s.qos | s.no_local << 2 | s.retain_as_published << 3 | s.retain_handling << 4,))


def _subscribe(packet: p.Subscribe, version: int) -> bytes:
    filters = [wire.text(s.topic_filter) + _options(s, version) for s in packet.subscriptions]
    return _framed(0x82, wire.u16(packet.packet_id), _properties(packet.properties, version), *filters)


def _unsubscribe(packet: p.Unsubscribe, version: int) -> bytes:
    filters = map(wire.text, packet.topic_filters)
    return _framed(0xA2, wire.u16(packet.packet_id), _properties(packet.properties, version), *filters)


def _suback(packet: p.Suback, version: int) -> bytes:
    # 3.1.1 knows one failure, 0x80 (3.1.1 section 3.9.3)
    codes = packet.reason_codes if version == p.V5 else [min(code, 0x80) for code in packet.reason_codes]
    return _framed(0x90, wire.u16(packet.packet_id), _properties(packet.properties, version), bytes(codes))


def _unsuback(packet: p.Unsuback, version: int) -> bytes:
    codes = bytes(packet.reason_codes) if version == p.V5 else b""
    return _framed(0xB0, wire.u16(packet.packet_id), _properties(packet.properties, version), codes)


_WRITERS: Final[Mapping[type, Callable[[Any, int], bytes]]] = {
    p.Connect: _connect,
    p.Connack: _connack,
    p.Publish: _publish,
    p.Puback: _ack_writer(0x40),
    p.Pubrec: _ack_writer(0x50),
    p.Pubrel: _ack_writer(0x62),
    p.Pubcomp: _ack_writer(0x70),
    p.Subscribe: _subscribe,
    p.Suback: _suback,
    p.Unsubscribe: _unsubscribe,
    p.Unsuback: _unsuback,
    p.Pingreq: lambda _packet, _version: PINGREQ,
    p.Pingresp: lambda _packet, _version: PINGRESP,
    p.Disconnect: lambda packet, version: _framed(0xE0, _reason_and_properties(packet, version)),
    p.Auth: lambda packet, version: _framed(0xF0, _reason_and_properties(packet, version)),
}
