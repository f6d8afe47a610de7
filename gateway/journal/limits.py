"""What a lane may take, and what of it is given up: pure arithmetic over the index, the cursors and table "limits".

    limits   <lane> -> {"over": [[first, last], ...], "bucket_s": n}

`over`: ranges of sequences that routes shall not have any more, although their bytes may still be there. Readers for
routes skip them, readers for rules and for looking back do not. A range is written in the block that counts what is
in it (table "gaps"), so a record is either still to be delivered or counted. The first range usually begins at 1: the
oldest have given way, by age or bytes. `bucket_s`: the lane is thinned to one event in so many seconds (thinning.py);
0: it is not.

A limit is about what routes have not had. Rules have cursors of their own and are not limited: they need an event once,
soon, and whatever the cloud does. Dead letters wait for a person: nothing but their limit ends that.

Bytes are those on the disk, estimated: a segment's by a lane's share of its records. Ages are those of the blocks
records were written in. A time taken while the clock was not synced says nothing; but what is older in the log is
older, so the record before an expired one has expired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.event import Lane
from gateway.journal.options import JournalOptions
from gateway.journal.segment import Entry

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint ranges of sequences, both ends inclusive."""

TABLE: Final = "limits"
RANGES_MAX: Final = 32  # of one lane; beyond that the oldest give way instead of the newest
SLACK: Final = 0.05  # of a limit: made free at a time, so that not each commit makes room for itself
LIMITED: Final = (Lane.ALARM, Lane.TELEMETRY, Lane.DEAD_LETTER)


class Limit(msgspec.Struct, frozen=True, gc=False):
    """A row of table "limits"."""

    over: Ranges = ()
    bucket_s: int = 0

    @classmethod
    def read(cls, row: Any) -> Limit:
        """Read a row; none, or what cannot be read, gives nothing up."""
        fields = row if isinstance(row, Mapping) else {}
        over = ((int(first), int(last)) for first, last in fields.get("over", ()))
        return cls(joined((), over), int(fields.get("bucket_s", 0)))

    def row(self) -> dict[str, Any] | None:
        """Return it as a row; None when it says nothing."""
        if not self.over and not self.bucket_s:
            return None
        return {"over": [list(each) for each in self.over], "bucket_s": self.bucket_s}


def read(rows: Mapping[str, Any]) -> dict[Lane, Limit]:
    """Read table "limits"."""
    return {lane: Limit.read(rows.get(lane.name.lower())) for lane in LIMITED}


def over(rows: Mapping[str, Any]) -> dict[Lane, Ranges]:
    """Read from table "limits" what is given up, of the lanes of which anything is."""
    return {lane: limit.over for lane, limit in read(rows).items() if limit.over}


def bytes_max(options: JournalOptions, lane: Lane) -> int | None:
    """Return what a lane may take on the disk."""
    if lane is Lane.DEAD_LETTER:
        return options.letters_bytes_max
    return options.alarm.bytes_max if lane is Lane.ALARM else options.telemetry.bytes_max


def age_max_s(options: JournalOptions, lane: Lane) -> float | None:
    """Return how long a record of a lane may wait."""
    if lane is Lane.DEAD_LETTER:
        return options.dead_letters.age_max_s
    return options.alarm.age_max_s if lane is Lane.ALARM else options.telemetry.age_max_s


def joined(over: Ranges, more: Iterable[tuple[int, int]]) -> Ranges:
    """Return ranges with others added; what touches is one."""
    result: list[tuple[int, int]] = []
    for first, last in sorted([*over, *more]):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return tuple(result)


def without(over: Ranges, first: int, last: int) -> list[tuple[int, int]]:
    """Return the parts of a range that are not given up."""
    parts = []
    for low, high in over:
        if high < first:
            continue
        if low > last:
            break
        if first < low:
            parts.append((first, low - 1))
        first = high + 1
    if first <= last:
        parts.append((first, last))
    return parts


def beyond(over: Ranges, after: int) -> int:
    """Return the sequence behind which a reader goes on that has come to `after`."""
    for first, last in over:
        if first <= after + 1 <= last:
            return last
    return after


def given_up(over: Ranges, sequence: int) -> bool:
    """Return whether routes shall not have a record any more."""
    return any(first <= sequence <= last for first, last in over)


def pruned(over: Ranges, after: int) -> Ranges:
    """Return the ranges that still matter when every route has come to `after`."""
    return tuple(each for each in over if each[1] > after)


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """The part of one segment's lane that waits: where, and about how many bytes on the disk."""

    entry: Entry
    parts: tuple[tuple[int, int], ...]  # ranges of sequences
    bytes: float

    def first(self, amount: float) -> int:
        """Return up to which sequence its first `amount` bytes go, taking it as evenly filled."""
        left = max(1, round(sum(last - first + 1 for first, last in self.parts) * min(1.0, amount / self.bytes)))
        for first, last in self.parts:
            if left <= last - first + 1:
                return first + left - 1
            left -= last - first + 1
        return self.parts[-1][1]


def waiting(entries: Iterable[Entry], lane: Lane, after: int, over: Ranges) -> list[Waiting]:
    """Return what of a lane waits behind `after`, segment by segment, oldest first."""
    found = []
    for entry in entries:
        span = entry.spans[lane]
        if not span.count or span.last <= after:
            continue
        parts = without(over, max(span.first, after + 1), span.last)
        if parts:
            share = sum(last - first + 1 for first, last in parts) / (span.last - span.first + 1)
            total = sum(each.count for each in entry.spans)
            found.append(Waiting(entry, tuple(parts), max(1.0, entry.end * span.count / total * share)))
    return found


def oldest(parts: Sequence[Waiting], amount: float) -> int:
    """Return up to which sequence the oldest `amount` bytes go; 0 when nothing waits."""
    through = 0
    for each in parts:
        if amount <= 0:
            break
        through = each.first(amount)
        amount -= each.bytes
    return through


def newest(parts: Sequence[Waiting], amount: float) -> tuple[int, int] | None:
    """Return the range of the newest `amount` bytes."""
    if not parts or amount <= 0:
        return None
    begin = parts[-1].parts[0][0]
    for each in reversed(parts):
        begin = each.parts[0][0]
        if each.bytes >= amount:
            begin = min(each.first(each.bytes - amount) + 1, each.parts[-1][1]) if each.bytes > amount else begin
            break
        amount -= each.bytes
    return begin, parts[-1].parts[-1][1]
