"""Giving up segments when the budget runs out: one step, all of it on the worker's thread, between two commits.

Decided by what is durable (the writer's image), never by what is still open: which segments nobody needs, or which
records survive (retention.py), survivors copied (rewrite.py), what is lost counted for each cursor that had not had
it. Then one small block of its own makes the switch: victims out of the index, survivors in, gap rows up. It may use
the last free segment. Only when it is durable are the victims' files free.

As it goes ahead of batches that are still open, gap rows that those carry are brought up to date by the loop
(`added`), so that a row that is reported and deleted at the same moment leaves what was counted since.

A record that is on its way to a cloud at this moment may be counted as evicted and be delivered all the same: by at
most one window of a route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.errors import DiskRefused
from gateway.event import Lane
from gateway.journal import record, retention
from gateway.journal.batch import Batch, Block, Placed
from gateway.journal.checkpoint import SEGMENTS
from gateway.journal.options import LEAVE_SWITCH, RESERVE_SEGMENTS
from gateway.journal.reader import Damage
from gateway.journal.retention import Cursor
from gateway.journal.rewrite import Lost, rewrite
from gateway.journal.segment import NO_SPANS, Entry
from gateway.journal.writer import Writer

Gap = dict[str, Any]
"""A row of table "gaps": {cursor, lane, reason, count, first, last, first_ns, last_ns}."""


class GivenUp(msgspec.Struct, gc=False):
    """What one step did. Without `placed` it did nothing."""

    victims: list[Entry] = []
    survivors: list[Entry] = []
    gaps: dict[str, Gap] = {}  # to be added to the rows of table "gaps"
    damages: list[Damage] = []
    placed: Placed | None = None


class Eviction:
    """Makes room, one step at a time."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._refused: tuple[GivenUp, Block, int] | None = None  # a switch the disk refused, and the blocks before it

    def step(self, wall_ns: int, boot_ns: int, flags: int) -> GivenUp:
        """Give up what nobody needs, else evict. BLOCKING. Raises DiskRefused: then nothing is given up.

        While the file system gives less than the budget only what nobody needs is given up.
        """
        refused, self._refused = self._refused, None
        if refused is not None and refused[2] == self._writer.blocks:  # what was decided then still holds
            self._writer.pool.restore(entry.name for entry in refused[0].survivors)
            return self._switch(refused[0], refused[1])
        done = self._choose(wall_ns, boot_ns)
        if done.victims:
            return self._switch(done, self._block(done, wall_ns, boot_ns, flags))
        return done

    def _choose(self, wall_ns: int, boot_ns: int) -> GivenUp:
        """Decide, and copy survivors."""
        writer = self._writer
        entries = dispensable(writer.image.segments.values())
        cursors = retention.cursors_of(writer.image.rows("cursors"))
        ready = retention.delivered(entries, cursors)
        if ready:
            victims = ready[: max(1, RESERVE_SEGMENTS + 1 - writer.pool.available)]
            done = GivenUp(victims=victims)
            for entry in victims:
                span = entry.spans[Lane.DEAD_LETTER]
                if span.count:
                    _add(done.gaps, _letters(span.count, span.first, span.last, entry.wall_first, entry.wall_last))
            return done
        done = GivenUp()
        if writer.pool.cramped:
            return done
        outputs_max = min(retention.OUTPUTS_MAX, writer.pool.available - writer.leave_survivors)
        for plan in retention.plans(entries, cursors, writer.segment_size, outputs_max):
            try:
                rewritten = rewrite(writer, plan, outputs_max, wall_ns, boot_ns)
            except OSError as error:
                raise DiskRefused(f"survivors cannot be written: {error.strerror or error}") from error
            if rewritten is not None:
                done = GivenUp(victims=rewritten.victims, survivors=rewritten.survivors, damages=rewritten.damages)
                for lost in rewritten.lost:
                    count_lost(done.gaps, lost, cursors)
                break
        return done

    def _block(self, done: GivenUp, wall_ns: int, boot_ns: int, flags: int) -> Block:
        """Return the block that makes what was done so."""
        durable = self._writer.image.rows("gaps")
        rows: dict[str, dict[str, Any]] = {SEGMENTS: {str(entry.life): None for entry in done.victims}}
        rows[SEGMENTS].update({str(entry.life): entry for entry in done.survivors})
        if done.gaps:
            rows["gaps"] = {key: added(durable.get(key), gap) for key, gap in done.gaps.items()}
        return Block(
            batch=0,
            first=self._writer.next_sequence,
            raws=[],
            lanes=b"",
            spans=NO_SPANS,
            changes=record.encode_changes(rows),
            wall_ns=wall_ns,
            boot_ns=boot_ns,
            flags=flags,
            leave=LEAVE_SWITCH,
        )

    def _switch(self, done: GivenUp, block: Block) -> GivenUp:
        try:
            self._writer.write(block)
        except DiskRefused:
            self._writer.pool.abandon(entry.name for entry in done.survivors)
            self._refused = (done, block, self._writer.blocks)
            raise
        done.placed = block.placed
        return done


def dispensable(entries: Iterable[Entry]) -> list[Entry]:
    """Return the sealed segments that may be given up, oldest first: all but the newest one with a checkpoint."""
    ordered = sorted(entries, key=lambda entry: (entry.first, entry.life))
    newest = max((entry.life for entry in ordered if not entry.survivors), default=0)
    return [entry for entry in ordered if entry.life != newest]


def count_lost(gaps: dict[str, Gap], lost: Lost, cursors: Iterable[Cursor]) -> None:
    """Add what one victim held to the gaps of every cursor that had not had it."""
    for cursor in cursors:
        for lane in cursor.lanes:
            count, first, last = retention.missed(cursor, lost.sequences.get(lane, ()))
            if count:
                _add(gaps, _gap(cursor.key, lane, (count, first, last), (lost.wall_first, lost.wall_last)))
    letters = lost.sequences.get(Lane.DEAD_LETTER, ())
    if letters:
        _add(gaps, _letters(len(letters), letters[0], letters[-1], lost.wall_first, lost.wall_last))


def added(row: Mapping[str, Any] | None, gap: Gap) -> Gap:
    """Return a row of "gaps" with one more gap in it."""
    if row is None:
        return gap
    return {
        **row,
        "count": row["count"] + gap["count"],
        "first": min(row["first"], gap["first"]),
        "last": max(row["last"], gap["last"]),
        "first_ns": min(row["first_ns"], gap["first_ns"]),
        "last_ns": max(row["last_ns"], gap["last_ns"]),
    }


def catch_up(gaps: Mapping[str, Gap], table: dict[str, Gap], batch: Batch, closed: Iterable[Block]) -> None:
    """Add gaps that are on the disk to the rows in memory, and to those that batches behind the switch carry."""
    for key, gap in gaps.items():
        table[key] = added(table.get(key), gap)
        if key in batch.changes.get("gaps", {}):
            batch.put("gaps", key, added(batch.changes["gaps"][key], gap))
        for block in closed:
            if key in block.table_changes.get("gaps", {}):
                block.change("gaps", key, added(block.table_changes["gaps"][key], gap))


def _add(gaps: dict[str, Gap], gap: Gap) -> None:
    lane = "" if gap["cursor"].endswith(f":{gap['lane']}") else f":{gap['lane']}"
    key = f"{gap['cursor']}{lane}:{gap['reason']}"
    gaps[key] = added(gaps.get(key), gap)


def _gap(cursor: str, lane: Lane, records: tuple[int, int, int], times: tuple[int, int]) -> Gap:
    count, first, last = records
    return {
        "cursor": cursor,
        "lane": lane.name.lower(),
        "reason": "evicted",
        "count": count,
        "first": first,
        "last": last,
        "first_ns": times[0],
        "last_ns": times[1],
    }


def _letters(count: int, first: int, last: int, first_ns: int, last_ns: int) -> Gap:
    return _gap("dead_letters", Lane.DEAD_LETTER, (count, first, last), (first_ns, last_ns))
