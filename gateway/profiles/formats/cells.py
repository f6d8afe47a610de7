"""Cells: one piece of text to a value, by its declared type. Strict: a garbled cell is refused, never guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal

from gateway.errors import DecodeError

Kind = Literal["text", "lower", "word", "int", "number", "hex", "hex-signed", "hex-magnitude", "bytes"]
"""
``text``           without white space around it; ``lower``: in lower case; ``word``: letters, digits, ``_-.`` only
``int``            decimal, with or without a sign; ``number``: also with a fraction; nothing at all is unknown
``hex``            hexadecimal, unsigned; ``hex-signed``: two's complement in as many digits as there are
``hex-magnitude``  hexadecimal, the topmost bit of its four digits or more is the sign (RFLink: 800d is -13, b0 is 176)
``bytes``          pairs of hexadecimal digits, kept as text in lower case (`bits` reads them)
"""

Cell = Callable[[str], Any]

DIGITS_MAX = 18  # of an integer: it fits 64 bits
NUMBER_CHARS_MAX = 40

_INT = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]{1,16}", re.ASCII)
_MAGNITUDE_DIGITS = 4  # at least so many hold the sign
_BYTES = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)
_WORD = re.compile(r"[\w.-]+")


def cell(kind: Kind) -> Cell:
    """Return the function that reads a cell of this kind. It raises DecodeError."""
    return _CELLS[kind]


def shown(text: str) -> str:
    """Return a cell for a reason, cut to a length that fits a line."""
    return f'"{text}"' if len(text) <= 40 else f'"{text[:37]}..."'


def _text(text: str) -> str:
    return text.strip()


def _lower(text: str) -> str:
    return text.strip().lower()


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise DecodeError(f"{shown(text)} is not one word")
    return text


def _int(text: str) -> int:
    if not _INT.fullmatch(text := text.strip()):
        raise DecodeError(f"{shown(text)} is not a whole number")
    return int(text)


def _number(text: str) -> float | int | None:
    text = text.strip()
    if text == "" or text.lower() == "nan":
        return None
    if len(text) > NUMBER_CHARS_MAX or not _NUMBER.fullmatch(text):
        raise DecodeError(f"{shown(text)} is not a number")
    if _INT.fullmatch(text):
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise DecodeError(f"{shown(text)} is not a number")
    return value


def _hex(text: str) -> int:
    if not _HEX.fullmatch(text := text.strip()):
        raise DecodeError(f"{shown(text)} is not hexadecimal")
    return int(text, 16)


def _hex_signed(text: str) -> int:
    value, top = _hex(text), 1 << (4 * len(text.strip()) - 1)
    return value - 2 * top if value & top else value


def _hex_magnitude(text: str) -> int:
    value, top = _hex(text), 1 << (4 * max(len(text.strip()), _MAGNITUDE_DIGITS) - 1)
    return -(value - top) if value & top else value


def _bytes(text: str) -> str:
    if not _BYTES.fullmatch(text := text.strip()):
        raise DecodeError(f"{shown(text)} is not bytes in hexadecimal")
    return text.lower()


_CELLS: dict[Kind, Cell] = {
    "text": _text,
    "lower": _lower,
    "word": _word,
    "int": _int,
    "number": _number,
    "hex": _hex,
    "hex-signed": _hex_signed,
    "hex-magnitude": _hex_magnitude,
    "bytes": _bytes,
}
