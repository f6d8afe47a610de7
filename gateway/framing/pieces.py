"""Splits a stream at a delimiter: what lines, delimited frames, SLIP and COBS have in common."""

from __future__ import annotations

from collections import Counter

from gateway.framing.framer import CUT_SHORT, TOO_LONG

FIRST = "first"  # the first piece after (re)connecting, when it began before there was a silence
FIRST_GAP_S = 0.1  # behind such a silence a piece has not lost its beginning


class Pieces:
    """The pieces between delimiters, none longer than `bytes_max`; empty ones are dropped silently."""

    def __init__(self, end: bytes, bytes_max: int, *, drop_first: bool = False) -> None:
        self.rejected: Counter[str] = Counter()
        self.gap_s = FIRST_GAP_S if drop_first else 0.0
        self._end = end
        self._bytes_max = bytes_max
        self._rest_max = bytes_max + len(end) - 1  # a rest this long may still be a piece and most of its delimiter
        self._rest = b""
        self._skipping = False  # inside a piece that is too long, up to the next delimiter
        self._drop_first = self._first = drop_first

    def body(self, piece: bytes) -> bytes | None:
        """Return the frame in a piece; None (counted) when there is none, b"" to drop it silently."""
        return piece

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the frames that ended."""
        pieces = (self._rest + data).split(self._end)
        rest = pieces.pop()
        if pieces:
            if self._skipping:
                self._skipping = False
                pieces[0] = b""
                self._first = False
            frames = self._frames(pieces)
        else:
            frames = []
        if self._skipping or len(rest) > self._rest_max:
            if not self._skipping:
                self.rejected[TOO_LONG] += 1
                self._skipping = True
            keep = len(self._end) - 1
            rest = rest[-keep:] if keep else b""
        self._rest = rest
        return frames

    def _frames(self, pieces: list[bytes]) -> list[bytes]:
        frames: list[bytes] = []
        bytes_max, body = self._bytes_max, self.body
        for piece in pieces:
            if len(piece) > bytes_max:
                self.rejected[TOO_LONG] += 1
                self._first = False
            elif self._first and piece:
                self._first = False
                self.rejected[FIRST] += 1
            elif piece and (frame := body(piece)):
                frames.append(frame)
        return frames

    def idle(self) -> list[bytes]:
        """Return nothing: only a delimiter ends a piece, however long the sender hesitates; but one begins now."""
        if not self._rest and not self._skipping:
            self._first = False
        return []

    def reset(self) -> None:
        """Refuse what has no end."""
        if self._rest and not self._skipping:
            self.rejected[CUT_SHORT] += 1
        self._rest = b""
        self._skipping = False
        self._first = self._drop_first
