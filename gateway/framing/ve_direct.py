r"""Blocks of Victron's VE.Direct text: ``{ type = "ve-direct" }``. A frame is the records, ``\r\n`` between them.

A block is records ``\r\nlabel\tvalue`` up to ``\r\nChecksum\t`` and one byte that makes the sum of all its bytes 0
(modulo 256). Between blocks, and now and then inside one, stand messages of the HEX protocol, ``:A0102000345\n``, which
that sum does not cover: they are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from gateway.framing.framer import CHECKSUM, CUT_SHORT, NOISE, TOO_LONG, BytesMax, Framer, FramingOptions, gap

_MARK: Final = b"\r\nChecksum\t"
_BEHIND: Final = 1  # byte of checksum
_HEX: Final = re.compile(rb":[0-9A-F]{0,128}\n")
_START: Final = b"\r\n"


class VeDirect(FramingOptions, frozen=True, kw_only=True, tag="ve-direct"):
    """What a charger or a battery monitor says every second."""

    bytes_max: BytesMax = 2048  # of a block and the HEX messages before and in it
    gap: str = "500ms"  # a block has no pause this long

    def __post_init__(self) -> None:
        gap(self.gap)

    def framer(self) -> Framer:
        """Return a framer of VE.Direct's blocks."""
        return VeDirectFramer(self)


class VeDirectFramer:
    """Cuts behind each checksum: a block begins where the one before it ended, or after a silence."""

    def __init__(self, options: VeDirect) -> None:
        self.rejected: Counter[str] = Counter()
        self.gap_s = gap(options.gap)
        self._bytes_max = options.bytes_max
        self._buffer = bytearray()
        self._searched = 0  # bytes of it in which no mark begins
        self._skipping = False  # inside a block that is too long, up to its checksum

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the blocks that are whole with them."""
        frames: list[bytes] = []
        buffer = self._buffer
        buffer += data
        while True:
            mark = buffer.find(_MARK, self._searched)
            end = mark + len(_MARK) + _BEHIND
            if mark < 0 or len(buffer) < end:
                self._searched = mark if mark >= 0 else max(0, len(buffer) - len(_MARK) + 1)
                break
            block = bytes(buffer[:end])
            del buffer[:end]
            self._searched = 0
            frame = self._verified(block)
            if frame:
                frames.append(frame)
        if len(buffer) >= self._bytes_max or (self._skipping and self._searched):
            if not self._skipping:
                self.rejected[TOO_LONG] += 1
                self._skipping = True
            del buffer[: self._searched]
            self._searched = 0
        return frames

    def idle(self) -> list[bytes]:
        """Give up a block that is not whole; HEX messages alone are none."""
        self.reset()
        return []

    def reset(self) -> None:
        """Refuse what is unfinished."""
        if _HEX.sub(b"", bytes(self._buffer)) and not self._skipping:
            self.rejected[CUT_SHORT] += 1
        self._buffer.clear()
        self._searched = 0
        self._skipping = False

    def _verified(self, block: bytes) -> bytes | None:
        if self._skipping:
            self._skipping = False
            return None
        if len(block) > self._bytes_max:
            self.rejected[TOO_LONG] += 1
            return None
        records = _HEX.sub(b"", block[: -len(_MARK) - _BEHIND])
        if not records.startswith(_START):
            self.rejected[NOISE] += 1
        elif (sum(records) + sum(block[-len(_MARK) - _BEHIND :])) & 0xFF:
            self.rejected[CHECKSUM] += 1
        else:
            return records[len(_START) :]
        return None
