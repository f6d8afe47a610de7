"""A journal's folder, read-only: for the command line, whether a gateway has it open or not.

Nothing is locked, written, synced or set aside. Beside a running gateway this sees what was on the disk when it
was opened.

A running gateway writes while this reads: a block may be seen in part, a file probed in one life and read in the next.
What that looks like is not damage, and is told from it in two ways. A look that finds anything is made again, until
two in a row find the same (LOOKS_MAX). And a segment's bytes are overwritten only after a durable block has taken it
out of the index: so what was read of a segment was its own if a later look still finds it there, and is nobody's
business if not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.errors import JournalError
from gateway.event import Lane
from gateway.journal.block import ALIGN
from gateway.journal.cipher import NO_KEYS, Keys
from gateway.journal.compression import Codec
from gateway.journal.disk import Disk, OsDisk
from gateway.journal.folder import Folder
from gateway.journal.reader import Reader, Store, View
from gateway.journal.recovery import Recovered, Recoverer, Recovery
from gateway.journal.segment import Entry, Found, Hole, Link, Read, Walk
from gateway.journal.tail import Tail
from gateway.journal.timeline import TABLE as CLOCK
from gateway.journal.timeline import Timeline
from gateway.journal.unreadable import always, around

LOOKS_MAX: Final = 8  # at a folder that changes while it is looked at


class LaneCount(msgspec.Struct, frozen=True):
    """What one lane holds: records and the sequences of the first and the last (0: none)."""

    lane: str
    records: int
    first: int
    last: int


class CursorCount(msgspec.Struct, frozen=True):
    """How far a cursor is, and how many records of its lane lie behind it."""

    cursor: str
    after: int
    waiting: int


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds."""

    folder: str
    log_id: str
    epoch: int
    unclean: bool  # the last stop, or a gateway is running
    last_sequence: int
    segments: int
    bytes: int  # of blocks, without what was preallocated
    file_bytes: int  # of all segment files, spare ones too
    lanes: list[LaneCount]
    cursors: list[CursorCount]
    rows: dict[str, int]  # durable tables: how many rows


class Verified(msgspec.Struct, frozen=True):
    """One segment after every block in it was read."""

    name: str
    life: int
    first: int
    last: int
    blocks: int
    records: int
    damaged_blocks: int
    damaged_records: int
    damage: list[tuple[int, int]]  # (offset, end) of each hole
    direct: bool  # read from the medium; else through the cache, which may know better


class Inspection:
    """One look at a folder."""

    def __init__(self, folder: Path, *, align: int = ALIGN, disk: Disk | None = None, keys: Keys = NO_KEYS) -> None:
        """Read the newest checkpoint and what lies behind it. Raises JournalError when there is no journal."""
        self._disk = disk or OsDisk()
        self._folder = folder
        self._align = align
        self._keys = keys
        self.refresh()

    def refresh(self) -> None:
        """Look again. Raises JournalError."""
        found = self._look()
        for _ in range(LOOKS_MAX - 1):
            before = _findings(found)
            if not any(before):
                break
            found = self._look()
            if _findings(found) == before:
                break
        self.recovery: Recovery = found.report
        self.log_id = found.log_id.hex()
        self.epoch = found.epoch
        self.last_sequence = found.next_sequence - 1
        self.records = found.link.records_next
        self._tables = found.image.values()
        live = sorted(found.image.segments.values(), key=lambda entry: (entry.first, entry.life))
        self.entries: tuple[Entry, ...] = (*live, *([found.entry] if found.entry else []))
        view = View(self.entries, self.last_sequence)
        tail = Tail(0, self.last_sequence)
        self.store = Store(self._disk, self._folder, found.log_id, self._align, view, tail, keys=self._keys)
        self.store.timeline = Timeline(self._tables.get(CLOCK, {}))

    def _look(self) -> Recovered:
        try:
            self._files = Folder(self._disk, self._folder, align=self._align, write=False, keys=self._keys)
            found = Recoverer(self._files).run()
        except OSError as error:
            raise JournalError(f"{self._folder}: {error.strerror or error}") from error
        if not found.log_id:
            raise JournalError(f"{self._folder}: there is no journal")
        return found

    def reader(self, lane: Lane) -> Reader:
        """Return a reader of one lane."""
        return Reader(self.store, lane)

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a durable table."""
        return self._tables.get(name, {})

    def contents(self) -> Contents:
        """Say what is there, from the index."""
        found = self._contents()
        for _ in range(LOOKS_MAX):
            if not self.store.damages:
                break
            self.refresh()  # a segment may have been given up while it was counted
            found = self._contents()
        return found

    def _contents(self) -> Contents:
        return Contents(
            folder=str(self._folder),
            log_id=self.log_id,
            epoch=self.epoch,
            unclean=self.recovery.unclean,
            last_sequence=self.last_sequence,
            segments=len(self.entries),
            bytes=sum(entry.end for entry in self.entries),
            file_bytes=sum(file.size for file in self._files.files.values()) + self._spare_bytes(),
            lanes=[self._lane(lane) for lane in Lane],
            cursors=list(self._cursors()),
            rows={name: len(rows) for name, rows in sorted(self._tables.items()) if rows},
        )

    def verify(self) -> Iterator[Verified]:
        """Read every block of every live segment and check it, oldest segment first.

        A segment that a running gateway gives up meanwhile is left out.
        """
        codec = Codec(keys=self._keys)
        for entry in self.entries:
            found = self._verify(entry, codec)
            if not found.damaged_blocks or self._still_there(entry):
                yield found

    def _still_there(self, entry: Entry) -> bool:
        """Return whether a segment is in the index as it is now."""
        now = Inspection(self._folder, align=self._align, disk=self._disk, keys=self._keys)
        return any(entry.life == each.life for each in now.entries)

    def _lane(self, lane: Lane) -> LaneCount:
        spans = [entry.spans[lane] for entry in self.entries if entry.spans[lane].count]
        first = min((span.first for span in spans), default=0)
        last = max((span.last for span in spans), default=0)
        return LaneCount(lane.name.lower(), sum(span.count for span in spans), first, last)

    def _cursors(self) -> Iterator[CursorCount]:
        lanes = {lane.name.lower(): lane for lane in Lane}
        for name, row in sorted(self.table("cursors").items()):
            lane = lanes.get(name.rpartition(":")[2], {"commands": Lane.COMMAND}.get(name.partition(":")[0]))
            counted = [lane] if lane is not None else [Lane.ALARM, Lane.TELEMETRY, Lane.TIMER]
            yield CursorCount(name, row["after"], sum(self._count(each, row["after"]) for each in counted))

    def _count(self, lane: Lane, after: int) -> int:
        reader = self.reader(lane)
        try:
            return reader.count(after)
        finally:
            reader.close()

    def _spare_bytes(self) -> int:
        total = 0
        for name in self._files.spares:
            with suppress(FileNotFoundError):  # it is in use by now
                handle = self._disk.open(self._folder / name, write=False)
                total += self._disk.size(handle)
                self._disk.close(handle)
        return total

    def _verify(self, entry: Entry, codec: Codec) -> Verified:
        held: list[Found] = []
        holes: list[Hole] = []
        direct = False
        try:
            with self._opened(entry.name) as (read, direct):
                for part in self._walk(entry, read, codec):
                    if isinstance(part, Found):
                        part.payload = None  # it held: what is counted is in the header
                        held.append(part)
                    elif isinstance(part, Hole):
                        holes.append(part)
        except OSError:
            whole = Hole(0, entry.end, entry.number_next - entry.number_first, entry.records_next - entry.records_first)
            held, holes = [], [whole]
        return Verified(
            entry.name,
            entry.life,
            entry.first,
            entry.last,
            blocks=len(held),
            records=sum(found.header.events for found in held),
            damaged_blocks=sum(hole.blocks for hole in holes),
            damaged_records=sum(hole.records for hole in holes),
            damage=[(hole.offset, hole.end) for hole in holes],
            direct=direct,
        )

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[Read, bool]]:
        """Open a segment, past the cache where that is possible; bad sectors read as zeros. Raises OSError."""
        path, direct, read = self._folder / name, True, self._disk.pread_direct
        try:
            handle = self._disk.open_direct(path)
        except OSError:
            handle, direct, read = self._disk.open(path, write=False), False, self._disk.pread
        try:
            yield around(lambda length, offset: read(handle, length, offset), always), direct
        finally:
            self._disk.close(handle)

    @contextmanager
    def walking(self, entry: Entry, codec: Codec) -> Iterator[Walk]:
        """Go through the blocks of a segment, checkpoints among them. Raises OSError."""
        handle = self._disk.open(self._folder / entry.name, write=False)
        try:
            read = around(lambda length, offset: self._disk.pread(handle, length, offset), always)
            yield self._walk(entry, read, codec)
        finally:
            self._disk.close(handle)

    def _walk(self, entry: Entry, read: Read, codec: Codec) -> Walk:
        return Walk(
            read,
            bytes.fromhex(self.log_id),
            entry.life,
            entry.end,
            align=self._align,
            codec=codec,
            link=Link.before(entry),
            closing=(entry.number_next, entry.records_next),
        )


def _findings(found: Recovered) -> tuple[object, ...]:
    """Return what a look found wrong: all of it falsy when nothing is. A torn end may be a block that is coming."""
    report = found.report
    return (
        *found.damages,
        report.missing_segments,
        report.missing_records,
        report.checkpoints_skipped,
        report.rebuilt,
    )
