"""What a command sends: the value the other way round, lines of text, bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway import units
from gateway.errors import DecodeError
from gateway.framing.checksums import seal
from gateway.framing.framer import marker
from gateway.framing.line import Line
from gateway.framing.options import Framing
from gateway.profiles.language import Field
from gateway.profiles.values import shown, steps_of, text_of
from gateway.profiles.vocabulary import meaning


def inverse_of(field: Field, value: Any) -> Any:
    """Return the raw value that a field reads as this one: the first of its map, or the number before its unit."""
    if field.map:
        for raw, read in field.map.items():
            if read == value and isinstance(read, bool) is isinstance(value, bool):
                return _typed(raw)
        raise DecodeError(f"{shown(value)} is none of what {field.name} can be")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    means = meaning(field.name)
    scale, offset = steps_of(field, means.unit if means else None)
    number = round(float(value - offset) / scale, units.DECIMALS)
    return int(number) if number.is_integer() else number


def _typed(raw: str) -> Any:
    """Return the text form of a raw value as JSON has it."""
    if raw in ("true", "false"):
        return raw == "true"
    return int(raw) if raw.lstrip("-").isdigit() and len(raw) < 16 and str(int(raw)) == raw else raw


def line_bytes(framing: Framing | None, template: str, captures: Mapping[str, str], value: Any) -> bytes:
    """Return a line of text with the checksum of its framing and its end. DecodeError when it would be two lines."""
    end = marker(framing.end) if isinstance(framing, Line) else b"\n"
    text = filled(template.replace("$value", text_of(value)), captures)
    if not text.isprintable() and not text.replace("\t", " ").isprintable():
        raise DecodeError(f"{shown(text)} holds control characters")
    return (seal(framing.checksum, text.encode()) if isinstance(framing, Line) else text.encode()) + end


_HEX_VALUE = re.compile(r"\$value(?::([1-8])(le)?)?")


def serial_bytes(template: str, captures: Mapping[str, str], value: Any) -> bytes:
    """Return the bytes of a `hex` template. DecodeError for a value that does not fit."""

    def number_of(found: re.Match[str]) -> str:
        width = int(found[1] or 1)
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            given = int(value)
            if not -(1 << (8 * width - 1)) <= given < 1 << (8 * width):
                raise DecodeError(f"{shown(value)} does not fit {width} bytes")
            return (given % (1 << (8 * width))).to_bytes(width, "little" if found[2] else "big").hex()
        return text_of(value)  # hexadecimal digits, as a map has them

    text = filled(_HEX_VALUE.sub(number_of, template), captures)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise DecodeError(f"{shown(text)} is not bytes in hexadecimal") from None


def filled(text: str, captures: Mapping[str, str]) -> str:
    """Fill in what was captured of a device."""
    for name, captured in captures.items():
        text = text.replace(f"{{{name}}}", captured)
    return text
