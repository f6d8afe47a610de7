"""The data types of MQTT on the wire (section 1.5) and MQTT 5's properties (section 2.2.2), both ways.

Reading raises `errors.ProtocolError` with the reason code a server would send: 0x81 malformed where the
bytes cannot be read at all, 0x82 protocol error where they can but must not be. Writing raises ValueError
for what the format cannot carry (a string over 65,535 bytes, a number out of range).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.errors import ProtocolError
from gateway.mqtt.packet import NO_PROPERTIES, REMAINING_LENGTH_MAX, Properties, Reason

STRING_BYTES_MAX: Final = 65_535

# Packet types, section 2.1.2; 0 is forbidden on the wire and stands for "the properties of a will" here.
WILL, CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)
NAMES: Final = (
    *("Will", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"),
    *("SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"),
)

_U16: Final = struct.Struct(">H")
_U32: Final = struct.Struct(">I")
_CONTENT: Final = frozenset({PUBLISH, WILL})
_SESSION: Final = frozenset({CONNECT, CONNACK})
_ANSWERS: Final = frozenset({CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH})


class PropertySpec(NamedTuple):
    """A row of table 2-4: the field in `Properties`, its type, where it may stand, its least and greatest value."""

    name: str
    kind: str  # u8 u16 u32 varint text binary pair
    allowed: frozenset[int]
    least: int = 0
    greatest: int = 0xFFFFFFFF


SPECS: Final[Mapping[int, PropertySpec]] = {
    0x01: PropertySpec("payload_format_indicator", "u8", _CONTENT, greatest=1),
    0x02: PropertySpec("message_expiry_interval", "u32", _CONTENT),
    0x03: PropertySpec("content_type", "text", _CONTENT),
    0x08: PropertySpec("response_topic", "text", _CONTENT),
    0x09: PropertySpec("correlation_data", "binary", _CONTENT),
    0x0B: PropertySpec("subscription_identifier", "varint", frozenset({PUBLISH, SUBSCRIBE}), least=1),
    0x11: PropertySpec("session_expiry_interval", "u32", _SESSION | {DISCONNECT}),
    0x12: PropertySpec("assigned_client_identifier", "text", frozenset({CONNACK})),
    0x13: PropertySpec("server_keep_alive", "u16", frozenset({CONNACK})),
    0x15: PropertySpec("authentication_method", "text", _SESSION | {AUTH}),
    0x16: PropertySpec("authentication_data", "binary", _SESSION | {AUTH}),
    0x17: PropertySpec("request_problem_information", "u8", frozenset({CONNECT}), greatest=1),
    0x18: PropertySpec("will_delay_interval", "u32", frozenset({WILL})),
    0x19: PropertySpec("request_response_information", "u8", frozenset({CONNECT}), greatest=1),
    0x1A: PropertySpec("response_information", "text", frozenset({CONNACK})),
    0x1C: PropertySpec("server_reference", "text", frozenset({CONNACK, DISCONNECT})),
    0x1F: PropertySpec("reason_string", "text", _ANSWERS),
    0x21: PropertySpec("receive_maximum", "u16", _SESSION, least=1),
    0x22: PropertySpec("topic_alias_maximum", "u16", _SESSION),
    0x23: PropertySpec("topic_alias", "u16", frozenset({PUBLISH}), least=1),
    0x24: PropertySpec("maximum_qos", "u8", frozenset({CONNACK}), greatest=1),
    0x25: PropertySpec("retain_available", "u8", frozenset({CONNACK}), greatest=1),
    0x26: PropertySpec("user_property", "pair", frozenset(range(16)) - {PINGREQ, PINGRESP}),
    0x27: PropertySpec("maximum_packet_size", "u32", _SESSION, least=1),
    0x28: PropertySpec("wildcard_subscription_available", "u8", frozenset({CONNACK}), greatest=1),
    0x29: PropertySpec("subscription_identifier_available", "u8", frozenset({CONNACK}), greatest=1),
    0x2A: PropertySpec("shared_subscription_available", "u8", frozenset({CONNACK}), greatest=1),
}
_IDENTIFIERS: Final = {spec.name: (identifier, spec.kind) for identifier, spec in SPECS.items()}


def text_of(raw: bytes, what: str) -> str:
    """Decode a UTF-8 string of section 1.5.4: no surrogates, no U+0000. Raises ProtocolError 0x81."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{what}: not UTF-8 at byte {error.start}", Reason.MALFORMED_PACKET) from None
    if "\0" in text:
        raise ProtocolError(f"{what}: U+0000 in a string", Reason.MALFORMED_PACKET)
    return text


class Reader:
    """Reads one packet's body from `at` to `stop`; every step is checked against the end."""

    __slots__ = ("at", "data", "packet", "stop")

    def __init__(self, packet: int, data: bytes, at: int, stop: int) -> None:
        self.packet = packet
        self.data = data
        self.at = at
        self.stop = stop

    def malformed(self, why: str) -> ProtocolError:
        """Make the error for bytes that cannot be read."""
        return ProtocolError(f"{NAMES[self.packet]}: {why}", Reason.MALFORMED_PACKET)

    def forbidden(self, why: str, reason: int = Reason.PROTOCOL_ERROR) -> ProtocolError:
        """Make the error for a value the protocol does not allow."""
        return ProtocolError(f"{NAMES[self.packet]}: {why}", reason)

    def _take(self, count: int) -> int:
        at = self.at
        if at + count > self.stop:
            raise self.malformed("ends too early")
        self.at = at + count
        return at

    def u8(self) -> int:
        """Read a byte."""
        return self.data[self._take(1)]

    def u16(self) -> int:
        """Read a two byte integer."""
        return int(_U16.unpack_from(self.data, self._take(2))[0])

    def u32(self) -> int:
        """Read a four byte integer."""
        return int(_U32.unpack_from(self.data, self._take(4))[0])

    def varint(self) -> int:
        """Read a variable byte integer, section 1.5.5: at most four bytes, as few as possible."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte:
                    raise self.malformed("variable byte integer is longer than needed")
                return value
        raise self.malformed("variable byte integer over four bytes")

    def binary(self) -> bytes:
        """Read binary data with its two byte length, section 1.5.6."""
        count = self.u16()
        at = self._take(count)
        return self.data[at : at + count]

    def text(self, what: str) -> str:
        """Read a UTF-8 string with its two byte length, section 1.5.4."""
        return text_of(self.binary(), f"{NAMES[self.packet]}: {what}")

    def pair(self, what: str) -> tuple[str, str]:
        """Read a UTF-8 string pair, section 1.5.7."""
        return self.text(what), self.text(what)

    def packet_id(self) -> int:
        """Read a packet identifier, which is never 0 (section 2.2.1)."""
        identifier = self.u16()
        if not identifier:
            raise self.forbidden("packet identifier 0")
        return identifier

    def rest(self) -> bytes:
        """Read all that is left."""
        at = self._take(self.stop - self.at)
        return self.data[at : self.stop]

    def end(self) -> None:
        """Check that nothing is left."""
        if self.at != self.stop:
            raise self.malformed(f"{self.stop - self.at} bytes too many")

    def properties(self, context: int | None = None) -> Properties:
        """Read the property length and the properties allowed in this packet (`context`: in its will)."""
        context = self.packet if context is None else context
        length = self.varint()
        if not length:
            return NO_PROPERTIES
        stop = self.at + length
        if stop > self.stop:
            raise self.malformed("properties run past the end")
        outer, self.stop = self.stop, stop
        values: dict[str, Any] = {}
        while self.at < stop:
            self._property(context, values)
        self.stop = outer
        if "authentication_data" in values and "authentication_method" not in values:
            raise self.forbidden("authentication data without a method")
        return Properties(**values)

    def _property(self, context: int, values: dict[str, Any]) -> None:
        identifier = self.varint()
        spec = SPECS.get(identifier)
        if spec is None:
            raise self.malformed(f"unknown property 0x{identifier:02X}")
        name, kind, allowed, least, greatest = spec
        if context not in allowed:
            raise self.forbidden(f"property {name} is not allowed in {NAMES[context]}")
        read = getattr(self, kind)
        value = read(name) if kind in {"text", "pair"} else read()
        if isinstance(value, int) and not least <= value <= greatest:
            reason = Reason.TOPIC_ALIAS_INVALID if name == "topic_alias" else Reason.PROTOCOL_ERROR
            raise self.forbidden(f"{name} {value} is out of range", reason)
        if name == "user_property" or (name == "subscription_identifier" and context == PUBLISH):
            values[name] = (*values.get(name, ()), value)
        elif name in values:
            raise self.forbidden(f"property {name} twice")
        else:
            values[name] = (value,) if name == "subscription_identifier" else value


def varint(value: int) -> bytes:
    """Encode a variable byte integer (ValueError over 268,435,455)."""
    if value < 128:
        return bytes((value,))
    if value > REMAINING_LENGTH_MAX:
        raise ValueError(f"{value} does not fit into a variable byte integer")
    out = bytearray()
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def binary(raw: bytes) -> bytes:
    """Encode binary data with its two byte length (ValueError over 65,535 bytes)."""
    if len(raw) > STRING_BYTES_MAX:
        raise ValueError(f"{len(raw)} bytes where MQTT allows 65535")
    return _U16.pack(len(raw)) + raw


def text(value: str) -> bytes:
    """Encode a UTF-8 string (ValueError: too long, U+0000, or a lone surrogate)."""
    if "\0" in value:
        raise ValueError("U+0000 in a string")
    return binary(value.encode())


def u16(value: int) -> bytes:
    """Encode a two byte integer (ValueError if it does not fit)."""
    return _number(_U16, value)


def _number(form: struct.Struct, value: int) -> bytes:
    try:
        return form.pack(value)
    except struct.error:
        raise ValueError(f"{value} does not fit into {form.size} bytes") from None


def _pair(value: tuple[str, str]) -> bytes:
    return text(value[0]) + text(value[1])


_WRITERS: Final[Mapping[str, Any]] = {
    "u8": lambda value: bytes((value,)),
    "u16": u16,
    "u32": lambda value: _number(_U32, value),
    "varint": varint,
    "text": text,
    "binary": binary,
    "pair": _pair,
}


def properties(values: Properties) -> bytes:
    """Encode the property length and the properties, in the order of `Properties`."""
    if values is NO_PROPERTIES:
        return b"\0"
    out = bytearray()
    for name, (identifier, kind) in _IDENTIFIERS.items():
        value = getattr(values, name)
        if value is None:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            out.append(identifier)
            out += _WRITERS[kind](one)
    return varint(len(out)) + bytes(out)
