"""The journal's own rows in its tables: starts, damage, and what was given up. Loop's thread, plain puts.

    starts   epoch as 8 hex digits -> {first, skipped, unclean, wall_ns, boot_ns, boot_id, synced}; the last STARTS_MAX
    damage   <life>:<offset>       -> {blocks, records, file, ns}; DAMAGES_MAX places, the rest summed under "more"
    gaps     <cursor>[:<lane>]:evicted -> {cursor, lane, reason, count, first, last, first_ns, last_ns}

A row of "gaps" counts records that left before the cursor named had had them: sequences inclusive, times those of
the blocks they were in. It is put in the batch that takes their segment out of the index, so it is durable before
their bytes can be overwritten. Whoever reports a gap deletes its row in the batch in which the report is delivered.
Dead letters, which no cursor reads, are counted under the cursor "dead_letters".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.event import Lane
from gateway.journal.options import DAMAGES_MAX, STARTS_MAX
from gateway.journal.reader import Damage
from gateway.journal.retention import Cursor, missed
from gateway.journal.rewrite import Lost


class Tables(Protocol):
    """Durable tables."""

    def get(self, table: str, key: str) -> Any | None:
        """Return a row, or None."""
        ...

    def put(self, table: str, key: str, value: Any | None) -> None:
        """Set a row; None deletes it."""
        ...

    def table(self, table: str) -> Mapping[str, Any]:
        """Return all rows."""
        ...


def note_start(tables: Tables, clock: Clock, epoch: int, *, first: int, skipped: int, unclean: bool) -> None:
    """Record a start: the sequence it begins with, what it leaves out, and both clocks."""
    row = {
        "first": first,
        "skipped": skipped,
        "unclean": unclean,
        "wall_ns": clock.wall_ns(),
        "boot_ns": clock.boot_ns(),
        "boot_id": clock.boot_id(),
        "synced": clock.synced(),
    }
    tables.put("starts", f"{epoch:08x}", row)
    for key in sorted(tables.table("starts"))[:-STARTS_MAX]:
        tables.put("starts", key, None)


def note_damage(tables: Tables, damage: Damage, wall_ns: int) -> bool:
    """Count a damaged place; False when it was counted before."""
    key = f"{damage.life}:{damage.offset}"
    known = tables.table("damage")
    if key in known:
        return False
    row = {"blocks": damage.blocks, "records": damage.records, "file": damage.name, "ns": wall_ns}
    if len(known) >= DAMAGES_MAX:
        key = "more"
        before = known.get(key, {"blocks": 0, "records": 0})
        row |= {"blocks": before["blocks"] + damage.blocks, "records": before["records"] + damage.records}
    tables.put("damage", key, row)
    return True


def count_lost(tables: Tables, lost: Lost, cursors: Sequence[Cursor]) -> None:
    """Add what a segment held to the gaps of every cursor that had not had it."""
    for cursor in cursors:
        for lane in cursor.lanes:
            count, first, last = missed(cursor, lost.sequences.get(lane, ()))
            if count:
                _gap(tables, cursor.key, lane, (count, first, last), lost)
    letters = lost.sequences.get(Lane.DEAD_LETTER, ())
    if letters:
        _gap(tables, "dead_letters", Lane.DEAD_LETTER, (len(letters), letters[0], letters[-1]), lost)


def _gap(tables: Tables, cursor: str, lane: Lane, records: tuple[int, int, int], lost: Lost) -> None:
    count, first, last = records
    name = lane.name.lower()
    key = f"{cursor}:evicted" if cursor.endswith(f":{name}") else f"{cursor}:{name}:evicted"
    row = tables.get("gaps", key) or {
        "count": 0, "first": first, "last": last, "first_ns": lost.wall_first, "last_ns": lost.wall_last
    }  # fmt: skip
    new = {
        "cursor": cursor,
        "lane": name,
        "reason": "evicted",
        "count": row["count"] + count,
        "first": min(row["first"], first),
        "last": max(row["last"], last),
        "first_ns": min(row["first_ns"], lost.wall_first),
        "last_ns": max(row["last_ns"], lost.wall_last),
    }
    tables.put("gaps", key, new)
