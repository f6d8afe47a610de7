"""Copying survivors out of segments that are given up, on the worker's thread.

The victims are read block by block. Records that survive keep their bytes, ids and sequences and go into one new
segment of SURVIVORS blocks, written whole and synced once. Nothing is switched here: the journal puts the new
segment into the index and the victims out of it in one later block, and only when that block is durable may the
victims' files be used again. A crash in between leaves the victims as they were and a file that no index names.

What is lost is not counted here but listed, lane by lane, so that the journal can count it for each cursor as the
cursors are when the switch is made.
"""

from __future__ import annotations

from array import array
from typing import Final

import msgspec

from gateway.errors import DiskRefused
from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import Header
from gateway.journal.reader import Damage
from gateway.journal.retention import Plan
from gateway.journal.segment import Entry, Found, Hole, Link, Span, Walk, spans_of, started
from gateway.journal.writer import Writer

SURVIVORS_BLOCK_BYTES: Final = 256 * 1024  # of events in one block of survivors


class Lost(msgspec.Struct, gc=False):
    """Records that went with one victim: sequences per lane, and when their blocks were written."""

    sequences: dict[int, array[int]]
    wall_first: int
    wall_last: int


class Rewritten(msgspec.Struct, gc=False):
    """What became of a plan."""

    victims: tuple[Entry, ...]  # maybe fewer than planned: more survivors than one segment holds
    survivors: Entry | None
    lost: list[Lost]
    damages: list[Damage]


class _Out:
    """The new segment: filled block by block, until it is full."""

    def __init__(self, writer: Writer, wall_ns: int, boot_ns: int) -> None:
        self._writer = writer
        self._wall_ns = wall_ns
        self._boot_ns = boot_ns
        self._data = bytearray()
        self._entry: Entry | None = None
        self._link = Link(-1, 0, 0, 0)
        self._life = writer.next_life()

    def room_for(self, survivors: list[tuple[int, int, bytes]]) -> bool:
        """Return whether records fit, at worst uncompressed."""
        size = sum(len(raw) + 13 for _, _, raw in survivors)
        count = size // SURVIVORS_BLOCK_BYTES + 1
        overhead = count * (blocks.HEADER_BYTES + self._writer.options.align)
        return len(self._data) + size + overhead <= self._writer.options.segment_size

    def add(self, survivors: list[tuple[int, int, bytes]]) -> None:
        """Take (sequence, lane, raw) in order."""
        chunk: list[tuple[int, int, bytes]] = []
        size = 0
        for each in survivors:
            chunk.append(each)
            size += len(each[2])
            if size >= SURVIVORS_BLOCK_BYTES:
                self._block(chunk)
                chunk, size = [], 0
        if chunk:
            self._block(chunk)

    def _block(self, chunk: list[tuple[int, int, bytes]]) -> None:
        sequences = [sequence for sequence, _, _ in chunk]
        lanes = bytes(lane for _, lane, _ in chunk)
        spans: tuple[Span, ...] = spans_of(lanes, sequences)
        payload = record.encode([raw for _, _, raw in chunk], lanes, b"", sequences)
        header = Header(
            log_id=self._writer.log_id,
            life=self._life,
            epoch=self._writer.epoch,
            previous_crc=self._link.crc or 0,
            number=self._link.number + 1,
            durable_through=0,
            first=sequences[0],
            records_before=self._link.records_next,
            wall_ns=self._wall_ns,
            boot_ns=self._boot_ns,
            events=len(chunk),
            counts=tuple(span.count for span in spans),
            flags=blocks.SURVIVORS,
        )
        data, header = blocks.encode(header, blocks.deflate(payload, self._writer.codec), self._writer.options.align)
        entry = self._entry or started(header, "")
        self._data += data
        self._entry = entry.grown(header, len(self._data), spans, sequences[-1])
        self._link = Link.of(header)

    def finish(self) -> Entry | None:
        """Write and sync the segment; None when nothing survived. Raises OSError."""
        if self._entry is None:
            return None
        name = self._writer.write_whole(bytes(self._data))
        return msgspec.structs.replace(self._entry, name=name)


def rewrite(writer: Writer, plan: Plan, wall_ns: int, boot_ns: int) -> Rewritten:
    """Copy a plan's survivors into a new segment and list what is lost. Blocking. Raises DiskRefused."""
    out = _Out(writer, wall_ns, boot_ns)
    done = Rewritten((), None, [], [])
    try:
        for victim in plan.victims:
            survivors, lost, damages = _sift(writer, plan, victim)
            if done.victims and not out.room_for(survivors):
                break
            out.add(survivors)
            done.victims += (victim,)
            done.lost.append(lost)
            done.damages += damages
        done.survivors = out.finish()
    except OSError as error:
        raise DiskRefused(f"survivors cannot be written: {error.strerror or error}") from error
    return done


def _sift(writer: Writer, plan: Plan, victim: Entry) -> tuple[list[tuple[int, int, bytes]], Lost, list[Damage]]:
    """Read one victim; returns its survivors, what is lost, and the damage found."""
    survivors: list[tuple[int, int, bytes]] = []
    lost = Lost({}, victim.wall_first, victim.wall_last)
    damages: list[Damage] = []
    wanted_lanes = {lane for cursor in plan.cursors for lane in cursor.lanes}
    handle = writer.disk.open(writer.folder / victim.name, write=False)
    try:
        walk = Walk(
            lambda length, offset: writer.disk.pread(handle, length, offset),
            writer.log_id,
            victim.life,
            victim.end,
            align=writer.options.align,
            codec=writer.codec,
            link=Link.before(victim),
            closing=(victim.number_next, victim.records_next),
        )
        for part in walk:
            if isinstance(part, Hole):
                damages.append(Damage(victim.life, victim.name, part.offset, part.end, part.blocks, part.records))
            if not isinstance(part, Found) or part.payload is None or not part.header.events:
                continue
            records = record.decode(part.payload, part.header.first, part.header.events, survivors=victim.survivors)
            for at, lane in enumerate(records.lanes):
                sequence = records.sequence(at)
                if plan.survives(lane, sequence):
                    survivors.append((sequence, lane, records.raws[at]))
                elif lane in wanted_lanes or lane == Lane.DEAD_LETTER:
                    lost.sequences.setdefault(lane, array("Q")).append(sequence)
    finally:
        writer.disk.close(handle)
    return survivors, lost, damages
