"""How far a route is in one lane of the journal: its cursor, over one reading of the lane or two.

With ``order = "device"`` there is one reading, the *tail*, from the oldest event that is not over: what waited through
an outage leaves before what is new.  With ``order = "fresh"`` there is a *head* in front of it::

    over | tail: the backlog, replayed ........ until | head: live .............. newest
                 `-------- not over yet --------'       what was durable when an outage ended, and no sooner

When an outage (or the start) is over the head goes on behind all that is durable, and what it had not taken is left to
the tail: one more range that is not over.  What the head had sent by then and is not answered stays with the head.  So
a device's events keep their order within live and within replayed (the tail waits with a device of which the head has
something to send again), and a cursor has at most RANGES_MAX ranges that are
over: with `heads_max` outages not drained yet no new head opens, and what is new waits until the oldest one is.

What the journal gives up (its table "gaps") while it is in memory here must not be delivered and be counted as dropped.
When the count of this cursor has grown, what is held is looked up in the journal again; what is gone is forgotten, and
what of it arrives all the same, or had arrived when its cursor was not on the disk yet, is taken off that count. What a
kill or a cut catches in between, at most a window, has arrived and is counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.event import Lane
from gateway.forward.cursor import RANGES_MAX, ranges, value_of
from gateway.forward.lane import READ_BYTES_MAX, RouteLane
from gateway.forward.log import Lanes, Reader
from gateway.routes import Route, Selection
from gateway.targets.target import Outgoing

GAPS = "gaps"
FLIGHT_RANGES = 8  # of a cursor: for what is in flight or waits


class Snapshot:
    """A cursor that was put and is not on the disk yet: what was over, and what a restart would send again."""

    __slots__ = ("batch", "exposed", "resolved", "taken")

    def __init__(self, batch: int, taken: int, exposed: int, resolved: list[list[Outgoing]]) -> None:
        self.batch = batch
        self.taken = taken
        self.exposed = exposed
        self.resolved = resolved  # what was over since the snapshot before


class Progress:
    """One lane of one route."""

    def __init__(self, name: str, route: Route, log: Lanes, lane: Lane, selection: Selection) -> None:
        self.lane = lane
        self.key = f"route:{name}:{lane.name.lower()}"
        self.to_check = False  # the journal has given up something that may be in memory here
        self._log = log
        saved = self._last_put = log.get("cursors", self.key)
        self.is_new = saved is None
        saved = saved or {"after": log.last_sequence if route.start == "newest" else 0, "done": []}
        fresh, durable = route.order == "fresh", log.durable_sequence
        self.tail = RouteLane(log, lane, selection, saved, until=max(durable, saved["after"]) if fresh else None)
        self.head: RouteLane | None = None
        if fresh:
            region = 2 * len(self.tail.skip) + 1
            self.head = RouteLane(log, lane, selection, {"after": self.tail.until, "done": []}, region=region)
            self.tail.before = self.head
        self.lanes: Sequence[RouteLane] = (self.head, self.tail) if self.head else (self.tail,)
        self.heads_max = RANGES_MAX - FLIGHT_RANGES - route.parked_max
        self._snapshots: deque[Snapshot] = deque()
        self._durable = (0, 0)  # (taken, exposed) of the durable cursor
        self._doubtful: set[int] = set()  # over, but not by the cursor on the disk when the journal gave up something
        self._given_up_to = 0  # the last sequence of what the journal had given up when that was seen
        self._taken_off: set[int] = set()  # what was over and is off the count, while `_recent` still has it
        self._counts = {key: row["count"] for key, row in self._gaps()}
        self._check_reader: Reader | None = None

    def outage_over(self, through: int) -> None:
        """Call what is durable up to `through` and has not left yet a backlog: it waited."""
        head = self.head
        if head is None:
            self.tail.mark_replayed(through)
            return
        self.tail.mark_replayed(min(through, self.tail.until or 0))
        if head.end < through:
            head.paused = True
            self.open_head()

    def open_head(self) -> None:
        """Let the head go on behind all that is durable, if an outage is over and the cursor has room for its range."""
        head = self.head
        if head is not None and head.paused and len(self.tail.skip) < self.heads_max:
            head.paused = False
            through = self._log.durable_sequence
            self.tail.extend(head.leave(through), through)

    # -- the cursor ----------------------------------------------------------------------------

    def put(self) -> None:
        """Put the cursor into the open batch, if it has moved."""
        holes, end, ordinal = self.tail.unread()
        for lane in self.lanes:
            holes += lane.holes()
        if self.head is not None:
            end, ordinal = self.head.end, self.head.ordinal
        after, done, left_out = ranges(end, ordinal, holes)
        attempts = {sequence: each.attempts for lane in self.lanes for sequence, each in lane.parked.items()}
        value = value_of(after, done, attempts)
        if value != self._last_put:
            self._last_put = value
            self._log.put("cursors", self.key, value)
        self._take_off(sequence for lane in self.lanes for sequence in lane.arrived)
        resolved = [events for lane in self.lanes for events in lane.resolved]
        for lane in self.lanes:
            lane.resolved, lane.arrived = [], []
        batch = self._log.batch
        if self._snapshots and self._snapshots[-1].batch == batch:
            resolved = self._snapshots.pop().resolved + resolved
        again = left_out + sum(
            len(sending.events) for lane in self.lanes for sending in lane.in_flight if sending.origin != "parked"
        )
        again += sum(len(lane.waiting) for lane in self.lanes)
        self._snapshots.append(Snapshot(batch, self._taken, again, resolved))

    def durable(self, batch: int) -> None:
        """Take note that the cursors put up to this batch are on the disk."""
        self._look()
        while self._snapshots and self._snapshots[0].batch <= batch:
            snapshot = self._snapshots.popleft()
            self._durable = (snapshot.taken, snapshot.exposed)
            if self.to_check or self._taken_off or self.tail.checking:
                over = {event.sequence for events in snapshot.resolved for event in events}
                if self.to_check or self.tail.checking:
                    self._doubtful.update(each for each in over - self._taken_off if each <= self._given_up_to)
                self._taken_off -= over

    @property
    def _taken(self) -> int:
        return sum(lane.taken for lane in self.lanes)

    @property
    def exposed(self) -> int:
        """How many events a kill now could repeat (or has not sent yet, but taken)."""
        taken, exposed = self._durable
        return self._taken - taken + exposed

    @property
    def unresolved(self) -> int:
        """How many events are in flight or wait for a retry."""
        return sum(lane.unresolved for lane in self.lanes)

    @property
    def caught_up(self) -> bool:
        """Whether everything durable in this lane has left, though not all of it may be answered."""
        return all(lane.caught_up for lane in self.lanes)

    def over_through(self) -> int:
        """Return the sequence up to which nothing of this lane waits for this route."""
        return min(lane.over_through() for lane in self.lanes if not lane.exhausted)

    def backlog(self) -> int:
        """How many records of the lane this route has not got over, waiting and in flight ones included."""
        records = 0
        for lane in self.lanes:
            at = lane.end
            for first, last in lane.skip:
                records += self._count(at, first - 1)
                at = max(at, last)
            records += self._count(at, lane.until) + lane.unresolved + len(lane.parked)
        return records

    def _count(self, after: int, through: int | None) -> int:
        """Return how many records lie behind one sequence up to another, or to the end."""
        if through is None:
            return self._log.count(self.lane, after)
        return self._log.count(self.lane, after) - self._log.count(self.lane, through) if after < through else 0

    # -- what the journal gave up --------------------------------------------------------------

    def _gaps(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(key, row) for key, row in self._log.table(GAPS).items() if row["cursor"] == self.key]

    def _look(self) -> None:
        """See whether the journal has given up more of what this cursor had not had."""
        counts = {key: row["count"] for key, row in self._gaps()} if self._log.table(GAPS) else {}
        if any(count > self._counts.get(key, 0) for key, count in counts.items()):
            self.to_check = True
            self._given_up_to = max(row["last"] for _, row in self._gaps())
        self._counts = counts

    @property
    def settled(self) -> bool:
        """Whether the counts of table "gaps" are right for this cursor: nothing that they count may still arrive."""
        self._look()
        for lane in self.lanes:
            self._take_off(lane.arrived)
            lane.arrived = []
        return not self.to_check and not any(lane.checking or lane.in_doubt for lane in self.lanes)

    def begin_check(self) -> list[int] | None:
        """Return what has to be looked up in the journal, sorted; None while a read is under way: come again."""
        if any(lane.reading or lane.checking for lane in self.lanes):
            return None
        self.to_check = False
        held = {sequence for lane in self.lanes for sequence in lane.held()}
        held |= self._doubtful | self._recent()
        for lane in self.lanes:
            lane.checking = True
        return sorted(held)

    def missing(self, held: Sequence[int]) -> set[int]:
        """Return which of these the journal has no more. Blocking; may run on another thread."""
        reader = self._check_reader = self._check_reader or self._log.reader(self.lane)
        gone: set[int] = set()
        at = 0
        while at < len(held):
            records = reader.read(held[at] - 1, len(held) - at, READ_BYTES_MAX)
            until = bisect_right(held, records[-1].sequence, at) if records else len(held)
            gone.update(set(held[at:until]).difference(record.sequence for record in records))
            at = until
        return gone

    def checked(self, gone: set[int]) -> None:
        """Forget what is gone; what had arrived is taken off the count of what was dropped."""
        for lane in self.lanes:
            lane.checking = False
            if gone:
                lane.lose(gone)
        self._take_off((self._doubtful | self._recent()) & gone)
        self._doubtful -= gone
        if not self.to_check:
            self._doubtful.clear()

    def told(self, key: str) -> None:
        """Take note that a row of table "gaps" was taken away: it begins again from nothing."""
        self._counts.pop(key, None)

    def _recent(self) -> set[int]:
        """Return what is over while no cursor on the disk says so, but for what was taken off the count."""
        kept = (*(snapshot.resolved for snapshot in self._snapshots), *(lane.resolved for lane in self.lanes))
        return {event.sequence for resolved in kept for events in resolved for event in events} - self._taken_off

    def _take_off(self, arrived: Iterable[int]) -> None:
        arrived = set(arrived)
        if arrived:
            self._taken_off |= arrived & self._recent()
        for sequence in arrived:
            for key, row in self._gaps():
                if row["first"] <= sequence <= row["last"]:
                    left = row["count"] - 1
                    self._log.put(GAPS, key, {**row, "count": left} if left else None)
                    if key in self._counts:  # not `left`: what was given up since is still to be seen
                        self._counts[key] -= 1
                    break
