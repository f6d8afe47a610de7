"""The writer: the one place that changes segment files, on the worker's thread.

It owns the files, the durable image and the pool of free segments. A block goes behind the last one, then
fdatasync; only then does the next follow. When a block does not fit, or when a write or sync in this segment
failed, a new segment begins: its checkpoint is written and synced first, its headers say where the one before
ends. A failed sync is never retried as if nothing had happened: after one the kernel may call pages clean that
never reached the medium.

    failed in      the block          the segment
    a block        goes to a new one  is sealed where the block began
    a checkpoint   stays              is free again; its next use has a new life, so nothing in it counts
    two in a row   stays, withheld    `read_only` until a write succeeds; the caller retries with backoff

A segment in which nothing but its checkpoint became durable is not sealed but free again.

Before each block it is seen that the folder is where it was: a mount may be gone, or be back as another (home.py).

Which files it may use: pool.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import DiskRefused, JournalError
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.batch import Block, Placed
from gateway.journal.block import Deflate, Header
from gateway.journal.checkpoint import SEGMENTS, Image
from gateway.journal.cipher import Keys
from gateway.journal.compression import Codec
from gateway.journal.disk import Disk
from gateway.journal.home import Home
from gateway.journal.options import LEAVE_SURVIVORS, LEAVE_SWITCH, PAGE_BYTES, JournalOptions
from gateway.journal.pool import Pool
from gateway.journal.readback import ReadBack
from gateway.journal.segment import NO_SPANS, Entry, Link, Read, started
from gateway.journal.unreadable import around

SWITCH_BYTES: Final = 8 * 1024  # more than a block that switches to survivors takes
FILL_UP_BYTES_MAX: Final = 1024  # of a page given away so that the next block begins in a new one
READ_ONLY_AFTER: Final = 2  # segments that failed one after the other


class Position(msgspec.Struct, gc=False):
    """Where the log ends."""

    entry: Entry  # the segment in use
    limit: int  # its length in bytes
    link: Link  # what its checkpoint follows


class Writer:
    """Writes blocks, checkpoints and survivors. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        options: JournalOptions,
        home: Home,
        *,
        log_id: bytes,
        epoch: int,
        image: Image,
        link: Link,
        position: Position | None,
        free: list[str],
        spares: list[str],
        names_taken: int,
        next_life: int,
        keys: Keys,
    ) -> None:
        self.disk = disk
        self.folder = folder
        self.options = options
        self.home = home
        self.log_id = log_id
        self.epoch = epoch
        self.codec = Codec(options.level, keys)
        self._link = link
        self._position = position
        self._handle: int | None = None
        self._page: bytes | None = None  # what is in the last page already; None: not known
        self._suspect = False  # a write or sync failed in the segment in use
        self._sealed: list[Entry] = []  # left since the last block that succeeded
        self.pool = Pool(
            disk, folder, options, free=free, spares=spares, names_taken=names_taken, live=self._live_segments
        )
        self.readback = ReadBack(disk, folder, log_id, options.align, home)
        self._next_life = next_life
        self.image = image
        self.failures = 0
        self.blocks = 0  # placed since the start
        self.written = 0  # bytes of blocks, checkpoints, survivors

    @property
    def read_only(self) -> bool:
        """Whether the last attempts failed in segment after segment."""
        return self.failures >= READ_ONLY_AFTER

    def limit(self, options: JournalOptions) -> None:
        """Keep lanes within other limits from now on; the other options are as they were at the start."""
        now = {name: getattr(options, name) for name in ("telemetry", "alarm", "dead_letters")}
        self.options = msgspec.structs.replace(self.options, **now)

    @property
    def segment_size(self) -> int:
        """Bytes of a segment file."""
        return self.options.segment_size

    @property
    def active(self) -> Entry | None:
        """The segment in use, as far as it is durable."""
        return self._position.entry if self._position is not None else None

    @property
    def leave_survivors(self) -> int:
        """How many free segments survivors must leave: what the block that switches to them may need."""
        position = self._position
        ready = (
            position is not None
            and not self._suspect
            and position.entry.end + min(SWITCH_BYTES, position.limit // 4) <= position.limit
        )
        return LEAVE_SWITCH if ready else LEAVE_SURVIVORS

    @property
    def next_sequence(self) -> int:
        """One more than the last durable sequence."""
        return self._position.entry.last + 1 if self._position is not None else 1

    def write(self, block: Block) -> None:
        """Put a block on the disk and return when it is durable. Raises DiskRefused: nothing of it is, try again."""
        if block.payload is None:
            block.payload = blocks.deflate(record.encode(block.raws, block.lanes, block.changes), self.codec)
        length = blocks.padded(block.payload.size, self.options.align)
        try:
            self.check_home()
            position = self._position
            if position is None or self._suspect or position.entry.end + length > position.limit:
                position = self._begin(block, length)
            self._place(block, block.payload, position)
        except OSError as error:
            self.failures += 1
            raise DiskRefused(f"{self.folder}: {error.strerror or error}") from error
        self.failures = 0
        self.readback.resume()

    def check_home(self) -> None:
        """See that the folder is still the journal's. Raises OSError."""
        last = self._position.entry if self._position is not None else None
        self.home.check(self.log_id, self.epoch, last, self._moved, doubt=self._suspect or self.failures > 0)
        if self._handle is not None and not self.disk.named(self._handle):
            self._suspect = True  # somebody has deleted the file; what is written there is gone when we close it

    @property
    def idle_work(self) -> bool:
        """Whether there is something to do while nothing is to be committed."""
        pool = self.pool
        return self.readback.wanted or (self.options.preallocate and not pool.complete and not pool.cramped)

    def idle(self) -> bool:
        """Read some more back, else write some more zeros ahead of use. Raises OSError."""
        self.check_home()
        if self.readback.wanted:
            self.readback.step(lambda life: life in self.image.segments)
            return True
        return self.pool.fill()

    @contextmanager
    def opened(self, name: str) -> Iterator[Read]:
        """Open a segment for a read that goes around what the disk cannot read. Raises OSError when that is gone.

        A file that is not there any more reads as nothing: what it held is damage.
        """
        try:
            handle = self.disk.open(self.folder / name, write=False)
        except OSError:
            if not self.home.answers():
                raise
            yield lambda _length, _offset: b""
            return
        try:
            yield around(lambda length, offset: self.disk.pread(handle, length, offset), self.home.answers)
        finally:
            self.disk.close(handle)

    def _moved(self) -> None:
        """Let go of everything that belongs to a mount that is gone: the log goes on in a new segment."""
        if self._handle is not None:
            with suppress(OSError):
                self.disk.close(self._handle)
            self._handle = None
        self._suspect = True
        self.readback.close()
        self.pool.moved()

    def close(self) -> None:
        """Close the files."""
        self.pool.close()
        self.readback.close()
        if self._handle is not None:
            self.disk.close(self._handle)
            self._handle = None

    def _live_segments(self) -> int:
        return len(self.image.segments) + (self._position is not None)

    # -- blocks -----------------------------------------------------------------------------------------

    def _header(self, block: Block, link: Link, life: int, previous: tuple[int, int], flags: int) -> Header:
        """Return the header of what follows `link`; `previous`: life and end of the segment before this one."""
        return Header(
            log_id=self.log_id,
            life=life,
            epoch=self.epoch,
            previous_crc=link.crc or 0,
            number=link.number + 1,
            durable_through=link.number,
            first=block.first,
            records_before=link.records_next,
            wall_ns=block.wall_ns,
            boot_ns=block.boot_ns,
            previous_life=previous[0],
            previous_end=previous[1],
            flags=flags,
        )

    def _place(self, block: Block, payload: Deflate, position: Position) -> None:
        entry = position.entry
        header = msgspec.structs.replace(
            self._header(block, self._link, entry.life, (entry.previous_life, entry.previous_end), block.flags),
            events=len(block.raws),
            counts=tuple(span.count for span in block.spans),
        )
        offset = entry.end
        data, header = blocks.encode(header, self._to_page_end(payload, offset), self.options.align)
        start, pages = self._pages(data, offset, position.limit)
        self._suspect = True  # until the sync has returned
        self._put(self._open(entry.name), pages, start)
        self._suspect = False
        self._page = _last_page(data, offset) if self._page is None else _last_page(self._page + data, start)
        position.entry = entry.grown(header, offset + len(data), block.spans, block.last)
        self._link = Link.of(header)
        changes = record.decode_changes(block.changes)
        for given_up in self.image.apply(changes):
            self.pool.recycle(given_up.name)
        for life in changes.get(SEGMENTS, ()):
            if int(life) in self.image.segments:
                self.readback.add(self.image.segments[int(life)])
        self.pool.settle()
        self.blocks += 1
        sealed, self._sealed = tuple(self._sealed), []
        block.placed = Placed(header, offset, len(data), position.entry, sealed)
        block.payload = None

    def _to_page_end(self, payload: Deflate, offset: int) -> Deflate:
        """Fill a page up when the next block, if it is as long, would begin in it and end in another.

        The rest of the page is written anyway; the next block then costs a page less.
        """
        length = blocks.padded(payload.size, self.options.align)
        left = -(offset + length) % PAGE_BYTES
        if payload.raw or left >= length or not 0 < left <= FILL_UP_BYTES_MAX:
            return payload
        return blocks.lengthened(payload, length + left - blocks.HEADER_BYTES - payload.size)

    def _pages(self, data: bytes, offset: int, limit: int) -> tuple[int, bytes]:
        """Return where to write and what, so that whole pages are written where that is possible.

        The file system writes whole pages anyway, and would read those that are not in its cache first. The bytes
        before a block in its page are written again as they are. After a start they are not at hand for one page.
        """
        if self._page is None:
            return offset, data
        start = offset - len(self._page)
        end = min(-(-(offset + len(data)) // PAGE_BYTES) * PAGE_BYTES, limit)
        return start, b"".join((self._page, data, bytes(end - offset - len(data))))

    def _put(self, handle: int, data: bytes, offset: int) -> None:
        """Write and sync: the two lines everything hangs on."""
        self.disk.pwrite(handle, data, offset)
        self.disk.fdatasync(handle)
        self.written += len(data)

    def _open(self, name: str) -> int:
        if self._handle is None:
            self._handle = self.disk.open(self.folder / name)
        return self._handle

    # -- segments ---------------------------------------------------------------------------------------

    def _begin(self, block: Block, length: int) -> Position:
        """Begin a segment: checkpoint, sync. The one before is sealed only when that has succeeded."""
        position = self._position
        before = position.entry if position else None
        fruitless = position is not None and position.entry.number_next - position.entry.number_first <= 1
        link = position.link if position is not None and fruitless else self._link
        previous = (before.life, before.end) if before else (0, 0)
        if before and fruitless:
            previous = (before.previous_life, before.previous_end)
        sealed = [before] if before and not fruitless else []
        payload = blocks.deflate(self.image.encode(sealed), self.codec)
        needed = blocks.padded(payload.size, self.options.align)
        if needed + length > self.options.segment_size:
            raise JournalError(f"a block of {length} bytes and a checkpoint of {needed} do not fit in one segment")
        name = self._take_or_reuse(block.leave, before.name if before and fruitless else None)
        header = self._header(
            block, link, self.next_life(), previous, blocks.CHECKPOINT | block.flags & blocks.UNSYNCED
        )
        data, header = blocks.encode(header, payload, self.options.align)
        handle = None
        try:
            handle = self.disk.open(self.folder / name)
            self.disk.forget(handle)
            self._page = b""
            self._put(handle, self._pages(data, 0, self.options.segment_size)[1], 0)
        except OSError:
            if handle is not None:
                self.disk.close(handle)
            if before is None or name != before.name:
                self.pool.give_back(name)
            raise
        self._page = _last_page(data, 0)
        if self._handle is not None:
            self.disk.close(self._handle)
        self._handle = handle
        for left in sealed:
            self.image.segments[left.life] = left
            self._sealed.append(left)
            self.readback.add(left)
        if before and fruitless and name != before.name:
            self.pool.give_back(before.name)
        self._link = Link.of(header)
        self._suspect = False
        entry = started(header, name).grown(header, len(data), NO_SPANS, header.first - 1)
        self._position = Position(entry, self.options.segment_size, link)
        return self._position

    def _take_or_reuse(self, leave: int, fruitless: str | None) -> str:
        try:
            return self.pool.take(leave)
        except OSError:
            if fruitless is None:
                raise
            return fruitless  # nothing in it counts: it may as well be begun again

    def write_whole(self, data: bytes) -> str:
        """Write a segment in one go, out of the reserve; returns its name. Raises OSError."""
        name = self.pool.take(self.leave_survivors)
        try:
            handle = self.disk.open(self.folder / name)
            try:
                self._put(handle, data, 0)
            finally:
                self.disk.close(handle)
        except OSError:
            self.pool.give_back(name)
            raise
        return name

    def next_life(self) -> int:
        """Return a life that no segment ever had."""
        self._next_life += 1
        return self._next_life - 1


def _last_page(data: bytes, start: int) -> bytes | None:
    """Return the part of `data`, written at `start`, that is in its last page; None when the page began before it."""
    length = (start + len(data)) % PAGE_BYTES
    return data[len(data) - length :] if length <= len(data) else None
