"""Checksums at the end of frames, and how they are written there.

``checksum = "crc16-modbus"`` is the short form, ``checksum = { type = "xor", form = "hex", sep = "*", skip = 1 }``
(NMEA 0183) the long one. Parameters of the CRCs are those of the usual catalogue (Williams' model: poly, init, refin,
refout, xorout); each type's value over "123456789" is in `CHECKS` and proven by a test.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Callable
from functools import reduce
from operator import xor
from typing import Annotated, Final, Literal

import msgspec

from gateway.framing.framer import raw

Sum = Callable[[bytes], int]
Check = Callable[[bytes], bytes | None]
"""Takes a frame with its checksum; returns it without, or None when the checksum is wrong or missing."""

Name = Literal["xor", "sum8", "crc8-07", "crc16-modbus", "crc16-arc", "ccitt-ffff", "crc32"]
Short = Literal["xor", "sum8", "xor-hex", "sum-hex", "crc8-07", "crc16-modbus", "crc16-arc", "ccitt-ffff", "crc32"]

WIDTHS: Final[dict[str, int]] = {  # bytes
    "xor": 1, "sum8": 1, "crc8-07": 1, "crc16-modbus": 2, "crc16-arc": 2, "ccitt-ffff": 2, "crc32": 4,
}  # fmt: skip
CHECKS: Final[dict[str, int]] = {  # over b"123456789"
    "xor": 0x31, "sum8": 0xDD, "crc8-07": 0xF4,
    "crc16-modbus": 0x4B37, "crc16-arc": 0xBB3D, "ccitt-ffff": 0x29B1, "crc32": 0xCBF43926,
}  # fmt: skip
_LITTLE: Final = {"crc16-modbus", "crc16-arc", "crc32"}  # low byte first on the wire, unless `order` says otherwise
_SHORT: Final[dict[str, tuple[Name, Literal["bytes", "hex"]]]] = {"xor-hex": ("xor", "hex"), "sum-hex": ("sum8", "hex")}


class Checksum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checksum that ends a frame."""

    type: Name
    form: Literal["bytes", "hex"] = "bytes"  # hex: as hexadecimal digits, two a byte
    order: Literal["little", "big"] | None = None  # default: little for crc16-modbus, crc16-arc and crc32 as bytes
    sep: str = ""  # between the body and the checksum, as "*"; taken off with it
    skip: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0  # so many first bytes are not covered
    over: Literal["bytes", "hex"] = "bytes"  # hex: the body is hexadecimal text, the sum is of the bytes it stands for

    def __post_init__(self) -> None:
        raw(self.sep)

    @property
    def width(self) -> int:
        """Return how many bytes of a frame it takes, its separator included."""
        return len(self.sep) + WIDTHS[self.type] * (2 if self.form == "hex" else 1)


def checksum_of(option: Short | Checksum | None) -> Checksum | None:
    """Return the long form of what an option says."""
    if option is None or isinstance(option, Checksum):
        return option
    name, form = _SHORT.get(option, (option, "bytes"))
    return Checksum(type=name, form=form)  # type: ignore[arg-type]  # what is not short is a name


def check_of(option: Short | Checksum | None) -> Check | None:
    """Return what verifies a frame and takes the checksum off; None when there is none."""
    found = checksum_of(option)
    if found is None:
        return None
    total, width, sep, skip = SUMS[found.type], found.width, raw(found.sep), found.skip
    over_hex, hexadecimal = found.over == "hex", found.form == "hex"
    order = found.order or ("little" if found.type in _LITTLE and not hexadecimal else "big")

    def check(frame: bytes) -> bytes | None:
        body, tail = frame[:-width], frame[-width:]
        if len(tail) < width or len(body) < skip or not tail.startswith(sep):
            return None
        said, covered = tail[len(sep) :], body[skip:] if skip else body
        if over_hex or hexadecimal:
            try:
                said = binascii.unhexlify(said) if hexadecimal else said
                covered = binascii.unhexlify(covered) if over_hex else covered
            except ValueError:
                return None
        return body if total(covered) == int.from_bytes(said, order) else None

    return check


def seal(option: Short | Checksum | None, body: bytes) -> bytes:
    """Return a frame as it is sent: the body with its checksum behind it. ValueError for a body it cannot be of."""
    found = checksum_of(option)
    if found is None:
        return body
    covered = body[found.skip :]
    total = SUMS[found.type](binascii.unhexlify(covered) if found.over == "hex" else covered)
    width, hexadecimal = WIDTHS[found.type], found.form == "hex"
    order = found.order or ("little" if found.type in _LITTLE and not hexadecimal else "big")
    said = total.to_bytes(width, order)
    return body + raw(found.sep) + (said.hex().upper().encode() if hexadecimal else said)


def _table(poly: int) -> tuple[int, ...]:
    """Return the 256 steps of a reflected CRC."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (poly if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


def _table8(poly: int) -> bytes:
    """Return the 256 steps of a CRC of 8 bits that is not reflected."""
    table = bytearray()
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc << 1 ^ (poly if crc & 0x80 else 0)) & 0xFF
        table.append(crc)
    return bytes(table)


_A001: Final = _table(0xA001)
_07: Final = _table8(0x07)


def crc16(data: bytes | bytearray, crc: int) -> int:
    """Go on with a CRC-16 of the reflected polynomial 0x8005: MODBUS begins with 0xFFFF, ARC with 0."""
    table = _A001
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc


def crc8_07(data: bytes | bytearray) -> int:
    """Return CRC-8/SMBUS, which EnOcean's ESP3 uses, too."""
    crc, table = 0, _07
    for byte in data:
        crc = table[crc ^ byte]
    return crc


SUMS: Final[dict[str, Sum]] = {
    "xor": lambda data: reduce(xor, data, 0),
    "sum8": lambda data: sum(data) & 0xFF,
    "crc8-07": crc8_07,
    "crc16-modbus": lambda data: crc16(data, 0xFFFF),
    "crc16-arc": lambda data: crc16(data, 0),
    "ccitt-ffff": lambda data: binascii.crc_hqx(data, 0xFFFF),
    "crc32": zlib.crc32,
}
