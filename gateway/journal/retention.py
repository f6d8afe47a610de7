"""What may be given up, and in which order: pure decisions over the segment index and the cursors.

A cursor is a row of table "cursors":
``{"after": sequence, "done": [[first, last], ...], "parked": [[sequence, attempts], ...]}``.
Everything up to `after` and inside `done` is over for it, except what is parked. Its key says which lanes it
reads: ``route:<name>:<lane>`` one lane, ``commands`` the commands, ``rules`` alarms, telemetry and timers;
any other key is taken to read all lanes. A lane that no cursor reads holds nothing back.

The budget is a ring. Delivered segments stay for history until room is needed. Order of loss:

1. segments whose every record is over for every cursor, oldest first: nothing is lost;
2. segments without undelivered telemetry: the few records still wanted (alarms, commands, timers) are copied
   into a segment of survivors, with their ids and sequences; nothing is lost;
3. the oldest segments with undelivered telemetry: its telemetry is lost and counted, the rest survives;
4. when there is no telemetry left to lose, the oldest segment: alarms make way only for newer alarms.

The newest sealed segment is never given up: its checkpoint stands in for a damaged newest one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.event import Lane
from gateway.journal.segment import Entry, Span

VICTIMS_MAX: Final = 8  # segments given up at a time
FULL_SHARE: Final = 0.75  # a segment of survivors fuller than this is left alone
_ALL = frozenset(Lane)
_RULES = frozenset({Lane.ALARM, Lane.TELEMETRY, Lane.TIMER})


class Cursor(msgspec.Struct, frozen=True, gc=False):
    """How far one consumer is."""

    key: str
    lanes: frozenset[Lane]
    after: int
    done: tuple[tuple[int, int], ...] = ()
    parked: tuple[int, ...] = ()

    @classmethod
    def read(cls, key: str, row: Any) -> Cursor:
        """Read a row of table "cursors"; what cannot be read counts as nothing delivered."""
        fields = row if isinstance(row, Mapping) else {}
        done = sorted((int(first), int(last)) for first, last in fields.get("done", ()))
        parked = sorted(int(sequence) for sequence, *_ in fields.get("parked", ()))
        return cls(key, lanes_of(key), int(fields.get("after", 0)), tuple(done), tuple(parked))

    def over(self, sequence: int) -> bool:
        """Return whether one record is over for this consumer."""
        if sequence in self.parked:
            return False
        return sequence <= self.after or any(first <= sequence <= last for first, last in self.done)

    def all_over(self, span: Span) -> bool:
        """Return whether everything of a lane's span is over (never says yes wrongly)."""
        if any(span.first <= sequence <= span.last for sequence in self.parked):
            return False
        return span.last <= self.after or any(
            first <= max(span.first, self.after + 1) and span.last <= last for first, last in self.done
        )


def missed(cursor: Cursor, sequences: Sequence[int]) -> tuple[int, int, int]:
    """Return how many of these (sorted) sequences are not over for a cursor, the first and the last of them."""
    at = bisect_right(sequences, cursor.after)
    left = [(at, len(sequences))]
    for first, last in cursor.done:
        begin, end = bisect_left(sequences, first), bisect_right(sequences, last)
        left = (
            [
                part
                for low, high in left
                for part in ((low, min(high, begin)), (max(low, end), high))
                if part[0] < part[1]
            ]
            if begin < end
            else left
        )
    count = sum(high - low for low, high in left)
    bounds = [sequences[low] for low, _ in left] + [sequences[high - 1] for _, high in left]
    for sequence in cursor.parked:
        place = bisect_left(sequences, sequence)
        if place < len(sequences) and sequences[place] == sequence and not any(lo <= place < hi for lo, hi in left):
            count += 1
            bounds.append(sequence)
    return (count, min(bounds), max(bounds)) if count else (0, 0, 0)


def lanes_of(key: str) -> frozenset[Lane]:
    """Return the lanes that the cursor of this key reads."""
    kind, _, rest = key.partition(":")
    if kind == "route":
        lane = rest.rpartition(":")[2].upper()
        return frozenset({Lane[lane]}) if lane in Lane.__members__ else _ALL
    if kind == "commands":
        return frozenset({Lane.COMMAND})
    return _RULES if kind == "rules" else _ALL


def cursors_of(table: Mapping[str, Any]) -> list[Cursor]:
    """Read table "cursors"."""
    return [Cursor.read(key, row) for key, row in table.items()]


def wanted(entry: Entry, cursors: Iterable[Cursor]) -> frozenset[Lane]:
    """Return the lanes of a segment in which some record may not be over for some cursor."""
    return frozenset(
        lane
        for cursor in cursors
        for lane in cursor.lanes
        if entry.spans[lane].count and not cursor.all_over(entry.spans[lane])
    )


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Segments to give up together, and which of their records are copied out first."""

    victims: tuple[Entry, ...]
    keep: frozenset[Lane]  # lanes whose undelivered records survive
    cursors: tuple[Cursor, ...]

    def survives(self, lane: int, sequence: int) -> bool:
        """Return whether a record is copied out."""
        return lane in self.keep and any(lane in cursor.lanes and not cursor.over(sequence) for cursor in self.cursors)


def delivered(entries: Sequence[Entry], cursors: Sequence[Cursor]) -> list[Entry]:
    """Return the segments that nobody needs, oldest first. `entries` without the one in use and the one before."""
    return [entry for entry in entries if not wanted(entry, cursors)]


def plan(entries: Sequence[Entry], cursors: Sequence[Cursor], size: int) -> Plan | None:
    """Choose what to give up when nothing is delivered. `size`: bytes of a segment. None: there is nothing."""
    need = {entry.life: wanted(entry, cursors) for entry in entries}
    keep = _ALL - {Lane.TELEMETRY}

    def quiet(entry: Entry) -> bool:
        return Lane.TELEMETRY not in need[entry.life]

    for allowed in (quiet, lambda _: True):
        victims = _run(entries, need, allowed, size)
        if victims:
            return Plan(victims, keep, tuple(cursors))
    return Plan((entries[0],), frozenset(), tuple(cursors)) if entries else None


def _run(
    entries: Sequence[Entry],
    need: Mapping[int, frozenset[Lane]],
    allowed: Callable[[Entry], bool],
    size: int,
) -> tuple[Entry, ...]:
    """Return the oldest neighbours that, given up together, gain at least one segment; none if there are none."""
    run: list[Entry] = []
    surviving = 0.0
    for entry in entries:
        share = _share(entry, need[entry.life])
        if not allowed(entry) or share > FULL_SHARE * size:
            run, surviving = [], 0.0
            continue
        if surviving + share > FULL_SHARE * size or len(run) == VICTIMS_MAX:
            run, surviving = [], 0.0
        run.append(entry)
        surviving += share
        if len(run) > (surviving > 0):
            return tuple(run)
    return ()


def _share(entry: Entry, need: frozenset[Lane]) -> float:
    """Estimate the bytes that would survive of a segment: its bytes, by the share of records in wanted lanes."""
    total = sum(span.count for span in entry.spans)
    surviving = sum(entry.spans[lane].count for lane in need if lane != Lane.TELEMETRY)
    return entry.end * surviving / total if total else 0.0
