"""Copying survivors out of segments that are given up, on the worker's thread.

The victims are read block by block. Records that survive keep their bytes, ids and sequences and go into new
segments of SURVIVORS blocks (at most OUTPUTS_MAX), written whole and synced once. Nothing is switched here: the
journal puts them into the index and the victims out of it in one later block, and only when that block is durable
may the victims' files be used again. A crash in between leaves the victims as they were and a file that no index
names.

What is lost is not counted here but listed, lane by lane, so that the journal can count it for each cursor as the
cursors are when the switch is made.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import Deflate, Header
from gateway.journal.quarantine import keep_copy
from gateway.journal.reader import Damage
from gateway.journal.retention import Plan
from gateway.journal.segment import Entry, Found, Hole, Link, Walk, spans_of, started
from gateway.journal.writer import Writer

SURVIVORS_BLOCK_BYTES: Final = 256 * 1024  # of events in one block of survivors


class Lost(msgspec.Struct, gc=False):
    """Records that went with one victim: sequences per lane, and when their blocks were written."""

    sequences: dict[int, array[int]]
    wall_first: int
    wall_last: int


class Rewritten(msgspec.Struct, gc=False):
    """What became of a plan."""

    victims: list[Entry] = []  # maybe fewer than planned: more survivors than the reserve holds
    survivors: list[Entry] = []
    lost: list[Lost] = []
    damages: list[Damage] = []


class Survivor(NamedTuple):
    """A record that is copied out."""

    sequence: int
    lane: int
    raw: bytes


class _Chunk(msgspec.Struct, gc=False):
    """Survivors that will be one block."""

    sequences: list[int]
    lanes: bytes
    payload: Deflate
    size: int  # on the disk


class _Output(msgspec.Struct, gc=False):
    """One new segment."""

    life: int
    link: Link
    data: bytearray
    entry: Entry | None = None


class _Out:
    """The new segments, filled block by block, at most `outputs_max`."""

    def __init__(self, writer: Writer, wall_ns: int, boot_ns: int, outputs_max: int) -> None:
        self._writer = writer
        self._wall_ns = wall_ns
        self._boot_ns = boot_ns
        self._outputs_max = outputs_max
        self._align = writer.options.align
        self._size = writer.options.segment_size
        self._outputs: list[_Output] = []

    @property
    def outputs(self) -> int:
        """How many segments it has come to."""
        return len(self._outputs)

    def add(self, survivors: list[Survivor]) -> bool:
        """Take one victim's survivors, in order; False, and nothing taken, when they do not fit."""
        chunks = [self._chunk(part) for part in _parts(survivors)]
        room = self._size - len(self._outputs[-1].data) if self._outputs else 0
        more = 0
        for chunk in chunks:
            if chunk.size > room:
                more, room = more + 1, self._size
            room -= chunk.size
        if room < 0 or len(self._outputs) + more > self._outputs_max:
            return False
        for chunk in chunks:
            if not self._outputs or len(self._outputs[-1].data) + chunk.size > self._size:
                self._outputs.append(_Output(self._writer.next_life(), Link(-1, 0, 0, 0), bytearray()))
            self._place(chunk, self._outputs[-1])
        return True

    def finish(self) -> list[Entry]:
        """Write and sync the segments. Raises OSError: then none of them is taken."""
        done: list[Entry] = []
        try:
            for output in self._outputs:
                assert output.entry is not None
                name = self._writer.write_whole(bytes(output.data))
                done.append(msgspec.structs.replace(output.entry, name=name))
        except OSError:
            for entry in done:
                self._writer.pool.give_back(entry.name)
            raise
        return done

    def _chunk(self, part: list[Survivor]) -> _Chunk:
        sequences = [each.sequence for each in part]
        lanes = bytes(each.lane for each in part)
        payload = record.encode([each.raw for each in part], lanes, b"", sequences)
        deflated = blocks.deflate(payload, self._writer.codec)
        return _Chunk(sequences, lanes, deflated, blocks.padded(deflated.size, self._align))

    def _place(self, chunk: _Chunk, output: _Output) -> None:
        spans = spans_of(chunk.lanes, chunk.sequences)
        header = Header(
            log_id=self._writer.log_id,
            life=output.life,
            epoch=self._writer.epoch,
            previous_crc=output.link.crc or 0,
            number=output.link.number + 1,
            durable_through=0,
            first=chunk.sequences[0],
            records_before=output.link.records_next,
            wall_ns=self._wall_ns,
            boot_ns=self._boot_ns,
            events=len(chunk.sequences),
            counts=tuple(span.count for span in spans),
            flags=blocks.SURVIVORS,
        )
        data, header = blocks.encode(header, chunk.payload, self._align)
        output.data += data
        output.link = Link.of(header)
        entry = output.entry or started(header, "")
        output.entry = entry.grown(header, len(output.data), spans, chunk.sequences[-1])


def _parts(survivors: list[Survivor]) -> Iterator[list[Survivor]]:
    """Cut survivors into blocks."""
    part: list[Survivor] = []
    size = 0
    for each in survivors:
        part.append(each)
        size += len(each.raw)
        if size >= SURVIVORS_BLOCK_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def rewrite(writer: Writer, plan: Plan, outputs_max: int, wall_ns: int, boot_ns: int) -> Rewritten | None:
    """Copy a plan's survivors into new segments and list what is lost. Blocking. Raises OSError.

    None, and nothing is written, when it would gain no segment and rid no segment of anything.
    """
    out = _Out(writer, wall_ns, boot_ns, outputs_max)
    done = Rewritten()
    for victim in plan.victims:
        survivors, lost, damages = _sift(writer, plan, victim)
        if not out.add(survivors):
            break
        done.victims.append(victim)
        done.lost.append(lost)
        done.damages += damages
    rid = Lane.TELEMETRY not in plan.keep and any(Lane.TELEMETRY in lost.sequences for lost in done.lost)
    if len(done.victims) <= out.outputs and not rid:
        return None
    done.survivors = out.finish()
    return done


def _sift(writer: Writer, plan: Plan, victim: Entry) -> tuple[list[Survivor], Lost, list[Damage]]:
    """Read one victim; returns its survivors, what is lost, and the damage found."""
    survivors: list[Survivor] = []
    lost = Lost({}, victim.wall_first, victim.wall_last)
    damages: list[Damage] = []
    wanted_lanes = {lane for cursor in plan.cursors for lane in cursor.lanes}
    handle = writer.disk.open(writer.folder / victim.name, write=False)
    try:
        walk = Walk(
            writer.reading(handle),
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
                copy = f"{victim.life}-{part.offset}.block"
                keep_copy(writer.disk, writer.folder, victim.name, copy, part.offset, part.end - part.offset)
                damages.append(Damage(victim.life, victim.name, part.offset, part.end, part.blocks, part.records))
            if not isinstance(part, Found) or part.payload is None or not part.header.events:
                continue
            records = record.decode(part.payload, part.header.first, part.header.events, survivors=victim.survivors)
            for at, lane in enumerate(records.lanes):
                sequence = records.sequence(at)
                if plan.survives(lane, sequence):
                    survivors.append(Survivor(sequence, lane, records.raws[at]))
                elif lane in wanted_lanes or lane == Lane.DEAD_LETTER:
                    lost.sequences.setdefault(lane, array("Q")).append(sequence)
    finally:
        writer.disk.close(handle)
    return survivors, lost, damages
