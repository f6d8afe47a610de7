"""Members read out of bytes: at a byte or a bit, so wide, in that order, of that kind.

The bytes stand in the document as hexadecimal text (`from`, "data" unless told otherwise), whether they came as raw
bytes or were printed by a modem. Bits are counted as data sheets do: from the first byte's most significant bit, 0.
What lies beyond the end is absent, so that frames of several lengths need one table.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from gateway.errors import DecodeError

RECORDS_MAX = 64  # of an array in one frame
BITS_MAX = 64  # of one member that is a number

Order = Literal["big", "little", "big-swapped", "little-swapped"]
Kind = Literal["unsigned", "signed", "magnitude", "ones", "bcd", "float", "bool", "hex", "text"]
"""``magnitude``: the topmost bit is the sign; ``ones``: one's complement; ``bcd``: a digit in four bits."""


class Bits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member: `bytes` wide at byte `at`, or `bits` wide at `bit`, counted from byte `at`."""

    name: str
    source: str = msgspec.field(name="from", default="data")
    at: int = 0  # byte; negative: counted from the end
    bit: Annotated[int, msgspec.Meta(ge=0)] | None = None
    bits: Annotated[int, msgspec.Meta(ge=1, le=BITS_MAX)] | None = None
    bytes: Annotated[int, msgspec.Meta(ge=0, le=256)] | None = None  # 0: all that are left (hex and text only)
    order: Order = "big"  # "-swapped": 16-bit words the other way round
    kind: Kind = "unsigned"


class Every(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A member that is an array of records, each `bytes` long, read into the list `name`."""

    name: str
    bytes: Annotated[int, msgspec.Meta(ge=1, le=256)]
    bits: list[Bits]
    source: str = msgspec.field(name="from", default="data")
    at: Annotated[int, msgspec.Meta(ge=0)] = 0  # the byte at which the first record begins
    also: list[str] = []  # members of the message that each record is to have, too (whose frame it was)


Member = Callable[[bytes], Any]
Extend = Callable[[dict[str, Any]], None]


def bits_reader(wanted: list[Bits]) -> Extend:
    """Return the function that adds these members to a document. ValueError for one that cannot be."""
    members = [(one.name, one.source, member(one)) for one in wanted]

    def extend(document: dict[str, Any]) -> None:
        found: dict[str, bytes | None] = {}
        for name, source, read in members:
            if source not in found:
                found[source] = bytes_of(document, source)
            raw = found[source]
            value = None if raw is None else read(raw)
            if value is not None:
                document[name] = value

    return extend


def every_reader(every: Every) -> Extend:
    """Return the function that adds the list of records to a document. ValueError when a member cannot be."""
    members = [(one.name, member(one)) for one in every.bits]

    def extend(document: dict[str, Any]) -> None:
        raw = bytes_of(document, every.source)
        if raw is None:
            return
        body = raw[every.at :]
        count, left = divmod(len(body), every.bytes)
        if left or count > RECORDS_MAX:
            raise DecodeError(f"{len(body)} bytes are not up to {RECORDS_MAX} records of {every.bytes}")
        shared = {name: document[name] for name in every.also if name in document}
        document[every.name] = [
            {**shared, **{name: value for name, read in members if (value := read(record)) is not None}}
            for record in (body[i : i + every.bytes] for i in range(0, len(body), every.bytes))
        ]

    return extend


def bytes_of(document: dict[str, Any], name: str) -> bytes | None:
    """Return a hexadecimal member as bytes, None when there is none. DecodeError when it is not hexadecimal."""
    text = document.get(name)
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except (ValueError, TypeError):
        raise DecodeError(f"{name} is not bytes in hexadecimal") from None


def member(one: Bits) -> Member:
    """Compile one member. Raises ValueError when it says two things or nothing that fits its kind."""
    if one.bit is not None or one.bits is not None:
        if one.bytes is not None:
            raise ValueError(f"{one.name}: either `bytes` or `bit` and `bits`")
        if one.kind in ("hex", "text", "float") or one.order != "big":
            raise ValueError(f"{one.name}: {one.kind}, {one.order} is read from whole bytes")
        return _at_bit(one.at, one.bit or 0, one.bits or 1, _number(one.kind, one.bits or 1))
    width = 1 if one.bytes is None else one.bytes
    if one.kind in ("hex", "text"):
        return _slice(one.at, width, _hex if one.kind == "hex" else _text)
    if not 1 <= width <= BITS_MAX // 8:
        raise ValueError(f"{one.name}: a number is 1 to {BITS_MAX // 8} bytes wide")
    if one.kind == "float" and width not in (4, 8):
        raise ValueError(f"{one.name}: a float is 4 or 8 bytes wide")
    if one.order.endswith("-swapped") and width % 2:
        raise ValueError(f"{one.name}: words can be swapped in an even number of bytes")
    arranged, convert = _ORDERS[one.order], _number(one.kind, 8 * width)
    return _slice(one.at, width, lambda raw: convert(int.from_bytes(arranged(raw), "big")))


def _slice(at: int, width: int, convert: Callable[[bytes], Any]) -> Member:
    def read(raw: bytes) -> Any:
        start = at if at >= 0 else len(raw) + at
        end = start + width if width else len(raw)
        return convert(raw[start:end]) if start >= 0 and end <= len(raw) else None

    return read


def _at_bit(at: int, bit: int, bits: int, convert: Callable[[int], Any]) -> Member:
    def read(raw: bytes) -> Any:
        first = 8 * (at if at >= 0 else len(raw) + at) + bit
        last = first + bits
        if first < 0 or last > 8 * len(raw):
            return None
        end = (last + 7) // 8
        number = int.from_bytes(raw[first // 8 : end], "big") >> (8 * end - last)
        return convert(number & ((1 << bits) - 1))

    return read


def _number(kind: Kind, bits: int) -> Callable[[int], Any]:
    top = 1 << (bits - 1)
    if kind == "signed":
        return lambda n: n - 2 * top if n & top else n
    if kind == "magnitude":
        return lambda n: -(n - top) if n & top else n
    if kind == "ones":
        return lambda n: -(2 * top - 1 - n) if n & top else n
    if kind == "bool":
        return lambda n: n != 0
    if kind == "bcd":
        return _bcd
    if kind == "float":
        form = ">f" if bits == 32 else ">d"
        return lambda n: _finite(struct.unpack(form, n.to_bytes(bits // 8, "big"))[0])
    return lambda n: n


def _bcd(number: int) -> int:
    text = f"{number:x}"
    if not text.isdecimal():
        raise DecodeError(f"0x{text} is not digits in four bits each")
    return int(text)


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None


def _hex(raw: bytes) -> str:
    return raw.hex()


def _text(raw: bytes) -> str:
    text = raw.rstrip(b"\0 ").decode("latin-1")
    if not text.isprintable():
        raise DecodeError("control characters in a text")
    return text


def _swapped(raw: bytes) -> bytes:
    return b"".join(raw[i : i + 2] for i in range(len(raw) - 2, -1, -2))


_ORDERS: dict[Order, Callable[[bytes], bytes]] = {
    "big": lambda raw: raw,
    "little": lambda raw: raw[::-1],
    "big-swapped": _swapped,
    "little-swapped": lambda raw: _swapped(raw[::-1]),
}
