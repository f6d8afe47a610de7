"""A segment: one file of blocks, preallocated with zeros and used again and again.

    00000001.segment    in use, or free for its next life
    00000002.spare      written with zeros, never used; renamed to .segment when it is
    00000003.filling    zeros are still being written; removed at start
    quarantine/         copies of damaged blocks, named <life>-<offset>.block
    lock                held by the process that owns the journal; its text is a hint at the last epoch

A file's name means nothing but where its bytes are: which life it holds is said by the headers inside,
so files that were renamed, swapped or copied are found by what they are. Each use of a file gets a new
*life*, a number that is never used twice; blocks of an earlier life in the same file are not seen.

The first block of a segment is a checkpoint (checkpoint.py): all tables and the index of live segments.
The exception is a segment of survivors, which has none: it holds records copied out of evicted segments,
is written once, synced once, and becomes live when a later block's `_segments` change names it.

A segment is left (sealed) when the next block does not fit or when a write or sync in it failed; the next
segment's headers say at which offset. It is live while it is in the index. It may be used again when a
durable block has taken it out of the index, never before: until then the records are still there.

The index holds one `Entry` per segment, so that what start, readers and eviction need to know does not
depend on how many records wait: which sequences, how many records per lane, where it ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from gateway.errors import JournalError
from gateway.journal import block as blocks
from gateway.journal.block import HEADER_BYTES, LANES_MAX, MAGIC, Header

SEGMENT: Final = ".segment"
SPARE: Final = ".spare"
FILLING: Final = ".filling"
QUARANTINE: Final = "quarantine"
LOCK: Final = "lock"
READ_BYTES: Final = 256 * 1024  # what one read of a walk asks for

_LIFE = struct.Struct("<Q")
_NONE = (0,) * LANES_MAX


class Span(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where one lane's records lie: how many, the first and the last sequence (0, 0, 0 for none)."""

    count: int = 0
    first: int = 0
    last: int = 0

    def joined(self, other: Span) -> Span:
        """Return the span of both."""
        if not other.count:
            return self
        if not self.count:
            return other
        return Span(self.count + other.count, min(self.first, other.first), max(self.last, other.last))


NO_SPANS: Final = (Span(),) * LANES_MAX


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One segment in the index. Sequences are inclusive; `last` < `first` when it holds no event."""

    life: int
    name: str
    number_first: int  # number of its first block
    records_first: int  # `records before` of its first block
    first: int  # least sequence inside
    previous_life: int = 0
    previous_end: int = 0
    survivors: bool = False
    end: int = 0  # offset behind the last block
    number_next: int = 0  # one more than the number of its last block
    records_next: int = 0
    last: int = -1
    crc: int = 0  # header CRC of its last block
    epoch: int = 0
    wall_first: int = 0
    wall_last: int = 0
    spans: tuple[Span, ...] = NO_SPANS
    unsynced: bool = False  # some block in it was written when nobody disciplined the wall clock
    bucket_s: int = 0  # its telemetry was thinned to one event in this time; 0: all of it is there

    def grown(self, header: Header, end: int, spans: Sequence[Span], last: int) -> Entry:
        """Return this entry with one more block, which ends at offset `end` and sequence `last`."""
        return msgspec.structs.replace(
            self,
            end=end,
            number_next=header.number + 1,
            records_next=header.next_records,
            last=max(self.last, last),
            crc=header.crc,
            epoch=header.epoch,
            wall_first=self.wall_first or header.wall_ns,
            wall_last=header.wall_ns,
            spans=tuple(mine.joined(new) for mine, new in zip(self.spans, spans, strict=True)),
            unsynced=self.unsynced or bool(header.flags & blocks.UNSYNCED),
        )


def started(header: Header, name: str) -> Entry:
    """Return the entry of a segment whose first block is `header`."""
    return Entry(
        life=header.life,
        name=name,
        number_first=header.number,
        records_first=header.records_before,
        first=header.first,
        previous_life=header.previous_life,
        previous_end=header.previous_end,
        survivors=bool(header.flags & blocks.SURVIVORS),
        number_next=header.number,
        records_next=header.records_before,
        last=header.first - 1,
    )


def spans_of(lanes: bytes, sequences: Sequence[int] | range) -> tuple[Span, ...]:
    """Return each lane's span in a block whose i-th event has lane `lanes[i]` and sequence `sequences[i]`."""
    spans = list(NO_SPANS)
    for lane in set(lanes):
        spans[lane] = Span(lanes.count(lane), sequences[lanes.index(lane)], sequences[lanes.rindex(lane)])
    return tuple(spans)


class Link(msgspec.Struct, frozen=True, gc=False):
    """What the next block must follow: the last good one, or what is known of it."""

    number: int
    crc: int | None  # None: not known, any will do
    epoch: int
    records_next: int

    @classmethod
    def of(cls, header: Header) -> Link:
        """Return the link that a block makes."""
        return cls(header.number, header.crc, header.epoch, header.next_records)

    @classmethod
    def before(cls, entry: Entry) -> Link:
        """Return the link before a segment's first block, from the index."""
        return cls(entry.number_first - 1, None, 0, entry.records_first)


class Found(msgspec.Struct, gc=False):
    """A block that holds. `payload` is inflated, or None when the walk does not look inside."""

    header: Header
    offset: int
    end: int
    payload: bytes | None


class Hole(msgspec.Struct, gc=False):
    """Bytes where acknowledged blocks were and are not: `blocks` and `records` are exact."""

    offset: int
    end: int
    blocks: int
    records: int
    counts: tuple[int, ...] | None = None  # per lane, when the damaged header still holds


class Tail(msgspec.Struct, gc=False):
    """Where the newest segment's blocks end. `header` is sound, the payload behind it is not: a torn block."""

    offset: int
    header: Header | None = None


Read = Callable[[int, int], bytes]
"""(length, offset) -> bytes, fewer at the end of the file."""


class Window:
    """Reads a file in large pieces, hands out small ones."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._start = 0
        self._data = b""

    def get(self, length: int, offset: int) -> bytes:
        """Return up to `length` bytes at `offset`."""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._data):
            self._data = self._read(max(length, READ_BYTES), offset)
            self._start = offset
            begin = 0
        return self._data[begin : begin + length]


class Walk:
    """Goes through the blocks of one life in one file, over holes, to the tail.

    `end` is where the segment ends: of a sealed one the offset from the index (then everything before it
    was durable, and a hole is damage whatever lies behind), of the newest one the length of the file.
    With a codec payloads are checked and inflated; without one only headers are read.
    """

    def __init__(
        self,
        read: Read,
        log_id: bytes,
        life: int,
        end: int,
        *,
        align: int,
        codec: Any = None,
        link: Link | None = None,
        offset: int = 0,
        closing: tuple[int, int] | None = None,
    ) -> None:
        self._window = Window(read)
        self._log_id = log_id
        self._life = life
        self._end = end
        self._align = align
        self._codec = codec
        self._closing = closing  # (number, records) that follow a sealed segment's last block
        self._ghosts: set[int] = set()  # CRCs of sound blocks that belong to an abandoned chain
        self.link = link
        self.offset = offset

    def __iter__(self) -> Iterator[Found | Hole | Tail]:
        """Yield blocks and holes in order, then, unless the segment is sealed, its tail."""
        while self.offset < self._end:
            found = self._at(self.offset)
            if found is None or not self._follows(found.header):
                broken = self._header(self.offset)
                if found is not None:
                    self._ghosts.add(found.header.crc)
                following = self._search(self.offset + self._align)
                if following is None and self._closing is None:
                    yield self._tail(broken)
                    return
                yield self._hole(broken, following)
                if following is None:
                    return
                found = following
            self.link = Link.of(found.header)
            self.offset = found.end
            yield found
        if self._closing is None:
            yield Tail(self.offset)
        elif self.link is None or self.link.number + 1 < self._closing[0]:
            yield self._hole(None, None)  # the file was cut where a block ends, and there were more

    def _header(self, offset: int) -> Header | None:
        header = blocks.decode_header(self._window.get(HEADER_BYTES, offset))
        if header is None or header.log_id != self._log_id or header.life != self._life:
            return None
        return header

    def _at(self, offset: int) -> Found | None:
        """Return the block of this life at `offset` if all of it holds."""
        header = self._header(offset)
        if header is None:
            return None
        if offset + HEADER_BYTES + header.stored > self._end:  # zeros behind it may be missing: they say nothing
            return None
        end = offset + blocks.padded(header.stored, self._align)
        if self._codec is None:
            return Found(header, offset, end, None)
        try:
            payload = blocks.payload_of(header, self._window.get(header.stored, offset + HEADER_BYTES), self._codec)
        except JournalError:
            return None
        return Found(header, offset, end, payload)

    def _follows(self, header: Header) -> bool:
        """Return whether a block is the very next one: number, CRC of the one before, epoch not older."""
        link = self.link
        return link is None or (
            header.number == link.number + 1
            and (link.crc is None or header.previous_crc == link.crc)
            and header.epoch >= link.epoch
        )

    def _proves(self, header: Header) -> bool:
        """Return whether a block behind a hole shows that the hole was durable once, and is no ghost.

        A block whose number is the very next one leaves no room for a lost one: it is a ghost, and so is
        every block that names a ghost as the one before it.
        """
        link = self.link
        if link is None:
            return True
        return (
            header.number > link.number + 1
            and header.previous_crc not in self._ghosts
            and header.epoch >= link.epoch
            and header.records_before >= link.records_next
            and (self._closing is not None or header.durable_through > link.number)
        )

    def _search(self, offset: int) -> Found | None:
        """Find the next sound block at or behind `offset` that proves the hole before it."""
        wanted = _LIFE.pack(self._life)
        while offset < self._end:
            data = self._window.get(min(READ_BYTES, self._end - offset), offset)
            at = data.find(MAGIC)
            while at >= 0:
                if (offset + at) % self._align == 0 and data[at + 16 : at + 24] == wanted:
                    found = self._at(offset + at)
                    if found is not None and self._proves(found.header):
                        return found
                    if found is not None:
                        self._ghosts.add(found.header.crc)
                at = data.find(MAGIC, at + 1)
            if len(data) <= self._align:
                return None
            # step back one aligned unit, so that no magic is cut in two
            offset += max(self._align, (len(data) - self._align) // self._align * self._align)
        return None

    def _tail(self, broken: Header | None) -> Tail:
        """Return the cut; a sound header that follows here is a block whose payload did not make it."""
        return Tail(self.offset, broken if broken is not None and self._follows(broken) else None)

    def _hole(self, broken: Header | None, following: Found | None) -> Hole:
        if following is not None:
            end, behind = following.offset, (following.header.number, following.header.records_before)
        else:
            assert self._closing is not None
            end, behind = max(self._end, self.offset), self._closing
        # with nothing known before the head, only the first block (a checkpoint) can be missing
        link = self.link or Link(behind[0] - 2, None, 0, behind[1])
        records = behind[1] - link.records_next
        counts = broken.counts if broken is not None and broken.events == records else None
        return Hole(self.offset, end, behind[0] - link.number - 1, records, counts)


def first_sound(read: Read, size: int, align: int) -> Header | None:
    """Return the first sound header behind a file's damaged head, whatever its life; None when there is none."""
    window = Window(read)
    offset = align
    while offset < size:
        data = window.get(min(READ_BYTES, size - offset), offset)
        at = data.find(MAGIC)
        while at >= 0:
            if (offset + at) % align == 0:
                header = blocks.decode_header(data, at)
                if header is not None:
                    return header
            at = data.find(MAGIC, at + 1)
        if len(data) <= align:
            return None
        offset += max(align, (len(data) - align) // align * align)
    return None
