"""Frames between silences: ``{ type = "gap", gap = "20ms" }``, for devices that mark nothing else.

A gap must be longer than the pauses inside a frame, among them those that the adapter makes (16 ms with FTDI's usual
latency timer), and shorter than those between frames.
"""

from __future__ import annotations

from collections import Counter

from gateway.framing.checksums import Checksum, Short, check_of
from gateway.framing.framer import CHECKSUM, CUT_SHORT, TOO_LONG, BytesMax, Framer, FramingOptions, gap


class Gap(FramingOptions, frozen=True, kw_only=True, tag="gap"):
    """Whatever comes without a pause of `gap` is one frame."""

    gap: str
    bytes_max: BytesMax = 1024
    checksum: Short | Checksum | None = None

    def __post_init__(self) -> None:
        if not gap(self.gap):
            raise ValueError("a gap is longer than nothing")

    def framer(self) -> Framer:
        """Return a framer of what is between silences."""
        return GapFramer(self)


class GapFramer:
    """Collects until the line is silent."""

    def __init__(self, options: Gap) -> None:
        self.rejected: Counter[str] = Counter()
        self.gap_s = gap(options.gap)
        self._buffer = bytearray()
        self._bytes_max = options.bytes_max
        self._too_long = False
        self._check = check_of(options.checksum)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; a frame is whole only with the silence behind it."""
        if not self._too_long:
            self._buffer += data
            if len(self._buffer) > self._bytes_max:
                self._buffer.clear()
                self._too_long = True
                self.rejected[TOO_LONG] += 1
        return []

    def idle(self) -> list[bytes]:
        """Return the frame that ended."""
        frame: bytes | None = bytes(self._buffer)
        self._buffer.clear()
        self._too_long = False
        if not frame:
            return []
        if self._check is not None:
            frame = self._check(frame)
            if frame is None:
                self.rejected[CHECKSUM] += 1
        return [frame] if frame else []

    def reset(self) -> None:
        """Refuse what has not ended."""
        if self._buffer:
            self.rejected[CUT_SHORT] += 1
        self._buffer.clear()
        self._too_long = False
