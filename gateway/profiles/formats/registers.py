"""Registers: the answer to a poll as members by number and type, ``{"2:int16": 21, "8:uint16": 0}``.

No profile writes this table: it is made of its [[poll]] and of what the fields read of it (`profiles/polls.py`).
Registers are 16 bits, high byte first; a larger value takes several, and makers disagree which 16 bits come first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from gateway.errors import DecodeError
from gateway.profiles.formats.table import Parse, Table

Type = Literal["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bit"]
Words = Literal["high-first", "low-first"]

FORMS: dict[str, str] = {
    "int8": ">b", "uint8": ">B", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I",
    "int64": ">q", "uint64": ">Q", "float32": ">f", "float64": ">d",
}  # fmt: skip
FLOAT32_DIGITS = range(6, 10)  # the shortest that is the same number again is one of these


class Member(NamedTuple):
    """One value: at which place of the answer, of what type."""

    name: str
    at: int  # registers (for a bit: bits) from the beginning
    type: Type
    words: Words = "high-first"
    mask: int = 0  # these bits only, moved down to bit 0; 0: all
    step: int = 2  # bytes a register; 1: the number is that of a byte


class Registers(Table, frozen=True, kw_only=True, tag="registers"):
    """Members of an answer of `bytes` bytes."""

    bytes: int
    members: tuple[Member, ...]

    def reader(self) -> Parse:
        """Return the function that reads the members."""
        size, members = self.bytes, [(member.name, reader(member)) for member in self.members]

        def parse(payload: bytes) -> dict[str, Any]:
            if len(payload) != size:
                raise DecodeError(f"an answer of {len(payload)} bytes to a poll of {size}")
            return {name: read(payload) for name, read in members}

        return parse


def width(kind: Type, step: int = 2) -> int:
    """Return how many registers of `step` bytes a type takes (a bit: one bit; 0: it is smaller than one)."""
    return 1 if kind == "bit" else struct.calcsize(FORMS[kind]) // step


def swapped(content: bytes) -> bytes:
    """Return the 16-bit words in the opposite order."""
    return b"".join(content[at : at + 2] for at in range(len(content) - 2, -1, -2))


def reader(member: Member) -> Callable[[bytes], Any]:
    """Return the function that reads one member; None is no number (NaN, infinite)."""
    if member.type == "bit":
        at, bit = divmod(member.at, 8)
        return lambda content: content[at] >> bit & 1
    form = struct.Struct(FORMS[member.type])
    start, turned = member.step * member.at, member.words == "low-first" and form.size > 2
    mask, shift = member.mask, (member.mask & -member.mask).bit_length() - 1

    def read(content: bytes) -> Any:
        raw = content[start : start + form.size]
        (value,) = form.unpack(swapped(raw) if turned else raw)
        if value.__class__ is float:
            return shortest(value) if form.size == 4 else value if value - value == 0 else None
        return (value & mask) >> shift if mask else value

    return read


def shortest(value: float) -> float | None:
    """Return a 32-bit float as it was meant, 230.2 and not 230.1999969: the fewest digits that give it again."""
    if value - value != 0:
        return None
    for digits in FLOAT32_DIGITS:
        text = float(f"{value:.{digits}g}")
        if struct.unpack(">f", struct.pack(">f", text))[0] == value:
            return text
    return value
