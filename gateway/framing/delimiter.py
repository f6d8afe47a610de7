r"""Frames that end with a byte or more: ``{ type = "delimiter", delimiter = "\u00ff" }``. A frame is without it."""

from __future__ import annotations

from typing import Literal

from gateway.framing.checksums import Checksum, Short, check_of
from gateway.framing.framer import CHECKSUM, BytesMax, Framer, FramingOptions, marker
from gateway.framing.pieces import Pieces


class Delimiter(FramingOptions, frozen=True, kw_only=True, tag="delimiter"):
    """Bytes up to `delimiter`, which stands nowhere inside; nothing between two of them is nothing."""

    delimiter: str
    bytes_max: BytesMax = 1024
    checksum: Short | Checksum | None = None
    first: Literal["keep", "drop"] = "keep"  # drop: what begins within 0.1 s of connecting

    def __post_init__(self) -> None:
        marker(self.delimiter)

    def framer(self) -> Framer:
        """Return a framer of what is between delimiters."""
        return DelimiterFramer(self)


class DelimiterFramer(Pieces):
    """Cuts bytes at a delimiter."""

    def __init__(self, options: Delimiter) -> None:
        super().__init__(marker(options.delimiter), options.bytes_max, drop_first=options.first == "drop")
        self._check = check_of(options.checksum)

    def body(self, piece: bytes) -> bytes | None:
        """Take the checksum off."""
        if self._check is None:
            return piece
        found = self._check(piece)
        if found is None:
            self.rejected[CHECKSUM] += 1
        return found
