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

Free segments are those that no durable index names. `RESERVE_SEGMENTS` of them are left alone by ordinary
blocks: they are for blocks with alarms, for survivors of eviction, and for the block that switches to those.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.errors import DiskRefused, JournalError
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import Deflate, Header
from gateway.journal.checkpoint import Image
from gateway.journal.compression import Codec
from gateway.journal.disk import Disk
from gateway.journal.options import LEAVE_SURVIVORS, LEAVE_SWITCH, RESERVE_SEGMENTS, JournalOptions
from gateway.journal.segment import FILLING, NO_SPANS, SEGMENT, SPARE, Entry, Link, Span, started

FILL_BYTES: Final = 256 * 1024  # zeros written at a time
SWITCH_BYTES: Final = 8 * 1024  # more than a block that switches to survivors takes
READ_ONLY_AFTER: Final = 2  # segments that failed one after the other


class Block(msgspec.Struct, gc=False, kw_only=True):
    """A closed batch on its way to the disk: what one group commit holds."""

    batch: int
    first: int  # sequence of the first event, or of the next one when there is none
    raws: list[bytes]
    lanes: bytes
    spans: tuple[Span, ...]
    changes: bytes  # packed table changes
    wall_ns: int
    boot_ns: int
    flags: int = 0
    leave: int = RESERVE_SEGMENTS  # how many free segments it must leave alone
    table_changes: dict[str, dict[str, Any]] = {}  # what `changes` packs, for a batch that is opened again
    size: int = 0  # bytes of all events
    payload: Deflate | None = None  # kept for a second attempt
    placed: Placed | None = None  # set by `Writer.write`

    @property
    def last(self) -> int:
        """Sequence of the last event; one less than `first` when there is none."""
        return self.first + len(self.raws) - 1


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Where a block went and what changed with it. Made by the worker, read by the loop."""

    header: Header
    offset: int
    length: int
    active: Entry
    sealed: tuple[Entry, ...]  # segments left with this block


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
    ) -> None:
        self.disk = disk
        self.folder = folder
        self.options = options
        self.log_id = log_id
        self.epoch = epoch
        self.codec = Codec(options.level)
        self._link = link
        self._position = position
        self._handle: int | None = None
        self._suspect = False  # a write or sync failed in the segment in use
        self._sealed: list[Entry] = []  # left since the last block that succeeded
        self._free = free
        self._spares = spares
        self._limbo: list[str] = []  # named by a block that failed and may come back: free after the next success
        self._names_taken = names_taken  # greatest number in a file's name
        self._filling: tuple[Path, int, int] | None = None  # file, handle, bytes of zeros so far
        self._names_durable = False  # whether every name in the pool survives a power cut
        self._next_life = next_life
        self._limit = options.segments_max  # fewer while the file system refuses to hold more
        self.image = image
        self.failures = 0
        self.blocks = 0  # placed since the start
        self.written = 0

    @property
    def read_only(self) -> bool:
        """Whether the last attempts failed in segment after segment."""
        return self.failures >= READ_ONLY_AFTER

    @property
    def segment_size(self) -> int:
        """Bytes of a segment file."""
        return self.options.segment_size

    @property
    def leave_survivors(self) -> int:
        """How many free segments survivors must leave: what the block that switches to them may need."""
        position = self._position
        ready = position is not None and not self._suspect and position.entry.end + SWITCH_BYTES <= position.limit
        return LEAVE_SWITCH if ready else LEAVE_SURVIVORS

    @property
    def next_sequence(self) -> int:
        """One more than the last durable sequence."""
        return self._position.entry.last + 1 if self._position is not None else 1

    @property
    def files(self) -> int:
        """How many segment files there are."""
        live = len(self.image.segments) + (self._position is not None)
        return live + len(self._free) + len(self._spares) + len(self._limbo)

    @property
    def pool(self) -> int:
        """How many segments could be begun now, those of the reserve included."""
        return len(self._free) + len(self._spares) + max(0, self._limit - self.files)

    @property
    def cramped(self) -> bool:
        """Whether the file system gives us less than the budget."""
        return self._limit < self.options.segments_max and self.files < self.options.segments_max

    def write(self, block: Block) -> None:
        """Put a block on the disk and return when it is durable. Raises DiskRefused: nothing of it is, try again."""
        if block.payload is None:
            block.payload = blocks.deflate(record.encode(block.raws, block.lanes, block.changes), self.codec)
        length = blocks.padded(len(block.payload.stored), self.options.align)
        try:
            position = self._position
            if position is None or self._suspect or position.entry.end + length > position.limit:
                position = self._begin(block, length)
            self._place(block, block.payload, position)
        except OSError as error:
            self.failures += 1
            raise DiskRefused(f"{self.folder}: {error.strerror or error}") from error
        self.failures = 0

    def close(self) -> None:
        """Close the files."""
        for handle in (self._handle, self._filling[1] if self._filling else None):
            if handle is not None:
                self.disk.close(handle)
        self._handle = self._filling = None

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
        data, header = blocks.encode(header, payload, self.options.align)
        self._suspect = True  # until the sync has returned
        self._put(self._open(entry.name), data, entry.end)
        self._suspect = False
        offset = entry.end
        position.entry = entry.grown(header, offset + len(data), block.spans, block.last)
        self._link = Link.of(header)
        for given_up in self.image.apply(record.decode_changes(block.changes)):
            self._recycle(given_up.name)
        self._free += self._limbo
        self._limbo.clear()
        self.blocks += 1
        sealed, self._sealed = tuple(self._sealed), []
        block.placed = Placed(header, offset, len(data), position.entry, sealed)
        block.payload = None

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
        fruitless = position is not None and position.entry.number_next - position.entry.number_first == 1
        link = position.link if position is not None and fruitless else self._link
        previous = (before.life, before.end) if before else (0, 0)
        if before and fruitless:
            previous = (before.previous_life, before.previous_end)
        sealed = [before] if before and not fruitless else []
        payload = blocks.deflate(self.image.encode(sealed), self.codec)
        needed = blocks.padded(len(payload.stored), self.options.align)
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
            self._put(handle, data, 0)
        except OSError:
            if handle is not None:
                self.disk.close(handle)
            if before is None or name != before.name:
                self.give_back(name)
            raise
        if self._handle is not None:
            self.disk.close(self._handle)
        self._handle = handle
        for left in sealed:
            self.image.segments[left.life] = left
            self._sealed.append(left)
        if before and fruitless and name != before.name:
            self.give_back(before.name)
        self._link = Link.of(header)
        self._suspect = False
        entry = started(header, name).grown(header, len(data), NO_SPANS, header.first - 1)
        self._position = Position(entry, self.options.segment_size, link)
        return self._position

    def _take_or_reuse(self, leave: int, fruitless: str | None) -> str:
        try:
            return self.take(leave)
        except OSError:
            if fruitless is None:
                raise
            return fruitless  # nothing in it counts: it may as well be begun again

    def take(self, leave: int) -> str:
        """Return a file that may be overwritten from its start, when `leave` others are left.

        Raises OSError when there is none to be had.
        """
        have = len(self._free) + len(self._spares)
        if have + max(0, self.options.segments_max - self.files) <= leave:
            raise OSError(errno.ENOSPC, "the journal's byte budget is used up by records that nobody has had")
        if have <= RESERVE_SEGMENTS and self.files < self.options.segments_max:
            try:
                while self.fill():
                    pass
            except OSError:
                if have <= leave:
                    raise
        if not self._free:
            if not self._spares:
                raise OSError(errno.ENOSPC, "no free segment")
            self._names_durable = False
            spare = self._spares[0]
            name = spare.removesuffix(SPARE) + SEGMENT
            self.disk.rename(self.folder / spare, self.folder / name)
            self._spares.pop(0)
            self._free.append(name)
        if not self._names_durable:  # also once after a start: a killed process may have renamed and not synced
            self.disk.sync_folder(self.folder)
            self._names_durable = True
        return self._free.pop(0)

    def write_whole(self, data: bytes) -> str:
        """Write a segment in one go, out of the reserve; returns its name. Raises OSError."""
        name = self.take(self.leave_survivors)
        try:
            handle = self.disk.open(self.folder / name)
            try:
                self._put(handle, data, 0)
            finally:
                self.disk.close(handle)
        except OSError:
            self.give_back(name)
            raise
        return name

    def give_back(self, name: str) -> None:
        """Put a file taken in vain back into the pool."""
        self._free.append(name)

    def abandon(self, names: Iterable[str]) -> None:
        """Free files that a block names whose write failed, but only when a later block is durable.

        Until then a power cut could bring that block back, and it would need them.
        """
        self._limbo += names

    def restore(self, names: Iterable[str]) -> None:
        """Take abandoned files back: the block that names them is tried again."""
        for name in names:
            self._limbo.remove(name)

    def next_life(self) -> int:
        """Return a life that no segment ever had."""
        self._next_life += 1
        return self._next_life - 1

    def _recycle(self, name: str) -> None:
        """Take a file that no durable index names into the pool, or remove it when size or budget are less today."""
        try:
            handle = self.disk.open(self.folder / name)
            try:
                fits = self.disk.size(handle) == self.options.segment_size
            finally:
                self.disk.close(handle)
            if fits and self.files < self.options.segments_max:
                self._free.append(name)
            else:
                self.disk.unlink(self.folder / name)
        except OSError:
            return  # what cannot be opened cannot be reused; the next start looks again

    def fill(self) -> bool:
        """Write some more zeros of the next spare segment; True while there is more to do for it.

        Only zeros that were written and synced make later commits free of metadata.
        """
        size = self.options.segment_size
        if self._filling is None:
            if self.files >= self.options.segments_max:
                return False
            self._limit = self.files  # until the file system has proved that it gives us one more
            path = self.folder / f"{self._names_taken + 1:08d}{FILLING}"
            self._filling = (path, self.disk.open(path, create=True), 0)
            self._names_taken += 1
        path, handle, done = self._filling
        try:
            step = min(FILL_BYTES, size - done)
            self.disk.pwrite(handle, bytes(step), done)
            self.written += step
            if done + step < size:
                self._filling = (path, handle, done + step)
                return True
            self.disk.fdatasync(handle)
            self.disk.rename(path, path.with_suffix(SPARE))  # the folder is synced when the file is taken
        except OSError:
            self._filling = None
            self.disk.close(handle)
            with suppress(OSError):
                self.disk.unlink(path)
            raise
        self._filling = None
        self.disk.close(handle)
        self._spares.append(path.with_suffix(SPARE).name)
        self._limit = self.options.segments_max
        return False
