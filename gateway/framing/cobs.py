"""COBS (Cheshire and Baker, 1999): ``{ type = "cobs", checksum = "ccitt-ffff" }``. A frame is the decoded packet.

Packets end with a zero byte and have none inside: each code byte says after how many bytes the next zero was.
"""

from __future__ import annotations

from typing import Final, Literal

from gateway.framing.checksums import Checksum, Short, check_of
from gateway.framing.framer import CHECKSUM, BytesMax, Framer, FramingOptions
from gateway.framing.pieces import Pieces

CODE_REASON: Final = "code"  # a code byte points behind the end of its packet
_FULL: Final = 0xFF  # 254 bytes without a zero behind them


class Cobs(FramingOptions, frozen=True, kw_only=True, tag="cobs"):
    """Packets that end with 00."""

    bytes_max: BytesMax = 2048  # as sent
    checksum: Short | Checksum | None = None
    first: Literal["keep", "drop"] = "keep"  # drop: what begins within 0.1 s of connecting

    def framer(self) -> Framer:
        """Return a framer of COBS packets."""
        return CobsFramer(self)


class CobsFramer(Pieces):
    """Cuts at 00 and decodes."""

    def __init__(self, options: Cobs) -> None:
        super().__init__(b"\0", options.bytes_max, drop_first=options.first == "drop")
        self._check = check_of(options.checksum)

    def body(self, piece: bytes) -> bytes | None:
        """Decode a packet and take its checksum off."""
        packet = decode(piece)
        if packet is None:
            self.rejected[CODE_REASON] += 1
        elif self._check is not None:
            packet = self._check(packet)
            if packet is None:
                self.rejected[CHECKSUM] += 1
        return packet


def decode(piece: bytes) -> bytes | None:
    """Decode a packet that has no zeros; None when a code points behind its end."""
    parts: list[bytes] = []
    at, end = 0, len(piece)
    while at < end:
        code = piece[at]
        following = at + code
        if following > end:
            return None
        parts.append(piece[at + 1 : following])
        if code != _FULL and following < end:
            parts.append(b"\0")
        at = following
    return b"".join(parts)
