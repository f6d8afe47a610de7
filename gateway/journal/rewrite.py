"""Copying survivors out of segments that are given up, on the worker's thread.

The victims are read block by block. Records that survive keep their bytes, ids and sequences and go into new
segments of SURVIVORS blocks (at most OUTPUTS_MAX), written whole and synced once. Nothing is switched here: the
journal puts them into the index and the victims out of it in one later block, and only when that block is durable
may the victims' files be used again. A crash in between leaves the victims as they were and a file that no index
names.

What is lost is not counted here but listed, lane by lane, so that the journal can count it for each cursor as the
cursors are when the switch is made.

A block of survivors bears the wall time of the block that its last record was written in: how old records are is not
forgotten when they are copied.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from gateway.errors import JournalError
from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import Deflate, Header
from gateway.journal.quarantine import keep_copy
from gateway.journal.reader import Damage
from gateway.journal.retention import Plan
from gateway.journal.segment import Entry, Found, Hole, Link, Read, Walk, spans_of, started
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
    futile: bool = False  # nothing was written: it would gain no segment and rid no segment of anything


class Survivor(NamedTuple):
    """A record that is copied out."""

    sequence: int
    lane: int
    raw: bytes
    wall_ns: int  # of the block it was written in
    unsynced: bool


class _Chunk(msgspec.Struct, gc=False):
    """Survivors that will be one block."""

    sequences: list[int]
    lanes: bytes
    payload: Deflate
    size: int  # on the disk
    wall_first: int
    wall_ns: int
    flags: int


class _Output(msgspec.Struct, gc=False):
    """One new segment."""

    life: int
    link: Link
    data: bytearray
    entry: Entry | None = None


class _Out:
    """The new segments, filled block by block, at most `outputs_max`."""

    def __init__(self, writer: Writer, boot_ns: int, outputs_max: int) -> None:
        self._writer = writer
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

    def finish(self, bucket_s: int) -> list[Entry]:
        """Write and sync the segments, thinned to a bucket. Raises OSError: then none of them is taken."""
        done: list[Entry] = []
        try:
            for output in self._outputs:
                assert output.entry is not None
                name = self._writer.write_whole(bytes(output.data))
                done.append(msgspec.structs.replace(output.entry, name=name, bucket_s=bucket_s))
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
        size = blocks.padded(deflated.size, self._align)
        flags = blocks.UNSYNCED if any(each.unsynced for each in part) else 0
        return _Chunk(sequences, lanes, deflated, size, part[0].wall_ns, part[-1].wall_ns, flags)

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
            wall_ns=chunk.wall_ns,
            boot_ns=self._boot_ns,
            events=len(chunk.sequences),
            counts=tuple(span.count for span in spans),
            flags=blocks.SURVIVORS | chunk.flags,
        )
        data, header = blocks.encode(header, chunk.payload, self._align)
        output.data += data
        output.link = Link.of(header)
        entry = output.entry or msgspec.structs.replace(started(header, ""), wall_first=chunk.wall_first)
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


def rewrite(writer: Writer, plan: Plan, outputs_max: int, boot_ns: int) -> Rewritten:
    """Copy a plan's survivors into new segments and list what is lost. Blocking. Raises OSError."""
    out = _Out(writer, boot_ns, outputs_max)
    done = Rewritten()
    for victim in plan.victims:
        survivors, lost, damages = _sift(writer, plan, victim)
        if not out.add(survivors):
            break
        done.victims.append(victim)
        done.lost.append(lost)
        done.damages += damages
    losing = plan.thinner is not None or Lane.TELEMETRY not in plan.keep
    rid = losing and any(Lane.TELEMETRY in lost.sequences for lost in done.lost)
    if len(done.victims) <= out.outputs and not rid:
        done.futile = True
        return done
    buckets = [victim.bucket_s for victim in done.victims if victim.spans[Lane.TELEMETRY].count]
    bucket_s = min(buckets, default=0)
    done.survivors = out.finish(max(bucket_s, plan.thinner.bucket_s) if plan.thinner else bucket_s)
    return done


def _sift(writer: Writer, plan: Plan, victim: Entry) -> tuple[list[Survivor], Lost, list[Damage]]:
    """Read one victim; returns its survivors, what is lost, and the damage found."""
    survivors: list[Survivor] = []
    lost = Lost({}, victim.wall_first, victim.wall_last)
    damages: list[Damage] = []
    wanted_lanes = {lane for cursor in plan.cursors for lane in cursor.lanes}
    thinner = plan.thinner
    all_survive = [plan.all_survive(victim, lane) for lane in Lane]
    thins_all = plan.thins_all(victim)
    with writer.opened(victim.name) as read:
        for part in _walk(writer, victim, read):
            if isinstance(part, Hole):
                copy = f"{victim.life}-{part.offset}.block"
                keep_copy(writer.disk, writer.folder, victim.name, copy, part.offset, part.end - part.offset)
                damages.append(Damage(victim.life, victim.name, part.offset, part.end, part.blocks, part.records))
            if not isinstance(part, Found) or part.payload is None or not part.header.events:
                continue
            records = record.decode(part.payload, part.header.first, part.header.events, survivors=victim.survivors)
            wall_ns, unsynced = part.header.wall_ns, bool(part.header.flags & blocks.UNSYNCED)
            for at, lane in enumerate(records.lanes):
                sequence, raw = records.sequence(at), records.raws[at]
                keep = all_survive[lane]
                if keep is None:
                    keep = plan.survives(lane, sequence)
                if keep and thinner is not None and lane == Lane.TELEMETRY and (thins_all or plan.thins(sequence)):
                    keep = thinner.keeps(sequence, raw, wall_ns)
                if keep:
                    survivors.append(Survivor(sequence, lane, raw, wall_ns, unsynced))
                elif lane in wanted_lanes:
                    lost.sequences.setdefault(lane, array("Q")).append(sequence)
    return survivors, lost, damages


def _walk(writer: Writer, entry: Entry, read: Read, *, inside: bool = True) -> Walk:
    """Return a walk through one segment, to the end that the index knows; not `inside`: headers alone."""
    return Walk(
        read,
        writer.log_id,
        entry.life,
        entry.end,
        align=writer.options.align,
        codec=writer.codec if inside else None,
        link=Link.before(entry),
        closing=(entry.number_next, entry.records_next),
    )


def headers(writer: Writer, entry: Entry) -> Iterator[Header]:
    """Go through the headers of one segment. Blocking. Raises OSError."""
    with writer.opened(entry.name) as read:
        for part in _walk(writer, entry, read, inside=False):
            if isinstance(part, Found):
                yield part.header


def lane_records(writer: Writer, entry: Entry, lane: Lane) -> Iterator[tuple[Header, list[int], list[bytes]]]:
    """Go through the blocks of one segment that hold a lane: its sequences and bytes. Blocking. Raises OSError.

    What does not hold is passed over: it is lost, and counted as damage by who is to read it.
    """
    with writer.opened(entry.name) as read:
        for part in _walk(writer, entry, read, inside=False):
            if not isinstance(part, Found) or not part.header.counts[lane]:
                continue
            header = part.header
            try:
                stored = read(header.stored, part.offset + blocks.HEADER_BYTES)
                payload = blocks.payload_of(header, stored, writer.codec)
                records = record.decode(payload, header.first, header.events, survivors=entry.survivors)
            except JournalError:
                continue
            places = [at for at, each in enumerate(records.lanes) if each == lane]
            yield header, [records.sequence(at) for at in places], [records.raws[at] for at in places]
