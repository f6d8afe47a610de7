"""The journal's own rows in its tables: starts, damage, and what was given up. Loop's thread, plain puts.

    starts   epoch as 8 hex digits -> {first, skipped, unclean, wall_ns, boot_ns, boot_id, synced}; the last STARTS_MAX
    damage   <life>:<offset>       -> {blocks, records, file, end, ns}; DAMAGES_MAX places, the rest summed under "more"
    gaps     <cursor>[:<lane>]:<reason> -> {cursor, lane, reason, count, first, last, first_ns, last_ns}

A row of "gaps" counts records that left before the cursor named had had them: sequences inclusive, times those of
the blocks they were in. The reason is `evicted` (the oldest made way), `thinned`, `expired` (too old) or `lane_full`
(the newest made way); with any but the first, records between `first` and `last` may be there. It is in the block that
takes their segment out of the index or gives them up in table "limits" (eviction.py, limits.py), so it is durable
before their bytes can be overwritten. Whoever reports a gap deletes its row in the batch in which the report is
delivered.
Dead letters, which no cursor reads, are counted under the cursor "dead_letters".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.journal.options import DAMAGES_MAX
from gateway.journal.reader import Damage, Store
from gateway.journal.recovery import Recovery
from gateway.journal.segment import Entry
from gateway.journal.timeline import Timeline


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


class Timed(Tables, Protocol):
    """Durable tables of a log that knows its clocks."""

    timeline: Timeline


def note_start(tables: Tables, clock: Clock, epoch: int, *, first: int, found: Recovery, keep: int) -> None:
    """Record a start: the sequence it begins with, what it leaves out, and both clocks; `keep`: how many are."""
    row = {
        "first": first,
        "skipped": found.skipped_sequences,
        "unclean": found.unclean,
        "wall_ns": clock.wall_ns(),
        "boot_ns": clock.boot_ns(),
        "boot_id": clock.boot_id(),
        "synced": clock.synced(),
    }
    tables.put("starts", f"{epoch:08x}", row)
    for key in sorted(tables.table("starts"))[:-keep]:
        tables.put("starts", key, None)


def note_clock(tables: Timed, clock: Clock, epoch: int, *, first: int, entries: Sequence[Entry]) -> None:
    """Begin the start's stretch of the timeline; `entries`: the log's segments, in order."""
    believed = max((entry.wall_last for entry in entries if not entry.unsynced), default=0)
    known = [each.wall_ns for each in tables.timeline.stretches if each.synced]
    tables.timeline.note(tables, clock, first, epoch=epoch, not_before_ns=max([believed, *known]))
    tables.timeline.prune(tables, min((entry.first for entry in entries), default=first))


def note_damage(tables: Tables, damage: Damage, wall_ns: int) -> bool:
    """Count a damaged place; False when it was counted before, alone or as part of a larger one."""
    key = f"{damage.life}:{damage.offset}"
    known = tables.table("damage")
    if any(_covers(place, row, damage) for place, row in known.items()):
        return False
    row = {"blocks": damage.blocks, "records": damage.records, "file": damage.name, "end": damage.end, "ns": wall_ns}
    if len(known) >= DAMAGES_MAX:
        key = "more"
        before = known.get(key, {"blocks": 0, "records": 0})
        row |= {"blocks": before["blocks"] + damage.blocks, "records": before["records"] + damage.records}
    tables.put("damage", key, row)
    return True


def _covers(place: str, row: Mapping[str, Any], damage: Damage) -> bool:
    """Return whether a row has a damage in it: a start sees one hole where a reader sees its blocks one by one."""
    life, _, offset = place.partition(":")
    return life == str(damage.life) and int(offset) <= damage.offset < row.get("end", int(offset) + 1)


def take_damages(tables: Tables, store: Store, wall_ns: int) -> None:
    """Count what readers found damaged since the last time, in segments that are still part of the log."""
    while store.damages:
        damage = store.damages.popleft()
        if store.live(damage.life):
            note_damage(tables, damage, wall_ns)
