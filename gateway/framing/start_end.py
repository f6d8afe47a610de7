r"""Frames between two marks: ``{ type = "start-end", start = "\u0002", end = "\u0003" }``. A frame is what is between.

The checksum, if any, stands before the end mark (RDM6300 readers) or behind it (STX ... ETX BCC), as `checksum_at`
says. Without a checksum the start mark must not stand inside a frame: a new one says that the frame before it was cut
short. With one, whatever verifies is a frame.
"""

from __future__ import annotations

from typing import Literal

from gateway.framing.checksums import Checksum, Short, check_of, checksum_of
from gateway.framing.framer import CHECKSUM, CUT_SHORT, TOO_LONG, BytesMax, Framer, FramingOptions, gap, marker
from gateway.framing.scanner import MORE, Found, Scanner, first_part


class StartEnd(FramingOptions, frozen=True, kw_only=True, tag="start-end"):
    """Bytes from `start` to `end`."""

    start: str
    end: str
    bytes_max: BytesMax = 1024  # between the marks
    checksum: Short | Checksum | None = None
    checksum_at: Literal["before-end", "after-end"] = "before-end"
    covers_end: bool = False  # of a checksum behind the end mark: it is over that mark, too
    gap: str = "1s"  # a frame has no pause this long

    def __post_init__(self) -> None:
        marker(self.start)
        marker(self.end)
        gap(self.gap)

    def framer(self) -> Framer:
        """Return a framer of what is between marks."""
        return StartEndFramer(self)


class StartEndFramer(Scanner):
    """Looks for a start mark and the end mark that belongs to it."""

    def __init__(self, options: StartEnd) -> None:
        super().__init__(gap(options.gap))
        checksum = checksum_of(options.checksum)
        self._start, self._end = marker(options.start), marker(options.end)
        self._bytes_max = options.bytes_max
        self._check = check_of(checksum)
        self._behind = 0 if checksum is None or options.checksum_at == "before-end" else checksum.width
        self._inside = 0 if checksum is None or self._behind else checksum.width
        self._covered = len(self._end) if options.covers_end else 0

    def beginning(self, at: int) -> int:
        """Find the start mark."""
        return first_part(self.buffer, self._start, at)

    def look(self, at: int) -> Found:
        """Find the end mark; a byte of a binary checksum before it may look like one."""
        buffer, body = self.buffer, at + len(self._start)
        end = buffer.find(self._end, body, body + self._bytes_max + len(self._end))
        if end < 0:
            if len(buffer) >= body + self._bytes_max + len(self._end):
                return len(self._start) + self._bytes_max, TOO_LONG
            return MORE
        if self._check is None:
            return self._plain(at, body, end)
        behind_last = end + self._inside + len(self._end)
        while end >= 0:
            stop = end + len(self._end) + self._behind
            if len(buffer) < stop:
                return MORE
            found = self._verified(body, end)
            if found is not None:
                return stop - at, found
            end = buffer.find(self._end, end + 1, behind_last)
        return MORE if len(buffer) < behind_last else (stop - at, CHECKSUM)

    def last_look(self, at: int) -> Found:
        """With silence behind it, an end mark that was found is the last one."""
        length, found = self.look(at)
        if found is not None:
            return length, found
        whole = self.buffer.find(self._end, at + len(self._start)) >= 0
        return len(self.buffer) - at, CHECKSUM if whole and not self._behind else CUT_SHORT

    def _plain(self, at: int, body: int, end: int) -> Found:
        again = self.buffer.rfind(self._start, at + 1, end)
        if again >= body:
            return again - at, CUT_SHORT
        return end + len(self._end) - at, bytes(self.buffer[body:end])

    def _verified(self, body: int, end: int) -> bytes | None:
        check = self._check
        assert check is not None
        if not self._behind:
            return check(bytes(self.buffer[body:end]))
        stop = end + len(self._end)
        covered = bytes(self.buffer[body : end + self._covered] + self.buffer[stop : stop + self._behind])
        found = check(covered)
        return None if found is None else found[: len(found) - self._covered]
