"""Reading one lane of the log, from memory while it is young, else from the segments.

Readers may live on other threads than the journal. What they share with it changes in one assignment
(`View`) or under a short lock (`Tail`). A block is read, checked and inflated once and kept until the
reader leaves it; blocks without the reader's lane are skipped by the counts in their headers, segments
without it by the index. A segment's block index is built from its headers when somebody first reads there
(12 + 4 * lanes bytes a block) and at most INDEXES_MAX are kept, so a million waiting records cost no more
memory than a thousand.

A block that does not hold when it is read is damage unless its segment was given up meanwhile: it is
skipped, a copy is set aside, and `Store.damages` tells the journal, which counts it. When the disk cannot be read at
all that is no damage: reading raises DiskRefused, and is tried again later.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import DiskRefused, JournalError
from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import limits, record
from gateway.journal.cipher import NO_KEYS, Keys
from gateway.journal.compression import Codec
from gateway.journal.disk import Disk
from gateway.journal.limits import Ranges
from gateway.journal.quarantine import keep_copy
from gateway.journal.record import Records
from gateway.journal.segment import Entry, Found, Hole, Link, Read, Walk
from gateway.journal.tail import Tail
from gateway.journal.timeline import MARK, Timeline
from gateway.journal.unreadable import READ_TRIES, always, around

INDEXES_MAX: Final = 4  # block indexes of segments kept in memory
HANDLES_MAX: Final = 4  # files one reader keeps open
LANES: Final = len(Lane)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """One record of a lane: its number and its bytes."""

    sequence: int
    raw: bytes


class View(msgspec.Struct, frozen=True, gc=False):
    """What is durable now: live segments in the order of their sequences, the one in use last."""

    segments: tuple[Entry, ...]
    durable: int
    over: dict[Lane, Ranges] = {}  # given up for routes, though it may still be there


class Damage(msgspec.Struct, frozen=True, gc=False):
    """A hole that was found: where, how many blocks and records it held."""

    life: int
    name: str
    offset: int
    end: int
    blocks: int
    records: int


class BlockIndex:
    """Where the blocks of one segment are, what they start with, and how many of each lane they hold."""

    def __init__(self) -> None:
        self.end = 0  # blocks up to here are in it
        self.link: Link | None = None
        self.offsets = array("Q")
        self.firsts = array("Q")
        self.counts = array("I")  # LANES per block

    def add(self, found: Found) -> None:
        """Take the next block; checkpoints and blocks without events are left out."""
        header = found.header
        self.end, self.link = found.end, Link.of(header)
        if header.events:
            self.counts.extend(header.counts[:LANES])
            self.firsts.append(header.first)
            self.offsets.append(found.offset)  # last: a reader on another thread goes by its length


class Store:
    """What readers share: the view, the tail, the disk, the block indexes."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        log_id: bytes,
        align: int,
        view: View,
        tail: Tail,
        answers: Callable[[], bool] | None = None,
        keys: Keys = NO_KEYS,
    ) -> None:
        """`answers`: whether the disk can be read at all, as `Home.answers` says; None for one who only looks."""
        self.disk = disk
        self.folder = folder
        self.log_id = log_id
        self.align = align
        self.view = view
        self.tail = tail
        self.answers = answers or always
        self.keys = keys
        self.timeline = Timeline()  # the journal's, or that of who looks
        self.damages: deque[Damage] = deque()  # found by readers, taken by the journal
        self._keep_copies = answers is not None
        self._indexes: OrderedDict[int, BlockIndex] = OrderedDict()
        self._lock = threading.Lock()

    def live(self, life: int) -> bool:
        """Return whether a segment is still part of the log."""
        return any(entry.life == life for entry in self.view.segments)

    def index(self, entry: Entry, read: Read) -> BlockIndex:
        """Return the block index of a segment, complete up to `entry.end`. Raises OSError."""
        with self._lock:
            index = self._indexes.pop(entry.life, None) or BlockIndex()
            if index.end < entry.end:
                self._extend(index, entry, read)
            self._indexes[entry.life] = index
            while len(self._indexes) > INDEXES_MAX:
                self._indexes.popitem(last=False)
            return index

    def _extend(self, index: BlockIndex, entry: Entry, read: Read) -> None:
        link, closing = index.link or Link.before(entry), (entry.number_next, entry.records_next)
        walk = Walk(
            read, self.log_id, entry.life, entry.end, align=self.align, link=link, offset=index.end, closing=closing
        )
        for part in walk:
            if isinstance(part, Found):
                index.add(part)
            elif isinstance(part, Hole):
                self.damaged(entry, part.offset, part.end, part.blocks, part.records)
        index.end = entry.end

    def damaged(self, entry: Entry, offset: int, end: int, count: int, records: int) -> None:
        """Note damage and keep a copy of it, unless the segment is no longer ours."""
        if self.live(entry.life):
            if self._keep_copies:
                keep_copy(self.disk, self.folder, entry.name, f"{entry.life}-{offset}.block", offset, end - offset)
            self.damages.append(Damage(entry.life, entry.name, offset, end, count, records))


class Blocks:
    """Reads blocks out of segments, one at a time, with a few files open. One thread at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._codec = Codec(keys=store.keys)
        self._handles: OrderedDict[str, int] = OrderedDict()
        self._block: tuple[int, int, Records] | None = None  # (life, offset, records) read last

    def close(self) -> None:
        """Close the files this reader holds."""
        for handle in self._handles.values():
            self._store.disk.close(handle)
        self._handles.clear()

    def _index(self, entry: Entry) -> BlockIndex | None:
        for tries_left in reversed(range(READ_TRIES)):
            with self._reopening(entry):
                return self._store.index(entry, self._reading(entry, tries_left))
        self._see_that_it_answers(entry)
        self._store.damaged(entry, 0, entry.end, entry.number_next - entry.number_first, _records_in(entry))
        return None

    @contextmanager
    def _reopening(self, entry: Entry) -> Iterator[None]:
        """Go on after a read that failed, with the file opened anew: its mount may be another one by now."""
        try:
            yield
        except JournalError:
            return
        except OSError:
            handle = self._handles.pop(entry.name, None)
            if handle is not None:
                with suppress(OSError):
                    self._store.disk.close(handle)

    def _see_that_it_answers(self, entry: Entry) -> None:
        """Raise DiskRefused when the disk is gone: what cannot be read now may be there when it is back."""
        if self._store.live(entry.life) and not self._store.answers():
            raise DiskRefused(f"{self._store.folder}: the disk cannot be read")

    def _handle(self, entry: Entry) -> int:
        handle = self._handles.pop(entry.name, None)
        if handle is None:
            handle = self._store.disk.open(self._store.folder / entry.name, write=False)
        self._handles[entry.name] = handle
        while len(self._handles) > HANDLES_MAX:
            _, oldest = self._handles.popitem(last=False)
            self._store.disk.close(oldest)
        return handle

    def _records(self, entry: Entry, index: BlockIndex, number: int) -> Records | None:
        """Return a block's records; None when it does not hold (then it is noted as damage)."""
        offset = index.offsets[number]
        if self._block is not None and self._block[:2] == (entry.life, offset):
            return self._block[2]
        end = index.offsets[number + 1] if number + 1 < len(index.offsets) else entry.end
        for tries_left in reversed(range(READ_TRIES)):
            with self._reopening(entry):
                records = self._read_block(entry, self._reading(entry, tries_left), offset, end)
                self._block = (entry.life, offset, records)
                return records
        self._see_that_it_answers(entry)
        lost = sum(index.counts[number * LANES : (number + 1) * LANES])
        self._store.damaged(entry, offset, end, 1, lost)
        return None

    def _reading(self, entry: Entry, tries_left: int) -> Read:
        """Return a read of a segment; the last try goes around bad sectors, but not before the file was opened anew."""
        handle = self._handle(entry)

        def read(length: int, offset: int) -> bytes:
            return self._store.disk.pread(handle, length, offset)

        return read if tries_left else around(read, self._store.answers)

    def _read_block(self, entry: Entry, read: Read, offset: int, end: int) -> Records:
        data = read(end - offset, offset)  # up to the next block: there may be a hole with a bad sector in between
        header = blocks.decode_header(data)
        if header is None or header.life != entry.life or header.log_id != self._store.log_id:
            raise JournalError("no block of this segment")
        stored = memoryview(data)[blocks.HEADER_BYTES : blocks.HEADER_BYTES + header.stored]
        payload = blocks.payload_of(header, stored, self._codec)
        found = record.decode(payload, header.first, header.events, survivors=bool(header.flags & blocks.SURVIVORS))
        found.wall_ns = header.wall_ns
        return found


class Reader(Blocks):
    """Reads one lane, in order. One thread at a time. What is given up is passed over, unless it is asked for.

    Events that happened while the clock was wrong are told as timeline.py says; with what is given up, as stored.
    """

    def __init__(self, store: Store, lane: Lane, *, given_up: bool = False) -> None:
        super().__init__(store)
        self.lane = lane
        self._given_up = given_up

    def in_memory(self, after: int) -> bool:
        """Return whether a read behind `after` is served from memory: it may then run on an event loop's thread."""
        return self._store.tail.after <= after

    def read(self, after: int, limit: int, bytes_max: int) -> list[Stored]:
        """Return durable records of the lane behind sequence `after`: at most `limit`, about `bytes_max` bytes.

        At least one when there is any. Blocking: may read from the disk. Damage is skipped. Raises DiskRefused while
        the disk is gone.
        """
        while over := self._over():
            records = self._read(limits.beyond(over, after), limit, bytes_max)
            kept = [record for record in records if not limits.given_up(over, record.sequence)]
            if kept or not records:
                return self._told(kept)
            after = records[-1].sequence
        return self._told(self._read(after, limit, bytes_max))

    def _told(self, records: list[Stored]) -> list[Stored]:
        if not records or self._given_up:
            return records
        first, last = records[0].sequence, records[-1].sequence
        told = self._store.timeline.telling(first, last)
        if told is not None and (ending := self._store.timeline.ending(first, last)):  # the clock was never set
            return [Stored(each.sequence, each.raw[:-1] + ending) if MARK in each.raw else each for each in records]
        return records if told is None else [Stored(each.sequence, told(each.raw, each.sequence)) for each in records]

    def _over(self) -> Ranges:
        return () if self._given_up else self._store.view.over.get(self.lane, ())

    def _read(self, after: int, limit: int, bytes_max: int) -> list[Stored]:
        found = _Found(self.lane, after, limit, bytes_max)
        reached = after
        while (young := self._store.tail.blocks_after(reached)) is not None:
            if not young or any(found.take(block.first, block.lanes, block.raws) for block in young):
                return found.records
            reached = young[-1].last
        for entry in self._store.view.segments:
            if entry.spans[self.lane].last > after and self._segment(entry, after, found):
                break
        return found.records

    def count(self, after: int) -> int:
        """Return how many durable records of the lane lie behind sequence `after`; estimated while the disk is gone."""
        total = self._count(after)
        for first, last in self._over():
            if last > after:
                total -= self._count(max(after, first - 1)) - self._count(last)
        return total

    def _count(self, after: int) -> int:
        total = 0
        for entry in self._store.view.segments:
            span = entry.spans[self.lane]
            if span.last <= after:
                continue
            try:
                total += span.count if span.first > after else self._count_in(entry, after)
            except DiskRefused:
                total += max(1, span.count * (span.last - after) // (span.last - span.first + 1))
        return total

    def bytes_behind(self, after: int) -> int:
        """Estimate the bytes on the disk that the lane's records behind `after` take: segments by share of records."""
        total = 0.0
        for entry in self._store.view.segments:
            span = entry.spans[self.lane]
            if span.last > after:
                parts = limits.without(self._over(), max(span.first, after + 1), span.last)
                behind = sum(last - first + 1 for first, last in parts) / (span.last - span.first + 1)
                total += entry.end * behind * span.count / sum(each.count for each in entry.spans)
        return round(total)

    def _segment(self, entry: Entry, after: int, found: _Found) -> bool:
        """Read on in one segment; True when enough was found."""
        index = self._index(entry)
        if index is None:
            return False
        at = max(0, bisect_right(index.firsts, after, 0, len(index.offsets)) - 1)
        for number in range(at, len(index.offsets)):
            if index.counts[number * LANES + self.lane]:
                records = self._records(entry, index, number)
                if records is not None and found.take(records.first, records.lanes, records.raws, records.sequences):
                    return True
        return False

    def _count_in(self, entry: Entry, after: int) -> int:
        index = self._index(entry)
        if index is None:
            return 0
        known = len(index.offsets)
        at = max(0, bisect_right(index.firsts, after, 0, known) - 1)
        total = sum(index.counts[(at + 1) * LANES + self.lane : known * LANES : LANES])
        if at < known and index.counts[at * LANES + self.lane]:
            records = self._records(entry, index, at)
            if records is not None:
                total += sum(
                    1
                    for place, lane in enumerate(records.lanes)
                    if lane == self.lane and records.sequence(place) > after
                )
        return total


def _records_in(entry: Entry) -> int:
    return entry.records_next - entry.records_first


class _Found:
    """Collects a lane's records until there are `limit` of them or `bytes_max` bytes."""

    def __init__(self, lane: int, after: int, limit: int, bytes_max: int) -> None:
        self.records: list[Stored] = []
        self._lane = lane
        self._after = after
        self._limit = limit
        self._bytes_left = bytes_max

    def take(self, first: int, lanes: bytes, raws: list[bytes], sequences: tuple[int, ...] | None = None) -> bool:
        """Take what is wanted of one block; True when that is enough. The first record is taken whatever its size."""
        records, lane = self.records, self._lane
        at = bisect_right(sequences, self._after) if sequences is not None else max(0, self._after + 1 - first)
        at = lanes.find(lane, at)
        while at >= 0:
            raw = raws[at]
            self._bytes_left -= len(raw)
            if (self._bytes_left < 0 and records) or len(records) >= self._limit:
                return True
            records.append(Stored(first + at if sequences is None else sequences[at], raw))
            at = lanes.find(lane, at + 1)
        return len(records) >= self._limit or self._bytes_left <= 0
