"""`events_dropped`: what the cloud is told of events that it will never see, exactly once each.

The journal counts what it gives up in its table "gaps", a row for each cursor, lane and reason (journal/ledger.py).
When the route is up a row moves to the table "told" as a finished event, in one block, and starts again from nothing::

    told   the row's key -> {cursor, lane, told, n, made_ns, pending}

`pending` is that event as bytes with its count, until the block that commits its delivery takes it out and adds the
count to `told`.  It is sent only when it is on the disk, so a kill repeats the same bytes under the same id, and
what is dropped meanwhile goes to the next event.  Being a row and no record of the journal it can't be evicted itself,
needs no room in a full ring, and is in no count.  To the rest of the forwarder these rows look like one more lane
(`Drops` is the log that it reads), with retries, parking and dead letters as for any other event.

It leaves as an alarm: before the backlog around the hole, which may take days to drain, and also by a route that reads
telemetry only or selects other types.  Of a counter there is one such event in `dropped_every_s`, and one at a time.

Who tells: a route its own gaps.  Those of rules, commands and dead letters, and of routes that are no more, are told by
the first route that carries alarms (`rest_told_by`); without a route they wait.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from gateway.clock import NS_PER_S, Clock, rfc3339
from gateway.codes.disk import NOT_IN_THE_JOURNAL
from gateway.codes.targets import EVENTS_DROPPED
from gateway.errors import JournalError
from gateway.event import Event, Lane, derived_id, encode
from gateway.forward.log import Log
from gateway.logs.about import about
from gateway.routes import Route

log = logging.getLogger(__name__)

GAPS, TOLD = "gaps", "told"
FIRST = 1 << 62  # these events are numbered from here: no record of a journal gets there


class Notice(msgspec.Struct, frozen=True, gc=False):
    """One event that waits to be told."""

    sequence: int  # FIRST and up, in the order they were made in this run
    raw: bytes


class Drops:
    """The counters that one route tells of, as a log with one lane. See the head of this module."""

    def __init__(
        self,
        name: str,
        route: Route,
        journal: Log,
        clock: Clock,
        *,
        gateway: str = "",
        rest_of: Collection[str] | None = None,
    ) -> None:
        """`rest_of`: all routes, for the one that tells what is none of theirs, too."""
        self.log_id = journal.log_id
        self.next_due: float | None = None  # loop time at which a counter may be told again
        self._name = name
        self._source = f"/{gateway}/journal" if gateway else "/journal"
        self._every_s = route.dropped_every_s
        self._journal = journal
        self._clock = clock
        self._rest_of = rest_of
        self._waiting: dict[int, tuple[str, Notice]] = {}  # by sequence
        self._due: dict[str, float] = {}  # loop time before which a counter has to wait
        self._made: list[tuple[int, int]] = []  # (batch, sequence): not on the disk yet
        self.last_sequence = FIRST
        for key, row in sorted(journal.table(TOLD).items(), key=lambda item: item[1]["made_ns"]):
            if not self._ours(row["cursor"]):
                continue
            if row["pending"]:
                self._wait(key, row["pending"]["raw"])
            elif key not in journal.table(GAPS) and self._gone(row["cursor"]):
                journal.put(TOLD, key, None)
        self.durable_sequence = self.last_sequence

    def make(self, now: float, settled: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Make events of the counters that may be told now; return (cursor, key) of each. The route is up.

        `settled` says of a cursor whether its counts are right.
        """
        self.next_due = None
        made: list[tuple[str, str]] = []
        if not self._journal.table(GAPS):
            return made
        busy = {key for key, _ in self._waiting.values()}
        for key, row in list(self._journal.table(GAPS).items()):
            if key in busy or not self._ours(row["cursor"]):
                continue
            due = self._due.get(key)
            if due is None:
                due = self._due[key] = now + self._rest_s(key)
            if due > now:
                self.next_due = due if self.next_due is None else min(due, self.next_due)
            elif (
                settled(row["cursor"])
                and (counted := self._journal.get(GAPS, key))  # again: it may have been put right
                and self._make(key, counted, now)
            ):
                made.append((row["cursor"], key))
        return made

    def durable(self, batch: int) -> None:
        """Take note that what was made up to this batch is on the disk."""
        while self._made and self._made[0][0] <= batch:
            self.durable_sequence = self._made.pop(0)[1]

    def _make(self, key: str, row: Mapping[str, Any], now: float) -> bool:
        told = self._journal.get(TOLD, key) or {"told": 0, "n": 0}
        wall_ns, n = self._clock.wall_ns(), told["n"] + 1
        raw = encode(self._event(key, row, n, wall_ns))
        pending = {"raw": raw, "count": row["count"]}
        new = {"cursor": row["cursor"], "lane": row["lane"], "told": told["told"], "n": n, "made_ns": wall_ns}
        self._due[key] = now + self._every_s
        try:
            self._journal.put(TOLD, key, {**new, "pending": pending})
        except JournalError as error:  # the count stays where it is
            said = about(NOT_IN_THE_JOURNAL, route=_route_of(row["cursor"]))
            log.error("%d dropped events of %s cannot be told: %s", row["count"], row["cursor"], error, extra=said)
            return False
        self._journal.put(GAPS, key, None)
        self._wait(key, raw)
        self._made.append((self._journal.batch, self.last_sequence))
        said, told = about(EVENTS_DROPPED, route=_route_of(row["cursor"])), (row["count"], row["cursor"], row["reason"])
        log.warning("%d events of %s were dropped (%s); the cloud is told", *told, extra=said)
        return True

    def _event(self, key: str, row: Mapping[str, Any], n: int, wall_ns: int) -> Event:
        consumer, _, rest = str(row["cursor"]).partition(":")
        data = {
            "consumer": consumer,
            "route": rest.rpartition(":")[0] if consumer == "route" else None,
            "lane": row["lane"],
            "reason": row["reason"],
            "code": str(EVENTS_DROPPED),
            "count": row["count"],
            "first_sequence": row["first"],
            "last_sequence": row["last"],
            "first_time": rfc3339(row["first_ns"]),
            "last_time": rfc3339(row["last_ns"]),
        }
        return Event(
            id=derived_id(self.log_id, f"gap:{key}", str(wall_ns), n),
            source=self._source,
            type="events_dropped",
            subject=f"journal/{row['cursor']}",
            time=rfc3339(wall_ns),
            lane="alarm",
            actor="gateway",
            clock=None if self._clock.synced() else "unsynced",
            data=data,
        )

    def _wait(self, key: str, raw: bytes) -> None:
        self.last_sequence += 1
        self._waiting[self.last_sequence] = (key, Notice(self.last_sequence, raw))

    def _rest_s(self, key: str) -> float:
        """Return how long a counter has to wait because of what was told before this start."""
        told = self._journal.get(TOLD, key)
        if told is None:
            return 0.0
        passed_s = (self._clock.wall_ns() - told["made_ns"]) / NS_PER_S
        return self._every_s - passed_s if 0 <= passed_s < self._every_s else 0.0

    def _ours(self, cursor: str) -> bool:
        if cursor.startswith(f"route:{self._name}:"):
            return True
        return self._rest_of is not None and (not cursor.startswith("route:") or self._gone(cursor))

    def _gone(self, cursor: str) -> bool:
        """Return whether a cursor is of a route that is no more."""
        return cursor.startswith("route:") and cursor.split(":")[1] not in (self._rest_of or (self._name,))

    # -- the log that a lane reads -------------------------------------------------------------

    @property
    def batch(self) -> int:
        """The journal's open batch."""
        return self._journal.batch

    def get(self, table: str, _key: str) -> Any:
        """Return a cursor in front of everything that waits."""
        return {"after": FIRST, "done": []} if table == "cursors" else None

    def table(self, _table: str) -> Mapping[str, Any]:
        """Return nothing: no gaps of gaps."""
        return {}

    def put(self, _table: str, _key: str, cursor: Mapping[str, Any]) -> None:
        """Take what a cursor says is over out of table "told", in the block that the cursor would be in."""
        parked = {sequence for sequence, _ in cursor.get("parked", ())}
        for sequence, (key, _) in list(self._waiting.items()):
            done = any(first <= sequence <= last for first, last in cursor["done"])
            if sequence not in parked and (done or sequence <= cursor["after"]):
                del self._waiting[sequence]
                told = self._journal.get(TOLD, key)
                count = told["told"] + told["pending"]["count"]
                self._journal.put(TOLD, key, {**told, "told": count, "pending": None})

    def reader(self, _lane: Lane) -> Drops:
        """Return itself: it reads, too."""
        return self

    def in_memory(self, _after: int) -> bool:
        """Return that no read needs the disk."""
        return True

    def read(self, after: int, limit: int, _bytes_max: int) -> Sequence[Notice]:
        """Return what waits behind `after` and is on the disk."""
        durable = self.durable_sequence
        return [each for _, each in self._waiting.values() if after < each.sequence <= durable][:limit]

    def count(self, _lane: Lane, after: int) -> int:
        """Return how many wait behind a sequence."""
        return sum(sequence > after for sequence in self._waiting)


def rest_told_by(routes: Mapping[str, Route]) -> str | None:
    """Return the route that tells what was dropped for rules, commands, as dead letters, and for routes that are gone.

    It is the first that carries alarms, else the first.
    """
    return next((name for name, route in routes.items() if "alarm" in route.lanes), next(iter(routes), None))


def dropped(journal: Log, lane: str) -> int:
    """Return how many events of a lane the consumer that lost most will never see, told or not yet."""
    counts: dict[str, int] = {}
    for row in journal.table(GAPS).values():
        if row["lane"] == lane:
            counts[row["cursor"]] = counts.get(row["cursor"], 0) + row["count"]
    for row in journal.table(TOLD).values():
        if row["lane"] == lane:
            pending = row["pending"]["count"] if row["pending"] else 0
            counts[row["cursor"]] = counts.get(row["cursor"], 0) + row["told"] + pending
    return max(counts.values(), default=0)


def _route_of(cursor: str) -> str:
    """Return the route whose cursor has this key: ``route:<name>:<lane>``."""
    return cursor.split(":")[1] if cursor.count(":") > 1 else ""
