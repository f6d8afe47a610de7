r"""Packets that say how long they are: ``{ type = "length" }``. A frame is the packet without its length bytes.

The defaults are RFXtrx433's: the first byte is the number of bytes behind it. Heatmiser's replies would be
``{ type = "length", offset = 1, width = 2, counts = "all", checksum = { type = "ccitt-ffff", order = "little" } }``.
The checksum covers the whole packet. Without one and without `start` any byte may be a length: after a refusal nothing
is a frame until the line was silent for `gap`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.framing.checksums import Checksum, Short, check_of, checksum_of
from gateway.framing.framer import CHECKSUM, TOO_LONG, BytesMax, Framer, FramingOptions, gap, raw
from gateway.framing.scanner import MORE, Found, Scanner, first_part

LENGTH_REASON = "length"  # too small to be one


class Length(FramingOptions, frozen=True, kw_only=True, tag="length"):
    """A packet with a length in it."""

    offset: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0  # bytes of the packet before the length
    width: Literal[1, 2, 4] = 1  # bytes of the length
    order: Literal["little", "big"] = "little"
    counts: Literal["rest", "all"] = "rest"  # the bytes behind the length, or those of the whole packet
    extra: Annotated[int, msgspec.Meta(ge=-64, le=64)] = 0  # bytes of the packet beyond what the length counts
    start: str = ""  # what every packet begins with; part of the frame
    length_min: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 1  # a smaller length is none
    bytes_max: BytesMax = 256  # of the whole packet
    checksum: Short | Checksum | None = None
    gap: str = "100ms"  # a packet has no pause this long

    def __post_init__(self) -> None:
        gap(self.gap)
        if len(raw(self.start)) > self.offset and self.start:
            raise ValueError(f"start has {len(self.start)} bytes, but the length stands at offset {self.offset}")
        if not (self.start or self.checksum or self.gap):
            raise ValueError("without start and checksum only a gap shows where a packet begins")

    def framer(self) -> Framer:
        """Return a framer of packets with a length."""
        return LengthFramer(self)


class LengthFramer(Scanner):
    """Reads the length and waits for as many bytes."""

    def __init__(self, options: Length) -> None:
        checksum = checksum_of(options.checksum)
        super().__init__(gap(options.gap), anchored=bool(options.start or checksum))
        self._start = raw(options.start)
        self._at = options.offset
        self._behind = options.offset + options.width  # the length
        self._order: Literal["little", "big"] = options.order
        self._adds = (self._behind if options.counts == "rest" else 0) + options.extra
        self._value_min = options.length_min
        self._bytes_min = self._behind + (0 if checksum is None else checksum.width) + (not options.offset)
        self._bytes_max = options.bytes_max
        self._check = check_of(checksum)

    def beginning(self, at: int) -> int:
        """Find what packets begin with."""
        return first_part(self.buffer, self._start, at) if self._start else at

    def look(self, at: int) -> Found:
        """Read the length; refuse what cannot be one."""
        buffer = self.buffer
        behind = at + self._behind
        if len(buffer) < behind:
            return MORE
        value = int.from_bytes(buffer[at + self._at : behind], self._order)
        total = value + self._adds
        if value < self._value_min or total < self._bytes_min:
            return self._behind, LENGTH_REASON
        if total > self._bytes_max:
            return self._behind, TOO_LONG
        if len(buffer) < at + total:
            return MORE
        packet = bytes(buffer[at : at + total])
        if self._check is not None:
            verified = self._check(packet)
            if verified is None:
                return total, CHECKSUM
            packet = verified
        return total, packet[: self._at] + packet[self._behind :]
