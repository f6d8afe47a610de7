"""Reading back what was written: sealed segments, from the medium itself, while nothing else is to be done.

fdatasync says that the card has it. Whether the card has it right is seen only by reading it, past the cache, which
would show what was wished for. So each segment is read once after it was sealed, in pieces of STEP_BYTES between two
commits, with O_DIRECT; each block's CRC must hold.

A block that does not hold is still in the page cache most of the time, as the segment is young. Then its bytes are
written again in place, synced and read once more: cards put a bad sector elsewhere when it is written. What the cache
does not have either, or the card does not take, is damage like any other: copied to quarantine and counted.

On a file system without O_DIRECT nothing is read back; `direct` is False then, and `status` says so.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.codes.disk import BLOCKS_MENDED, NOT_AS_WRITTEN
from gateway.journal.disk import Disk
from gateway.journal.home import Home
from gateway.journal.segment import Entry, Found, Hole, Link, Read, Tail, Walk
from gateway.journal.unreadable import around
from gateway.logs.about import about

log = logging.getLogger(__name__)

STEP_BYTES: Final = 256 * 1024
WAITING_MAX: Final = 64  # segments; when more wait the oldest are not read back


class Crc:
    """A codec that decrypts and inflates nothing: the CRC of what is stored says enough."""

    def decrypt(self, _header: object, _stored: bytes, _associated: bytes) -> bytes:
        """Return nothing."""
        return b""

    def inflate(self, _stored: bytes, _plain_bytes: int) -> bytes:
        """Return nothing."""
        return b""


class ReadBack:
    """Goes through sealed segments, one piece a `step`. On the worker's thread; the counters may be read on any."""

    def __init__(self, disk: Disk, folder: Path, log_id: bytes, align: int, home: Home) -> None:
        self._disk = disk
        self._folder = folder
        self._log_id = log_id
        self._align = align
        self._home = home
        self._waiting: deque[Entry] = deque(maxlen=WAITING_MAX)
        self._at: tuple[Entry, int, Walk, Iterator[Found | Hole | Tail]] | None = None
        self._paused = False  # the disk is gone: until it has taken a block
        self.report: Callable[[Entry, int, int, int, int], None] = lambda *_: None
        """Takes damage: segment, offset, end, blocks, records."""
        self.direct = True  # as far as it was tried
        self.bytes = 0  # read back
        self.mended = 0  # blocks that were written again

    @property
    def wanted(self) -> bool:
        """Whether there is something to read."""
        return not self._paused and (self._at is not None or bool(self._waiting))

    def counts(self) -> dict[str, int]:
        """Return what `status` shows."""
        return {"read_back_bytes": self.bytes, "mended_blocks": self.mended, "direct": int(self.direct)}

    def add(self, entry: Entry) -> None:
        """Read a sealed segment back when there is time."""
        if self.direct:
            self._waiting.append(entry)

    def resume(self) -> None:
        """Go on: the disk takes writes."""
        self._paused = False

    def step(self, live: Callable[[int], bool]) -> None:
        """Read the next piece. `live` says whether a segment is still part of the log. Never raises OSError."""
        try:
            if self._at is None:
                self._next(live)
            elif not live(self._at[0].life):
                self.close()
            if self._at is not None:
                self._go_on(*self._at)
        except OSError as error:
            self._refused(error)

    def close(self) -> None:
        """Let go of the segment that is being read."""
        if self._at is not None:
            with suppress(OSError):
                self._disk.close(self._at[1])
            self._at = None

    def _next(self, live: Callable[[int], bool]) -> None:
        while self._waiting:
            if live(self._waiting[0].life):
                entry = self._waiting[0]
                handle = self._disk.open_direct(self._folder / entry.name)
                self._waiting.popleft()
                walk = self._walk(entry, self._direct(handle), entry.end, Link.before(entry), 0)
                self._at = (entry, handle, walk, iter(walk))
                return
            self._waiting.popleft()

    def _go_on(self, entry: Entry, handle: int, walk: Walk, parts: Iterator[Found | Hole | Tail]) -> None:
        before = walk.offset
        for part in parts:
            if isinstance(part, Hole):
                self._mend(entry, handle, walk.link or Link.before(entry), part)
            reached = walk.offset if isinstance(part, Found) else part.offset
            if reached - before >= STEP_BYTES:
                self.bytes += reached - before
                return
        self.bytes += entry.end - before
        self.close()

    def _mend(self, entry: Entry, handle: int, link: Link, hole: Hole) -> None:
        """Write what is not on the medium again, out of the cache, or report it. Raises OSError."""
        length = hole.end - hole.offset
        path = self._folder / entry.name
        cached = self._disk.open(path)
        try:
            read = around(lambda size, offset: self._disk.pread(cached, size, offset), self._home.answers)
            closing = Link(link.number + hole.blocks, None, 0, link.records_next + hole.records)
            parts = list(self._walk(entry, read, hole.end, link, hole.offset, closing))
            data = read(length, hole.offset)
            if all(isinstance(part, Found) for part in parts):
                self._disk.pwrite(cached, data, hole.offset)
                self._disk.fdatasync(cached)
                if self._direct(handle)(length, hole.offset) == data:
                    self.mended += hole.blocks
                    log.warning(
                        "journal: %d blocks of %s were not on the medium as written; they were written again",
                        hole.blocks, entry.name, extra=about(BLOCKS_MENDED),
                    )  # fmt: skip
                    return
        finally:
            self._disk.close(cached)
        place = (entry.name, hole.offset, hole.end)
        log.error("journal: %s: bytes %d to %d are not on the medium as written", *place, extra=about(NOT_AS_WRITTEN))
        self.report(entry, hole.offset, hole.end, hole.blocks, hole.records)

    def _direct(self, handle: int) -> Read:
        return around(lambda length, offset: self._disk.pread_direct(handle, length, offset), self._home.answers)

    def _walk(self, entry: Entry, read: Read, end: int, link: Link, offset: int, last: Link | None = None) -> Walk:
        closing = (last.number + 1, last.records_next) if last else (entry.number_next, entry.records_next)
        return Walk(
            read, self._log_id, entry.life, end,
            align=self._align, codec=Crc(), link=link, offset=offset, closing=closing,
        )  # fmt: skip

    def _refused(self, error: OSError) -> None:
        self.close()
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            self.direct = False
            self._waiting.clear()
            log.info("journal: this file system cannot be read past its cache; nothing is read back")
        else:
            self._paused = True  # the segment that was being read is not begun again: the next ones are
