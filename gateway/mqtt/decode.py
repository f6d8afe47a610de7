"""MQTT bytes -> packets, for either side of a connection, 3.1.1 and 5 (sans-io).

Bytes come in any pieces; packets come out as soon as they are whole. A packet larger than
`packet_bytes_max` is refused when its header is read, before any of its body is kept. The memory held
between two calls is at most one packet and one piece.

What is refused is what the specification calls malformed or a protocol error in the packet itself. What
depends on the connection's past (a second CONNECT, a packet in the wrong direction, an unknown packet
identifier) is the session's to judge. Reason codes are not checked against a list: a broker with one of
its own (from 0x80 on: a refusal) must not cost the connection.

PUBLISH and PUBACK are decoded in place, because everything else is rare: about 1 us a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.errors import ProtocolError
from gateway.mqtt import packet as p
from gateway.mqtt import wire
from gateway.mqtt.packet import NO_PROPERTIES, Packet, Puback, Publish, Reason
from gateway.mqtt.wire import NAMES, Reader
from gateway.topic import is_filter, is_name

PACKET_BYTES_MAX: Final = 1024 * 1024  # a default: MQTT allows 256 MB, a small computer does not
CONNECT_BYTES_MAX: Final = 128 * 1024  # of a server's first packet, from whoever it may be: a will is at most 64 KiB
CACHE_ENTRIES_MAX: Final = 4096  # topics (and blocks of properties) seen before, checked once
CACHED_PROPERTIES_BYTES_MAX: Final = 128


class Decoder:
    """Turns one connection's bytes into packets.

    `version` None is a server's start: the first packet must be CONNECT and sets it; it has CONNECT_BYTES_MAX.
    """

    def __init__(self, version: int | None = None, packet_bytes_max: int = PACKET_BYTES_MAX) -> None:
        self.version = version
        self.packet_bytes_max = packet_bytes_max if version else min(packet_bytes_max, CONNECT_BYTES_MAX)
        self._known_bytes_max = packet_bytes_max  # of whoever has said who it is
        self.error: ProtocolError | None = None
        self._held = bytearray()
        self._need = 2  # bytes that `_held` must have before another look is worth while
        self._topics: dict[bytes, str] = {}
        self._properties: dict[bytes, p.Properties] = {}

    def feed(self, data: bytes | bytearray | memoryview) -> list[Packet]:
        """Take the next bytes and return the packets that are now complete.

        Raises ProtocolError at bytes that are none; if whole packets came before them in the same call,
        these are returned first, `error` says what is wrong, and every later call raises it.
        """
        if self.error is not None:
            raise self.error
        if self._held:
            self._held += data
            if len(self._held) < self._need:
                return []
            data = bytes(self._held)
            self._held.clear()
        elif type(data) is not bytes:
            data = bytes(data)
        packets: list[Packet] = []
        try:
            at = self._parse(data, packets)
        except ProtocolError as error:
            self.error = error
            if packets:
                return packets
            raise
        if at < len(data):
            self._held += data[at:]
        return packets

    def _parse(self, data: bytes, packets: list[Packet]) -> int:
        """Append every whole packet in `data`; return where the first incomplete one starts."""
        at, end = 0, len(data)
        topics = self._topics
        five = self.version == p.V5
        append = packets.append
        while end - at > 1:
            first = data[at]
            length = data[at + 1]
            start = at + 2
            if length > 127:
                length, start = self._long_length(data, at, end)
                if not start:
                    return at
            stop = start + length
            if stop - at > self.packet_bytes_max:
                raise ProtocolError(
                    f"{NAMES[first >> 4]}: {stop - at} bytes, allowed are {self.packet_bytes_max}",
                    Reason.PACKET_TOO_LARGE,
                )
            if stop > end:
                self._need = stop - at
                return at
            if first >> 4 == 3 and self.version:
                if length < 2:
                    raise _malformed("ends too early")
                body = start + 2 + (data[start] << 8 | data[start + 1])
                raw_topic = data[start + 2 : body]
                packet_id = qos = 0
                if first & 6:
                    qos = first >> 1 & 3
                    body += 2
                    if body > stop:
                        raise _malformed("ends too early")
                    packet_id = data[body - 2] << 8 | data[body - 1]
                    if not packet_id or qos == 3:
                        raise _bad_publish(first, packet_id)
                elif first & 8:
                    raise _bad_publish(first, 1)
                properties = NO_PROPERTIES
                if five:
                    if body < stop and not data[body]:
                        body += 1
                    else:
                        properties, body = self._publish_properties(data, body, stop)
                if body > stop:
                    raise _malformed("ends too early")
                topic = topics.get(raw_topic) or self._topic(raw_topic, properties)
                append(Publish(topic, data[body:stop], qos, first & 1 == 1, first & 8 == 8, packet_id, properties))
            elif first == 0x40 and (length == 2 or (length == 3 and five)) and self.version:
                packet_id = data[start] << 8 | data[start + 1]
                if not packet_id:
                    raise ProtocolError("PUBACK: packet identifier 0", Reason.PROTOCOL_ERROR)
                append(Puback(packet_id) if length == 2 else Puback(packet_id, data[start + 2]))
            else:
                append(self._rare(first, data, start, stop))
                five = self.version == p.V5
            at = stop
        self._need = 2
        return at

    def _long_length(self, data: bytes, at: int, end: int) -> tuple[int, int]:
        """Read a remaining length of two to four bytes: (length, start of the body), start 0 if incomplete."""
        length = 0
        for i in range(4):
            if at + 1 + i >= end:
                self._need = 2 + i
                return 0, 0
            byte = data[at + 1 + i]
            length |= (byte & 0x7F) << (7 * i)
            if byte < 128:
                if not byte and self.version == p.V5:  # 3.1.1 does not ask for the shortest form
                    raise _malformed("remaining length is longer than needed", data[at] >> 4)
                return length, at + 2 + i
        raise _malformed("remaining length over four bytes", data[at] >> 4)

    def _topic(self, raw: bytes, properties: p.Properties) -> str:
        """Check a topic name not seen before and remember it."""
        topic = wire.text_of(raw, "PUBLISH: topic")
        if not topic and properties.topic_alias is not None:
            return topic
        if not is_name(topic):
            raise ProtocolError(f"PUBLISH: invalid topic {topic[:100]!r}", Reason.TOPIC_NAME_INVALID)
        if len(self._topics) >= CACHE_ENTRIES_MAX:
            self._topics.clear()
        self._topics[raw] = topic
        return topic

    def _publish_properties(self, data: bytes, at: int, stop: int) -> tuple[p.Properties, int]:
        """Read a PUBLISH's properties; equal blocks, common from one device, are read once."""
        short = at < stop and data[at] <= CACHED_PROPERTIES_BYTES_MAX - 1
        after = at + 1 + data[at] if short else stop
        raw = data[at:after] if short and after <= stop else b""
        known = self._properties.get(raw)
        if known is not None:
            return known, after
        reader = Reader(wire.PUBLISH, data, at, stop)
        properties = reader.properties()
        if properties.response_topic is not None and not is_name(properties.response_topic):
            raise ProtocolError("PUBLISH: invalid response topic", Reason.TOPIC_NAME_INVALID)
        if raw:
            if len(self._properties) >= CACHE_ENTRIES_MAX:
                self._properties.clear()
            self._properties[raw] = properties
        return properties, reader.at

    def _rare(self, first: int, data: bytes, start: int, stop: int) -> Packet:
        kind, flags = first >> 4, first & 15
        version = self.version
        if version is None and kind != wire.CONNECT:
            raise ProtocolError(f"{NAMES[kind] if kind else 'type 0'} before CONNECT", Reason.PROTOCOL_ERROR)
        if not kind or (kind == wire.AUTH and version != p.V5):
            raise ProtocolError(f"packet type {kind} is reserved", Reason.MALFORMED_PACKET)
        if flags != (2 if kind in _FLAGS_2 else 0):
            raise _malformed(f"reserved flags are {flags}", kind)
        reader = Reader(kind, data, start, stop)
        packet = _READERS[kind](reader, version or 0)
        reader.end()
        if type(packet) is p.Connect:
            self.version, self.packet_bytes_max = packet.version, self._known_bytes_max
        return packet


_FLAGS_2: Final = frozenset({wire.PUBREL, wire.SUBSCRIBE, wire.UNSUBSCRIBE})


def _malformed(why: str, kind: int = wire.PUBLISH) -> ProtocolError:
    return ProtocolError(f"{NAMES[kind] if kind else 'type 0'}: {why}", Reason.MALFORMED_PACKET)


def _bad_publish(first: int, packet_id: int) -> ProtocolError:
    if not first & 6:
        return _malformed("DUP at QoS 0")
    if first & 6 == 6:
        return _malformed("QoS 3")
    return ProtocolError(f"PUBLISH: packet identifier {packet_id}", Reason.PROTOCOL_ERROR)


def _connect(reader: Reader, _version: int) -> p.Connect:
    name, version = reader.binary(), reader.u8()
    if name != b"MQTT" or version not in {p.V311, p.V5}:
        raise reader.forbidden(f"protocol {name[:8]!r} level {version}", Reason.UNSUPPORTED_PROTOCOL_VERSION)
    flags, keep_alive = reader.u8(), reader.u16()
    if flags & 1:
        raise reader.malformed("reserved flag is 1")
    if version == p.V311 and flags & 0xC0 == 0x40:
        raise reader.malformed("password without a user name")  # MQTT-3.1.2-22; 5 allows it
    properties = reader.properties() if version == p.V5 else NO_PROPERTIES
    client_id = reader.text("client identifier")
    will = _will(reader, flags, version)
    username = reader.text("user name") if flags & 0x80 else None
    password = reader.binary() if flags & 0x40 else None
    return p.Connect(client_id, version, bool(flags & 2), keep_alive, username, password, will, properties)


def _will(reader: Reader, flags: int, version: int) -> p.Will | None:
    qos = flags >> 3 & 3
    if not flags & 4:
        if flags & 0x38:
            raise reader.malformed("will QoS or retain without a will")
        return None
    if qos == 3:
        raise reader.malformed("will QoS 3")
    properties = reader.properties(wire.WILL) if version == p.V5 else NO_PROPERTIES
    topic = reader.text("will topic")
    if not is_name(topic):
        raise reader.forbidden(f"invalid will topic {topic[:100]!r}", Reason.TOPIC_NAME_INVALID)
    return p.Will(topic, reader.binary(), qos, bool(flags & 0x20), properties)


def _connack(reader: Reader, version: int) -> p.Connack:
    flags, reason_code = reader.u8(), reader.u8()
    if flags > 1:
        raise reader.malformed(f"reserved flags are {flags}")
    if flags and reason_code:
        raise reader.forbidden("session present in a refusal")
    if version == p.V5 and reason_code == 1 and reader.at == reader.stop:  # a 3.1.1 server does not know MQTT 5
        return p.Connack(False, Reason.UNSUPPORTED_PROTOCOL_VERSION)
    return p.Connack(bool(flags), reason_code, reader.properties() if version == p.V5 else NO_PROPERTIES)


_Ack = type[p.Puback] | type[p.Pubrec] | type[p.Pubrel] | type[p.Pubcomp]


def _ack_reader(make: _Ack) -> Callable[[Reader, int], Packet]:
    def read(reader: Reader, version: int) -> Packet:
        packet_id = reader.packet_id()
        return make(packet_id, *_reason_and_properties(reader, version))

    return read


def _reason_and_properties(reader: Reader, version: int) -> tuple[int, p.Properties]:
    """Read what MQTT 5 lets stand at the end of a short packet: nothing, a reason, or both."""
    if version != p.V5 or reader.at == reader.stop:
        return 0, NO_PROPERTIES
    reason_code = reader.u8()
    return reason_code, NO_PROPERTIES if reader.at == reader.stop else reader.properties()


def _subscribe(reader: Reader, version: int) -> p.Subscribe:
    packet_id = reader.packet_id()
    properties = reader.properties() if version == p.V5 else NO_PROPERTIES
    subscriptions = []
    while reader.at < reader.stop:
        topic_filter, options = _filter(reader), reader.u8()
        if options & (0xC0 if version == p.V5 else 0xFC) or options & 3 == 3:
            raise reader.malformed(f"reserved subscription options 0x{options:02X}")
        if options >> 4 == 3:
            raise reader.forbidden("retain handling 3")
        if options & 4 and topic_filter.startswith("$share/"):
            raise reader.forbidden("no local on a shared subscription")
        subscriptions.append(
            p.Subscription(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4)
        )
    if not subscriptions:
        raise reader.forbidden("no topic filter")
    return p.Subscribe(packet_id, tuple(subscriptions), properties)


def _filter(reader: Reader) -> str:
    topic_filter = reader.text("topic filter")
    if not is_filter(topic_filter):
        raise reader.forbidden(f"invalid topic filter {topic_filter[:100]!r}", Reason.TOPIC_FILTER_INVALID)
    return topic_filter


def _unsubscribe(reader: Reader, version: int) -> p.Unsubscribe:
    packet_id = reader.packet_id()
    properties = reader.properties() if version == p.V5 else NO_PROPERTIES
    filters = []
    while reader.at < reader.stop:
        filters.append(_filter(reader))
    if not filters:
        raise reader.forbidden("no topic filter")
    return p.Unsubscribe(packet_id, tuple(filters), properties)


def _suback(reader: Reader, version: int) -> p.Suback:
    packet_id = reader.packet_id()
    properties = reader.properties() if version == p.V5 else NO_PROPERTIES
    codes = tuple(reader.rest())
    if not codes:
        raise reader.forbidden("no reason code")
    return p.Suback(packet_id, codes, properties)


def _unsuback(reader: Reader, version: int) -> p.Unsuback:
    packet_id = reader.packet_id()
    if version != p.V5:
        return p.Unsuback(packet_id)
    properties = reader.properties()
    codes = tuple(reader.rest())
    if not codes:
        raise reader.forbidden("no reason code")
    return p.Unsuback(packet_id, codes, properties)


_READERS: Final[Mapping[int, Callable[[Reader, int], Packet]]] = {
    wire.CONNECT: _connect,
    wire.CONNACK: _connack,
    wire.PUBACK: _ack_reader(p.Puback),
    wire.PUBREC: _ack_reader(p.Pubrec),
    wire.PUBREL: _ack_reader(p.Pubrel),
    wire.PUBCOMP: _ack_reader(p.Pubcomp),
    wire.SUBSCRIBE: _subscribe,
    wire.SUBACK: _suback,
    wire.UNSUBSCRIBE: _unsubscribe,
    wire.UNSUBACK: _unsuback,
    wire.PINGREQ: lambda _reader, _version: p.Pingreq(),
    wire.PINGRESP: lambda _reader, _version: p.Pingresp(),
    wire.DISCONNECT: lambda reader, version: p.Disconnect(*_reason_and_properties(reader, version)),
    wire.AUTH: lambda reader, version: p.Auth(*_reason_and_properties(reader, version)),
}
