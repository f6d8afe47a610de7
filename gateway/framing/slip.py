"""SLIP (RFC 1055): ``{ type = "slip" }``. A frame is what was between two C0, unescaped, its checksum taken off."""

from __future__ import annotations

from typing import Final, Literal

from gateway.framing.checksums import Checksum, Short, check_of
from gateway.framing.framer import CHECKSUM, BytesMax, Framer, FramingOptions
from gateway.framing.pieces import Pieces

ESCAPE_REASON: Final = "escape"  # DB before anything but DC and DD
_END, _ESC, _ESC_END, _ESC_ESC = b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"


class Slip(FramingOptions, frozen=True, kw_only=True, tag="slip"):
    """Packets between C0; DB DC stands for C0 and DB DD for DB inside."""

    bytes_max: BytesMax = 2048  # as sent, escapes included
    checksum: Short | Checksum | None = None
    first: Literal["keep", "drop"] = "keep"  # drop: what begins within 0.1 s of connecting

    def framer(self) -> Framer:
        """Return a framer of SLIP packets."""
        return SlipFramer(self)


class SlipFramer(Pieces):
    """Cuts at C0 and unescapes."""

    def __init__(self, options: Slip) -> None:
        super().__init__(_END, options.bytes_max, drop_first=options.first == "drop")
        self._check = check_of(options.checksum)

    def body(self, piece: bytes) -> bytes | None:
        """Unescape a packet and take its checksum off."""
        if _ESC in piece:
            if piece.count(_ESC) != piece.count(_ESC_END) + piece.count(_ESC_ESC):
                self.rejected[ESCAPE_REASON] += 1
                return None
            piece = piece.replace(_ESC_END, _END).replace(_ESC_ESC, _ESC)
        if self._check is None:
            return piece
        found = self._check(piece)
        if found is None:
            self.rejected[CHECKSUM] += 1
        return found
