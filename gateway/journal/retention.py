"""Which segments may be given up, and in which order: pure decisions over the segment index and the cursors.

A cursor is a row of table "cursors":
``{"after": sequence, "done": [[first, last], ...], "parked": [[sequence, attempts], ...]}``.
Everything up to `after` and inside `done` is over for it, except what is parked. Its key says which lanes it
reads: ``route:<name>:<lane>`` one lane, ``commands`` the commands, ``rules`` alarms, telemetry and timers;
any other key is taken to read all lanes. A lane that no cursor reads holds nothing back. What a lane's limit has given
up (limits.py) is over for routes. Dead letters are wanted by a cursor of their own that nothing moves but their limit.

The budget is a ring. Delivered segments stay for history until room is needed. Order of loss:

1. segments whose every record is over for every cursor, oldest first: nothing is lost;
2. neighbours that are mostly over: the records still wanted are copied together into fewer segments of survivors,
   with their ids and sequences; nothing is lost;
3. undelivered telemetry, by the lane's policy; the rest of its segments survives in the same way:
   `thin`    all of it is thinned to a bucket of time, which grows when that is not enough;
   `newest`  that in the newest sealed segments is given up;
   `oldest`  (and when the others find nothing) that in the oldest segments is lost;
4. when there is no telemetry left to lose, the oldest segment: alarms make way only for newer alarms.

The newest sealed segment is never given up: its checkpoint stands in for a damaged newest one.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.event import Lane
from gateway.journal.limits import Limit, Ranges, beyond, given_up, joined
from gateway.journal.segment import Entry, Span
from gateway.journal.thinning import Thinner

VICTIMS_MAX: Final = 8  # segments given up at a time
OUTPUTS_MAX: Final = 2  # segments of survivors written at a time
FULL_SHARE: Final = 0.9  # how full of survivors a segment is planned to be
_ALL = frozenset(Lane)
_RULES = frozenset({Lane.ALARM, Lane.TELEMETRY, Lane.TIMER})
LETTERS: Final = "dead_letters"  # key of the cursor that wants dead letters


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

    def limited(self, over: Ranges) -> Cursor:
        """Return this cursor with given-up ranges counted as over."""
        if not over:
            return self
        done = joined(over, self.done)
        parked = tuple(sequence for sequence in self.parked if not given_up(over, sequence))
        return Cursor(self.key, self.lanes, beyond(done, self.after), done, parked)

    def routes(self, lane: Lane) -> bool:
        """Return whether it is a route's, of this lane: a lane's limit is about these."""
        return self.key.startswith("route:") and len(self.lanes) == 1 and lane in self.lanes

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
    left = [(bisect_right(sequences, cursor.after), len(sequences))]
    for first, last in cursor.done:
        begin, end = bisect_left(sequences, first), bisect_right(sequences, last)
        left = [part for low, high in left for part in ((low, min(high, begin)), (max(low, end), high))]
    left = [(low, high) for low, high in left if low < high]
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


def cursors_of(table: Mapping[str, Any], limits: Mapping[Lane, Limit] | None = None) -> list[Cursor]:
    """Read table "cursors", with what `limits` have given up as over; with them comes the one of dead letters."""
    cursors = [Cursor.read(key, row) for key, row in table.items()]
    if limits is None:
        return cursors
    limited = [
        next((cursor.limited(limit.over) for lane, limit in limits.items() if cursor.routes(lane)), cursor)
        for cursor in cursors
    ]
    letters = Cursor(LETTERS, frozenset({Lane.DEAD_LETTER}), 0)
    return [*limited, letters.limited(limits[Lane.DEAD_LETTER].over)]


def slowest(cursors: Iterable[Cursor], lane: Lane) -> int | None:
    """Return up to where every route has had a lane; None when no route reads it."""
    return min((cursor.after for cursor in cursors if cursor.routes(lane)), default=None)


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
    reason: str = "evicted"  # under which undelivered records that do not survive are counted
    thinner: Thinner | None = None  # asked about telemetry that only routes still want

    def survives(self, lane: int, sequence: int) -> bool:
        """Return whether a record is copied out, as far as cursors say."""
        return lane in self.keep and any(lane in cursor.lanes and not cursor.over(sequence) for cursor in self.cursors)

    def all_survive(self, entry: Entry, lane: Lane) -> bool | None:
        """Say the same of all records of a lane in a segment; None: they have to be asked one by one."""
        mine = [cursor for cursor in self.cursors if lane in cursor.lanes]
        span = entry.spans[lane]
        if lane not in self.keep or all(cursor.all_over(span) for cursor in mine):
            return False
        return True if any(cursor.after < span.first and not cursor.done for cursor in mine) else None

    def thins(self, sequence: int) -> bool:
        """Return whether a telemetry record is wanted by routes alone."""
        return all(cursor.over(sequence) for cursor in self._others())

    def thins_all(self, entry: Entry) -> bool:
        """Return whether all telemetry in a segment is wanted by routes alone."""
        return all(cursor.all_over(entry.spans[Lane.TELEMETRY]) for cursor in self._others())

    def _others(self) -> list[Cursor]:
        telemetry = Lane.TELEMETRY
        return [each for each in self.cursors if telemetry in each.lanes and not each.routes(telemetry)]


def delivered(entries: Sequence[Entry], cursors: Sequence[Cursor]) -> list[Entry]:
    """Return the segments that nobody needs, oldest first. `entries` without the one in use and the one before."""
    return [entry for entry in entries if not wanted(entry, cursors)]


def packings(entries: Sequence[Entry], cursors: Sequence[Cursor], size: int, outputs_max: int) -> Iterator[Plan]:
    """Say which neighbours fit in fewer segments, nothing lost; the first that gets anywhere is to be taken.

    `size`: bytes of a segment; `outputs_max`: how many segments of survivors may be written.
    """
    shares = [_share(entry, wanted(entry, cursors)) for entry in entries]
    for run in _compact(entries, shares, size, outputs_max):
        yield Plan(run, _ALL, tuple(cursors))


def losses(entries: Sequence[Entry], cursors: Sequence[Cursor], size: int, outputs_max: int) -> Iterator[Plan]:
    """Say what to lose: the oldest telemetry, and when there is none the oldest alarms."""
    need = [wanted(entry, cursors) for entry in entries]
    at = next((at for at, lanes in enumerate(need) if Lane.TELEMETRY in lanes), None)
    if at is not None:
        shares = [_share(entry, lanes - {Lane.TELEMETRY}) for entry, lanes in zip(entries, need, strict=True)]
        for start in sorted({max(0, at - 1), at} if shares[at] else {at}):
            yield Plan(_shed(entries, shares, start, at, size, outputs_max), _ALL - {Lane.TELEMETRY}, tuple(cursors))
    elif entries:
        yield Plan((entries[0],), frozenset(), tuple(cursors))


def coarse(entries: Sequence[Entry], cursors: Sequence[Cursor], bucket_s: int, even: Mapping[int, int]) -> list[Entry]:
    """Return the oldest neighbours with waiting telemetry that are not thinned to a bucket, VICTIMS_MAX at most.

    `even`: life -> bucket for which there was nothing to take out of a segment.
    """
    found: list[Entry] = []
    routes = [cursor for cursor in cursors if cursor.routes(Lane.TELEMETRY)]
    for entry in entries:
        thin = max(entry.bucket_s, even.get(entry.life, 0)) >= bucket_s
        if not thin and wanted(entry, routes) and len(found) < VICTIMS_MAX:
            found.append(entry)
        elif found:
            break
    return found


def _compact(
    entries: Sequence[Entry], shares: Sequence[float], size: int, outputs_max: int
) -> Iterator[tuple[Entry, ...]]:
    """Find neighbours whose wanted records fit in fewer segments, oldest first."""
    for start in range(len(entries)):
        surviving = 0.0
        for end in range(start + 1, min(start + VICTIMS_MAX, len(entries)) + 1):
            surviving += shares[end - 1]
            outputs = _outputs(surviving, size)
            if outputs > outputs_max:
                break
            if end - start > outputs:
                yield tuple(entries[start:end])
                break


def _shed(
    entries: Sequence[Entry], shares: Sequence[float], start: int, at: int, size: int, outputs_max: int
) -> tuple[Entry, ...]:
    """Return the oldest segment with undelivered telemetry (`at`) and as many neighbours as it takes to gain a segment.

    Where alarms fill most of it nothing is gained at first, but the telemetry is out, and what is left can be packed.
    """
    end, surviving = at + 1, sum(shares[start : at + 1])
    while end - start <= _outputs(surviving, size) and end < len(entries) and end - start < VICTIMS_MAX:
        if _outputs(surviving + shares[end], size) > outputs_max:
            break
        surviving += shares[end]
        end += 1
    return tuple(entries[start:end])


def _outputs(surviving: float, size: int) -> int:
    """Return how many segments so many bytes of survivors take."""
    return math.ceil(surviving / (FULL_SHARE * size))


def _share(entry: Entry, lanes: frozenset[Lane]) -> float:
    """Estimate the bytes that the records of some lanes take in a segment: its bytes by their share of the records."""
    total = sum(span.count for span in entry.spans)
    return entry.end * sum(entry.spans[lane].count for lane in lanes) / total if total else 0.0
