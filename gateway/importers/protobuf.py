"""Sparkplug B's payload, read by hand: varints, tags, and the two messages that matter.

Source: Eclipse Sparkplug 3.0, chapter 6 (payload definition), and the Protocol Buffers encoding guide. Unknown fields
are skipped; groups, which nobody uses, are an error. Signed integers come as two's complement of their own width.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

METRICS_MAX = 2_000  # of one payload
PROPERTIES_MAX = 64  # of one metric
TEXT_CHARS_MAX = 1_024
VARINT_BYTES_MAX = 10

INT8, INT64, BOOLEAN, FLOAT, DOUBLE = 1, 4, 11, 9, 10
_BITS = {1: 8, 2: 16, 3: 32, 4: 64}
NUMBERS = frozenset(range(1, 11))
TEXTS = frozenset({12, 14, 15})


class Malformed(ValueError):
    """Bytes that are no such payload."""


class Metric(NamedTuple):
    """One value. What is not sent is None; `value` of a null is None."""

    name: str | None
    alias: int | None
    timestamp: int | None
    datatype: int | None
    historical: bool
    transient: bool
    null: bool
    value: Any
    unit: str


class Payload(NamedTuple):
    """One message."""

    timestamp: int | None
    seq: int | None
    metrics: list[Metric]


def read_payload(raw: bytes) -> Payload:
    """Read a message. Raises Malformed."""
    timestamp: int | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    for number, value in _fields(raw):
        if number == 1 and isinstance(value, int):
            timestamp = value
        elif number == 3 and isinstance(value, int):
            seq = value
        elif number == 2 and isinstance(value, bytes):
            if len(metrics) >= METRICS_MAX:
                raise Malformed(f"more than {METRICS_MAX} metrics")
            metrics.append(_metric(value))
    return Payload(timestamp, seq, metrics)


def signed(value: Any, datatype: int | None) -> Any:
    """Return an integer as its datatype has it."""
    bits = _BITS.get(datatype or 0)
    if bits is None or not isinstance(value, int) or isinstance(value, bool):
        return value
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _metric(raw: bytes) -> Metric:
    name: str | None = None
    alias = timestamp = datatype = None
    flags = {5: False, 6: False, 7: False}
    value: Any = None
    unit = ""
    for number, field in _fields(raw):
        if number == 1 and isinstance(field, bytes):
            name = _text(field)
        elif number in (2, 3, 4) and isinstance(field, int):
            alias, timestamp, datatype = (
                field if number == 2 else alias, field if number == 3 else timestamp, field if number == 4 else datatype
            )  # fmt: skip
        elif number in flags and isinstance(field, int):
            flags[number] = bool(field)
        elif number == 9 and isinstance(field, bytes):
            unit = _unit(field)
        elif 10 <= number <= 19:
            value = _value(number, field)
    null = flags[7]
    return Metric(name, alias, timestamp, datatype, flags[5], flags[6], null, None if null else value, unit)


def _value(number: int, field: Any) -> Any:
    if number == 12 and isinstance(field, bytes) and len(field) == 4:
        return struct.unpack("<f", field)[0]
    if number == 13 and isinstance(field, bytes) and len(field) == 8:
        return struct.unpack("<d", field)[0]
    if number in (10, 11) and isinstance(field, int):
        return field
    if number == 14 and isinstance(field, int):
        return bool(field)
    if number == 15 and isinstance(field, bytes):
        return _text(field)
    if number in (16, 17, 18, 19) and isinstance(field, bytes):
        return field
    raise Malformed(f"a value of field {number} in another form than its own")


def _unit(raw: bytes) -> str:
    """Return `engUnit` of a property set, or nothing."""
    keys: list[str] = []
    values: list[bytes] = []
    for number, field in _fields(raw):
        if isinstance(field, bytes) and number in (1, 2) and len(keys) + len(values) < 2 * PROPERTIES_MAX:
            if number == 1:
                keys.append(_text(field))
            else:
                values.append(field)
    for key, value in zip(keys, values, strict=False):
        if key.lower() in ("engunit", "engunits", "unit"):
            return next((_text(f) for n, f in _fields(value) if n == 8 and isinstance(f, bytes)), "")[:32]
    return ""


def _text(raw: bytes) -> str:
    if len(raw) > 4 * TEXT_CHARS_MAX:
        raise Malformed(f"a text of {len(raw)} bytes")
    try:
        return raw.decode()[:TEXT_CHARS_MAX]
    except UnicodeDecodeError:
        raise Malformed("text that is not UTF-8") from None


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of a message: an int for a varint, bytes for all else."""
    at, end = 0, len(raw)
    while at < end:
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("field 0")
        if wire == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(raw, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise Malformed(f"wire type {wire}")
        if at + size > end:
            raise Malformed("it breaks off")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * VARINT_BYTES_MAX, 7):
        if at >= len(raw):
            raise Malformed("it breaks off")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Malformed("a number without an end")
