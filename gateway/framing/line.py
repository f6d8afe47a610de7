r"""Lines of text: ``framing = { type = "line" }``. A frame is a line without its end (and without ``\r`` before it)."""

from __future__ import annotations

from typing import Literal

from gateway.framing.checksums import Checksum, Short, check_of
from gateway.framing.framer import CHECKSUM, BytesMax, Framer, FramingOptions, marker
from gateway.framing.pieces import Pieces


class Line(FramingOptions, frozen=True, kw_only=True, tag="line"):
    """Text that ends with `end`; empty lines are nothing."""

    end: str = "\n"
    bytes_max: BytesMax = 1024
    checksum: Short | Checksum | None = None
    first: Literal["keep", "drop"] = "keep"  # drop: what begins within 0.1 s of connecting

    def __post_init__(self) -> None:
        marker(self.end)

    def framer(self) -> Framer:
        """Return a framer of lines."""
        return LineFramer(self)


class LineFramer(Pieces):
    """Cuts text into lines."""

    def __init__(self, options: Line) -> None:
        super().__init__(marker(options.end), options.bytes_max, drop_first=options.first == "drop")
        self._check = check_of(options.checksum)

    def body(self, piece: bytes) -> bytes | None:
        """Take the carriage return and the checksum off."""
        line = piece.rstrip(b"\r")
        if self._check is None or not line:
            return line
        found = self._check(line)
        if found is None:
            self.rejected[CHECKSUM] += 1
        return found
