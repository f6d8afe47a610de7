"""Packets of one length: ``{ type = "fixed", length = 37, checksum = "sum8" }``. A frame is one, without its checksum.

Without `start` and checksum only a silence of `gap` shows where a packet begins.
"""

from __future__ import annotations

from gateway.framing.checksums import Checksum, Short, check_of, checksum_of
from gateway.framing.framer import CHECKSUM, BytesMax, Framer, FramingOptions, gap, raw
from gateway.framing.scanner import MORE, Found, Scanner, first_part


class Fixed(FramingOptions, frozen=True, kw_only=True, tag="fixed"):
    """A packet of `length` bytes, checksum and all."""

    length: BytesMax
    start: str = ""  # what every packet begins with; part of the frame
    checksum: Short | Checksum | None = None
    gap: str = "100ms"  # a packet has no pause this long

    def __post_init__(self) -> None:
        gap(self.gap)
        checksum = checksum_of(self.checksum)
        if self.length < len(raw(self.start)) + (0 if checksum is None else checksum.width):
            raise ValueError(f"{self.length} bytes do not hold start and checksum")
        if not (self.start or self.checksum or self.gap):
            raise ValueError("without start and checksum only a gap shows where a packet begins")

    def framer(self) -> Framer:
        """Return a framer of packets of one length."""
        return FixedFramer(self)


class FixedFramer(Scanner):
    """Takes as many bytes as a packet has."""

    def __init__(self, options: Fixed) -> None:
        super().__init__(gap(options.gap), anchored=bool(options.start or options.checksum))
        self._length = options.length
        self._start = raw(options.start)
        self._check = check_of(options.checksum)

    def beginning(self, at: int) -> int:
        """Find what packets begin with."""
        return first_part(self.buffer, self._start, at) if self._start else at

    def look(self, at: int) -> Found:
        """Take a packet and verify it."""
        if len(self.buffer) < at + self._length:
            return MORE
        packet = bytes(self.buffer[at : at + self._length])
        if self._check is None:
            return self._length, packet
        verified = self._check(packet)
        return self._length, CHECKSUM if verified is None else verified
