"""Rows of table "gaps": how many records left before a cursor had had them, and why. Pure; the format: ledger.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.event import Lane
from gateway.journal import retention
from gateway.journal.batch import Batch, Block
from gateway.journal.retention import Cursor
from gateway.journal.rewrite import Lost

Gap = dict[str, Any]
"""A row of table "gaps": {cursor, lane, reason, count, first, last, first_ns, last_ns}."""
Gaps = dict[str, Gap]
"""To be added to the rows of the table, by key."""

EVICTED, THINNED, EXPIRED, LANE_FULL = "evicted", "thinned", "expired", "lane_full"


def count_lost(gaps: Gaps, lost: Lost, cursors: Iterable[Cursor], reason: str = EVICTED) -> None:
    """Add what one victim held to the gaps of every cursor that had not had it."""
    for cursor in cursors:
        for lane in cursor.lanes:
            sequences = lost.sequences.get(lane, ())
            count_missed(gaps, cursor, lane, reason, sequences, (lost.wall_first, lost.wall_last))


def count_missed(
    gaps: Gaps, cursor: Cursor, lane: Lane, reason: str, sequences: Sequence[int], times: tuple[int, int]
) -> None:
    """Add those of the (sorted) sequences of a lane that a cursor has not had; `times`: wall ns, first and last."""
    count, first, last = retention.missed(cursor, sequences)
    if not count:
        return
    part = "" if cursor.key.endswith(f":{lane.name.lower()}") else f":{lane.name.lower()}"
    key = f"{cursor.key}{part}:{reason}"
    gap = {
        "cursor": cursor.key,
        "lane": lane.name.lower(),
        "reason": reason,
        "count": count,
        "first": first,
        "last": last,
        "first_ns": times[0],
        "last_ns": times[1],
    }
    gaps[key] = added(gaps.get(key), gap)


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
