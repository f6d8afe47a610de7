"""One lane of one route: what was read, what is under way, what waits, what is set aside.

::

    journal --read----> ahead --fresh--> in flight --over--> done
                          |                 |  `--back--> waiting --retry--> in flight
                          `-held: its device waits-----------^  `--park--> parked --from_parked--> in flight

No clock, no loop, no target: the forwarder decides when; this keeps the order and knows what is not over.
An event is *exposed* from being taken out of `ahead` until a cursor that covers it is on the disk: what a kill now
could repeat.  The forwarder keeps that within the route's window.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Collection, Sequence

import msgspec

from gateway.event import Head, Lane, decode_head, with_attributes
from gateway.forward.cursor import Hole, ranges, value_of
from gateway.forward.log import Log, Record
from gateway.routes import Selection
from gateway.targets.target import Outgoing

READ_MAX = 1000  # events read ahead
READ_BYTES_MAX = 1024 * 1024
LOOK_MAX = 100  # events passed over to find one of another device
_OLD = 10**9  # ordinals left out where a range from before this start lies: nobody knows how many events are in it
_REPLAYED = with_attributes(b"{}", {"replayed": True})[1:]


class Sending:
    """Events on their way, in order, and where they came from."""

    __slots__ = ("events", "lane", "ordinals", "origin", "passes", "probe")

    def __init__(self, lane: RouteLane, events: list[Outgoing], ordinals: Sequence[int], origin: str) -> None:
        self.lane = lane
        self.events = events
        self.ordinals = ordinals
        self.origin = origin  # "fresh" | "waiting" | "parked"
        self.passes = 0  # how many sends the target had taken when this one left, or when its events failed before
        self.probe = origin == "parked"  # its failure is no strike against its event

    def holes(self) -> list[Hole]:
        """Return where the lane is not over because of these."""
        if self.origin == "fresh":  # neighbours, but for events held back, which are holes too
            ordinals = self.ordinals
            return [Hole(self.events[0].sequence, self.events[-1].sequence, ordinals[0], ordinals[-1])]
        return [Hole(e.sequence, e.sequence, n, n) for e, n in zip(self.events, self.ordinals, strict=True)]


class Parked:
    """An event in the retry list, by reference: its bytes stay in the journal."""

    __slots__ = ("attempts", "due", "ordinal", "passes")

    def __init__(self, ordinal: int, attempts: int, due: float, passes: int = 0) -> None:
        self.ordinal = ordinal
        self.attempts = attempts
        self.due = due  # loop time
        self.passes = passes  # how many sends the target had taken at its last attempt


class RouteLane:
    """The state of one lane of one route."""

    def __init__(self, name: str, log: Log, lane: Lane, selection: Selection, *, newest: bool = False) -> None:
        self.lane = lane
        self.key = f"route:{name}:{lane.name.lower()}"
        self.in_flight: list[Sending] = []
        self.waiting: list[tuple[int, Outgoing]] = []  # (ordinal, event), sorted
        self.parked: dict[int, Parked] = {}
        self.attempts: dict[int, int] = {}  # sequence -> failures while others passed; only of waiting events
        self.retry_at = 0.0  # loop time before which `waiting` is left alone
        self.failed_at = 0  # how many sends the target had taken when one of this lane last failed
        self.retry_max = READ_MAX  # events in one retry; 1 while it is unknown which of them is to blame
        self._unreadable: list[Record] = []  # records that are no events
        self.replay_before = 0  # events up to here waited through an outage
        self._log = log
        self._reader = log.reader(lane)
        self._parked_reader = log.reader(lane)  # a reader belongs to one thread at a time
        self.reading = False  # on another thread
        self._selection = selection
        self._ahead: list[Outgoing] = []
        self._at = 0  # next of `_ahead`
        self._ordinal = 0  # of the next event of `_ahead`
        self._blocked: set[str] = set()  # devices of `waiting` and of what of it is in flight
        self._snapshots: deque[tuple[int, int, int]] = deque()  # (batch, ordinal, exposed) of cursors not durable yet
        self._durable = (0, 0)  # (ordinal, exposed) of the durable cursor
        saved = self._last_put = log.get("cursors", self.key)
        self.is_new = saved is None
        saved = saved or {"after": log.last_sequence if newest else 0, "done": []}
        self._read_to: int = saved["after"]
        self._skip: deque[tuple[int, int]] = deque((first, last) for first, last in saved["done"])
        for i, (sequence, attempts) in enumerate(reversed(saved.get("parked", ()))):
            self.parked[sequence] = Parked(-_OLD * (i + 1), attempts, 0.0)
        self._parked_before = max(self.parked, default=0)
        self._jump()

    # -- reading -------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """How many events are read and not taken."""
        return len(self._ahead) - self._at

    @property
    def next_is_backlog(self) -> bool:
        """Whether the next event waited through an outage."""
        return self._at < len(self._ahead) and self._ahead[self._at].sequence <= self.replay_before

    def wants(self) -> bool:
        """Return whether it is time to read on: `ahead` is half empty and there may be more."""
        if self.reading or self.ahead > READ_MAX // 2:
            return False
        if not self.ahead:
            self._jump()
        return self._read_to < self._log.durable_sequence and not (self.ahead and self._at_skip())

    def young(self) -> bool:
        """Return whether `read` is served from memory: it may then run on the event loop's thread."""
        return self._reader.in_memory(self._read_to)

    def read(self) -> Sequence[Record]:
        """Read on. Blocking when not `young`; the only method that may run on another thread."""
        return self._reader.read(self._read_to, READ_MAX, READ_BYTES_MAX)

    def received(self, records: Sequence[Record], durable: int) -> None:
        """Take what `read` returned; `durable` is the journal's durable sequence before that."""
        if not records:
            self._read_to = max(self._read_to, durable)
            self._skip.clear()
            return
        before = self._read_to
        self._read_to = records[-1].sequence
        if self._skip or before < self._parked_before:
            records = self._unknown(records)
        self._ahead = self._ahead[self._at :] + self._outgoing(records)
        self._at = 0

    def _at_skip(self) -> bool:
        return bool(self._skip) and self._skip[0][0] <= self._read_to + 1

    def _unknown(self, records: Sequence[Record]) -> list[Record]:
        """Leave out what the cursor, as it was at start, says is over or parked."""
        if self._skip and records[-1].sequence >= self._skip[0][0]:
            first = self._skip[0][0]
            records = [record for record in records if record.sequence < first]
            self._read_to = first - 1  # crossed when these have left: until then the cursor names the range
        return [record for record in records if record.sequence not in self.parked]

    def _jump(self) -> None:
        """Move the reading position across what is known to be over or parked."""
        while True:
            if self._at_skip():
                self._read_to = max(self._read_to, self._skip.popleft()[1])
                self._pass_unknown_many()
            elif self._read_to + 1 in self.parked:
                self._read_to += 1
            else:
                return

    def _pass_unknown_many(self) -> None:
        """Leave many ordinals out, so that the cursor holds on to the range: nobody knows how many were in it."""
        self._ordinal += _OLD
        self._durable = (self._durable[0] + _OLD, self._durable[1])
        self._snapshots = deque((batch, ordinal + _OLD, again) for batch, ordinal, again in self._snapshots)

    def _outgoing(self, records: Sequence[Record]) -> list[Outgoing]:
        lane = int(self.lane)
        takes: Callable[[str, str], bool] | None = None if self._selection.takes_all else self._selection.takes
        replay_before, topic = self.replay_before, self._selection.topic
        taken: list[Outgoing] = []
        for record in records:
            raw = record.raw
            try:
                head: Head = decode_head(raw)
            except msgspec.DecodeError:
                self._unreadable.append(record)
                continue
            if head.held or (takes is not None and not takes(head.type, head.subject)):
                continue
            if record.sequence <= replay_before:
                raw = raw[:-1] + _REPLAYED
            taken.append(Outgoing(record.sequence, lane, head.id, head.type, head.subject, topic, raw))
        return taken

    def take_unreadable(self) -> list[Record]:
        """Return the records just read that are no events."""
        unreadable, self._unreadable = self._unreadable, []
        return unreadable

    def mark_replayed(self, before: int) -> None:
        """Mark as replays what is not sent yet, up to `before`: an outage is over."""
        rest = self._ahead[self._at :]
        for i, event in enumerate(rest):
            if self.replay_before < event.sequence <= before:
                rest[i] = msgspec.structs.replace(event, raw=event.raw[:-1] + _REPLAYED)
        self._ahead, self._at = rest, 0
        self.replay_before = max(self.replay_before, before)

    # -- sending -------------------------------------------------------------------------------

    def fresh(self, limit: int) -> Sending | None:
        """Take up to `limit` new events; those of devices that wait for a retry wait behind it."""
        events = self._ahead[self._at : self._at + limit]
        if not events:
            return None
        self._at += len(events)
        ordinals: Sequence[int] = range(self._ordinal, self._ordinal + len(events))
        self._ordinal += len(events)
        if self._blocked:
            blocked = self._blocked
            numbered = list(zip(ordinals, events, strict=True))
            self.waiting += [each for each in numbered if each[1].subject in blocked]
            going = [each for each in numbered if each[1].subject not in blocked]
            if not going:
                return None
            ordinals, events = [n for n, _ in going], [event for _, event in going]
        return self._leave(events, ordinals, "fresh")

    def retry(self, limit: int) -> Sending | None:
        """Take the first `limit` waiting events; one such sending at a time, so that none passes another."""
        if not self.waiting or any(sending.origin == "waiting" for sending in self.in_flight):
            return None
        limit = min(limit, self.retry_max)
        going, self.waiting = self.waiting[:limit], self.waiting[limit:]
        if not self.waiting:
            self.retry_max = READ_MAX
        return self._leave([event for _, event in going], [n for n, _ in going], "waiting")

    def take(self, sequence: int) -> Sending | None:
        """Take one waiting event, alone."""
        for i, (ordinal, event) in enumerate(self.waiting):
            if event.sequence == sequence:
                del self.waiting[i]
                return self._leave([event], [ordinal], "waiting")
        return None

    def other(self, than: Outgoing, *, also_same_device: bool) -> Sending | None:
        """Take one event of a device other than that of `than`; if need be a later one of the same device."""
        for _, event in self.waiting:
            if event.subject != than.subject or (also_same_device and event.sequence != than.sequence):
                return self.take(event.sequence)
        for _ in range(LOOK_MAX):
            if sending := self.fresh(1):
                return sending
        return None

    def from_parked(self, sequence: int) -> Sending | None:
        """Take a parked event out of the journal; None if it is there no more (it is then forgotten)."""
        parked = self.parked[sequence]
        found = self._outgoing(self._parked_reader.read(sequence - 1, 1, READ_BYTES_MAX)[:1])
        if not found or found[0].sequence != sequence:
            del self.parked[sequence]
            return None
        return self._leave(found, [parked.ordinal], "parked")

    def _leave(self, events: list[Outgoing], ordinals: Sequence[int], origin: str) -> Sending:
        sending = Sending(self, events, ordinals, origin)
        self.in_flight.append(sending)
        return sending

    # -- coming back ---------------------------------------------------------------------------

    def over(self, sending: Sending) -> None:
        """Everything in it is delivered (or rejected)."""
        self.in_flight.remove(sending)
        if sending.origin != "fresh":
            self._forget(sending.events)

    def back(self, sending: Sending, unresolved: Collection[int]) -> None:
        """Let the events at these places of it wait for a retry; the rest is over."""
        self.in_flight.remove(sending)
        self._forget([event for i, event in enumerate(sending.events) if i not in unresolved])
        if sending.origin == "parked":
            return
        for i in sorted(unresolved):
            bisect.insort(self.waiting, (sending.ordinals[i], sending.events[i]))
        self._block()

    def park(self, sequence: int, parked: Parked) -> None:
        """Set a waiting event aside, so that nothing waits behind it."""
        for i, (ordinal, event) in enumerate(self.waiting):
            if event.sequence == sequence:
                parked.ordinal = ordinal
                del self.waiting[i]
                self.attempts.pop(sequence, None)
                self.parked[sequence] = parked
                break
        self._block()

    def attempts_of(self, sequence: int) -> int:
        """Return how often an event has failed while others passed."""
        parked = self.parked.get(sequence)
        return parked.attempts if parked else self.attempts.get(sequence, 0)

    def _forget(self, events: Sequence[Outgoing]) -> None:
        for event in events:
            self.attempts.pop(event.sequence, None)
            self.parked.pop(event.sequence, None)
        self._block()

    def _block(self) -> None:
        self._blocked = {event.subject for _, event in self.waiting}
        for sending in self.in_flight:
            if sending.origin == "waiting":
                self._blocked.update(event.subject for event in sending.events)

    # -- the cursor ----------------------------------------------------------------------------

    def put_cursor(self) -> None:
        """Put the cursor into the open batch, if it has moved."""
        holes = [hole for sending in self.in_flight if sending.origin != "parked" for hole in sending.holes()]
        holes += [Hole(event.sequence, event.sequence, ordinal, ordinal) for ordinal, event in self.waiting]
        holes += [Hole(sequence, sequence, each.ordinal, each.ordinal) for sequence, each in self.parked.items()]
        end = self._ahead[self._at].sequence - 1 if self._at < len(self._ahead) else self._read_to
        after, done, again = ranges(end, self._ordinal, holes)
        attempts = {sequence: each.attempts for sequence, each in self.parked.items()}
        value = value_of(after, done, self._skip, attempts)
        if value != self._last_put:
            self._last_put = value
            self._log.put("cursors", self.key, value)
        batch = self._log.batch
        if self._snapshots and self._snapshots[-1][0] == batch:
            self._snapshots.pop()
        self._snapshots.append((batch, self._ordinal, again - len(self.parked)))

    def durable(self, batch: int) -> None:
        """Take note that the cursors put up to this batch are on the disk."""
        while self._snapshots and self._snapshots[0][0] <= batch:
            _, ordinal, exposed = self._snapshots.popleft()
            self._durable = (ordinal, exposed)

    @property
    def exposed(self) -> int:
        """How many events a kill now could repeat (or has not sent yet, but taken)."""
        ordinal, exposed = self._durable
        return self._ordinal - ordinal + exposed

    @property
    def unresolved(self) -> int:
        """How many events are in flight or wait for a retry."""
        return len(self.waiting) + sum(len(sending.events) for sending in self.in_flight)

    @property
    def caught_up(self) -> bool:
        """Whether everything durable in this lane has left, though not all of it may be answered."""
        return not self.ahead and not self.waiting and self._read_to >= self._log.durable_sequence

    def over_through(self) -> int:
        """Return the sequence up to which nothing of this lane waits for this route."""
        unresolved = [sending.events[0].sequence for sending in self.in_flight]
        unresolved += [event.sequence for _, event in self.waiting[:1]]
        end = self._ahead[self._at].sequence - 1 if self._at < len(self._ahead) else self._read_to
        return min((sequence - 1 for sequence in (*unresolved, *self.parked)), default=end)

    def backlog(self) -> int:
        """How many records of the lane this route has not got over, waiting and in flight ones included."""
        end = self._ahead[self._at].sequence - 1 if self._at < len(self._ahead) else self._read_to
        return self._log.count(self.lane, end) + self.unresolved + len(self.parked)
