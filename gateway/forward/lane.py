"""One reading of a lane for one route: what was read, what is under way, what waits, what is set aside.

::

    journal --read----> ahead --fresh--> in flight --over--> done
                          |                 |  `--back--> waiting --retry--> in flight
                          `-held: its device waits-----------^  `--park--> parked --from_parked--> in flight

No clock, no loop, no target: the forwarder decides when; this keeps the order and knows what is not over.  progress.py
puts together what that means for the cursor, over one reading or two (a live one and one of the backlog, which then has
`until`, where it ends, and jumps over what the live one has had).

An event that the journal gave up meanwhile (`lose`) is counted there as dropped, so it must not leave from memory all
the same.  Those that are on their way then may arrive: `arrived` names them, so that they are taken off that count.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from gateway.event import Head, Lane, decode_head, with_attributes
from gateway.forward.cursor import REGION, Hole, region_of
from gateway.forward.log import Lanes, Record
from gateway.forward.sending import Parked, Sending
from gateway.routes import Selection
from gateway.targets.target import Outgoing

READ_MAX = 1000  # events read ahead
READ_BYTES_MAX = 1024 * 1024
LOOK_MAX = 100  # events passed over to find one of another device
_REPLAYED = with_attributes(b"{}", {"replayed": True})[1:]


class RouteLane:
    """The state of one reading. `saved` is the cursor that it goes on from; `is_backlog`: a live one goes before it."""

    def __init__(
        self,
        log: Lanes,
        lane: Lane,
        selection: Selection,
        saved: Mapping[str, Any],
        *,
        until: int | None = None,
        region: int = 0,
    ) -> None:
        self.lane = lane
        self.until = until  # the last sequence that is to be read here
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
        self.paused = False  # nothing new leaves: it waits behind another reading
        self.before: RouteLane | None = None  # a reading whose blocked devices wait here, too
        self.checking = False  # whether the journal still has what is in memory: nothing leaves meanwhile
        self.resolved: list[list[Outgoing]] = []  # what is over since somebody last took note of it
        self.arrived: list[int] = []  # of these what the journal had given up: sequences
        self._lost: set[int] = set()  # given up by the journal while it was in flight
        self._selection = selection
        self._ahead: list[Outgoing] = []
        self._at = 0  # next of `_ahead`
        self.taken = 0  # events, since start
        self.ordinal = region * REGION  # of the next event of `_ahead`
        self.blocked: set[str] = set()  # devices of `waiting` and of what of it is in flight
        self._read_to: int = saved["after"]
        self.skip: deque[tuple[int, int]] = deque((first, last) for first, last in saved["done"])
        for i, (sequence, attempts) in enumerate(saved.get("parked", ())):
            self.parked[sequence] = Parked(-REGION * (i + 1), attempts, 0.0)
        self._parked_before = max(self.parked, default=0)
        self._jump()

    # -- reading -------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """How many events are read, not taken."""
        return len(self._ahead) - self._at

    @property
    def next_is_backlog(self) -> bool:
        """Whether the next event waited through an outage."""
        return self._at < len(self._ahead) and self._ahead[self._at].sequence <= self.replay_before

    @property
    def end(self) -> int:
        """The sequence up to which everything was taken (or is not this route's)."""
        return self._ahead[self._at].sequence - 1 if self._at < len(self._ahead) else self._read_to

    @property
    def position(self) -> int:
        """The sequence that `read` goes on behind."""
        return self._read_to

    def wants(self) -> bool:
        """Return whether it is time to read on: `ahead` is half empty and there may be more."""
        if self.reading or self.checking or self.ahead > READ_MAX // 2:
            return False
        if not self.ahead:
            self._jump()
        return self._read_to < self._bound(self._log.durable_sequence) and not (self.ahead and self._at_skip())

    def young(self) -> bool:
        """Return whether `read` is served from memory: it may then run on the event loop's thread."""
        return self._reader.in_memory(self._read_to)

    def read(self) -> Sequence[Record]:
        """Read on. Blocking when not `young`; the only method that may run on another thread."""
        return self._reader.read(self._read_to, READ_MAX, READ_BYTES_MAX)

    def received(self, records: Sequence[Record], durable: int) -> None:
        """Take what `read` returned; `durable` is the journal's durable sequence before that."""
        if not records:
            self._read_to = max(self._read_to, self._bound(durable))
            self.skip.clear()
            return
        before = self._read_to
        self._read_to = self._bound(records[-1].sequence)
        if self._read_to < records[-1].sequence:
            records = [record for record in records if record.sequence <= self._read_to]
        if records and (self.skip or before < self._parked_before):
            records = self._unknown(records)
        self._ahead, self._at = self._ahead[self._at :] + self._outgoing(records), 0

    def _bound(self, sequence: int) -> int:
        return sequence if self.until is None else min(sequence, self.until)

    def _at_skip(self) -> bool:
        return bool(self.skip) and self.skip[0][0] <= self._read_to + 1

    def _unknown(self, records: Sequence[Record]) -> list[Record]:
        """Leave out what the cursor, as it was at start, says is over or parked."""
        if self.skip and records[-1].sequence >= self.skip[0][0]:
            first = self.skip[0][0]
            records = [record for record in records if record.sequence < first]
            self._read_to = first - 1  # crossed when these have left: until then the cursor names the range
        return [record for record in records if record.sequence not in self.parked]

    def _jump(self) -> None:
        """Move the reading position across what is known to be over or parked."""
        while True:
            if self._at_skip():
                self._read_to = max(self._read_to, self.skip.popleft()[1])
                self.ordinal = (region_of(self.ordinal) + 2) * REGION  # the one between is of another reading
            elif self._read_to + 1 in self.parked:
                self._read_to += 1
            else:
                return

    def leave(self, through: int) -> int:
        """Go on behind `through`, in a new region; what lies before it is somebody else's. Return `end` as it was."""
        end = self.end
        self._ahead, self._at, self._read_to = [], 0, through
        self.ordinal = (region_of(self.ordinal) + 2) * REGION
        return end

    def extend(self, behind: int, through: int) -> None:
        """Read also what lies behind one sequence up to another; from `until` to there it is somebody else's."""
        assert self.until is not None, "a reading without an end"
        if behind > self.until:
            self.skip.append((self.until + 1, behind))
        self.until = self.replay_before = through

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
        self.rewrite(lambda raw, at: raw[:-1] + _REPLAYED if self.replay_before < at <= before else raw)
        self.replay_before = max(self.replay_before, before)

    def rewrite(self, change: Callable[[bytes, int], bytes]) -> None:
        """Put `change(raw, sequence)` in the place of each event that was not sent yet."""
        replace, rest = msgspec.structs.replace, self._ahead[self._at :]
        self._ahead, self._at = [replace(each, raw=change(each.raw, each.sequence)) for each in rest], 0

    # -- sending -------------------------------------------------------------------------------

    def fresh(self, limit: int) -> Sending | None:
        """Take up to `limit` new events; those of devices that wait for a retry wait behind it."""
        events = self._ahead[self._at : self._at + limit]
        if not events or self.checking or self.paused:
            return None
        self._at += len(events)
        self.taken += len(events)
        ordinals: Sequence[int] = range(self.ordinal, self.ordinal + len(events))
        self.ordinal += len(events)
        blocked = self.blocked | self.before.blocked if self.before else self.blocked
        if blocked:
            numbered = list(zip(ordinals, events, strict=True))
            self.waiting += [each for each in numbered if each[1].subject in blocked]
            if self.before:
                self._block()
            going = [each for each in numbered if each[1].subject not in blocked]
            if not going:
                return None
            ordinals, events = [n for n, _ in going], [event for _, event in going]
        return self._leave(events, ordinals, "fresh")

    def retry(self, limit: int) -> Sending | None:
        """Take the first `limit` waiting events; one such sending at a time, so that none passes another."""
        if not self.waiting or self.checking or any(sending.origin == "waiting" for sending in self.in_flight):
            return None
        held = self.before.blocked if self.before else ()
        going = [each for each in self.waiting if each[1].subject not in held][: min(limit, self.retry_max)]
        if not going:
            return None
        leaving = {ordinal for ordinal, _ in going}
        self.waiting = [each for each in self.waiting if each[0] not in leaving]
        if not self.waiting:
            self.retry_max = READ_MAX
        return self._leave([event for _, event in going], [n for n, _ in going], "waiting")

    def take(self, sequence: int) -> Sending | None:
        """Take one waiting event, alone."""
        for i, (ordinal, event) in enumerate(() if self.checking else self.waiting):
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
        self._resolve(sending.events)
        if sending.origin != "fresh":
            self._forget(sending.events)

    def back(self, sending: Sending, unresolved: Collection[int]) -> None:
        """Let the events at these places of it wait for a retry; the rest is over."""
        self.in_flight.remove(sending)
        resolved = [event for i, event in enumerate(sending.events) if i not in unresolved]
        self._resolve(resolved)
        self._forget(resolved)
        if sending.origin == "parked":
            self._lost.difference_update(event.sequence for event in sending.events)
            return
        for i in sorted(unresolved):
            if sending.events[i].sequence in self._lost:
                self._lost.remove(sending.events[i].sequence)
            else:
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

    def _resolve(self, events: list[Outgoing]) -> None:
        self.resolved.append(events)
        if self._lost:
            arrived = [event.sequence for event in events if event.sequence in self._lost]
            self.arrived += arrived
            self._lost.difference_update(arrived)

    # -- what the journal gave up --------------------------------------------------------------

    def held(self) -> list[int]:
        """Return the sequences of what is in memory and not over."""
        events = [*self._ahead[self._at :], *(event for _, event in self.waiting)]
        return [event.sequence for each in (events, *(s.events for s in self.in_flight)) for event in each]

    def lose(self, gone: Collection[int]) -> None:
        """Forget what the journal has given up; what of it is in flight may still arrive."""
        self._ahead, self._at = [event for event in self._ahead[self._at :] if event.sequence not in gone], 0
        self.waiting = [each for each in self.waiting if each[1].sequence not in gone]
        self._lost.update(e.sequence for sending in self.in_flight for e in sending.events if e.sequence in gone)
        for sequence in gone:
            self.attempts.pop(sequence, None)
        self._block()

    @property
    def in_doubt(self) -> bool:
        """Whether something is in flight that the journal has given up."""
        return bool(self._lost)

    def _forget(self, events: Sequence[Outgoing]) -> None:
        for event in events:
            self.attempts.pop(event.sequence, None)
            self.parked.pop(event.sequence, None)
        self._block()

    def _block(self) -> None:
        self.blocked = {event.subject for _, event in self.waiting}
        for sending in self.in_flight:
            if sending.origin == "waiting":
                self.blocked.update(event.subject for event in sending.events)

    # -- what is not over ----------------------------------------------------------------------

    def holes(self) -> list[Hole]:
        """Return where what was taken is not over."""
        holes = [hole for sending in self.in_flight if sending.origin != "parked" for hole in sending.holes()]
        holes += [Hole(event.sequence, event.sequence, ordinal, ordinal) for ordinal, event in self.waiting]
        return holes + [Hole(sequence, sequence, each.ordinal, each.ordinal) for sequence, each in self.parked.items()]

    def unread(self) -> tuple[list[Hole], int, int]:
        """Return where nothing was taken yet before an end that is known, that end, and the ordinal there.

        Without ranges to jump over and without `until` that is no hole, and the end of what was taken.
        """
        holes, at, ordinal = [], self.end, self.ordinal
        for first, last in (*self.skip, *([] if self.until is None else [(self.until + 1, self.until)])):
            if first > at + 1:
                holes.append(Hole(at + 1, first - 1, ordinal, (region_of(ordinal) + 1) * REGION - 1))
            at, ordinal = max(at, last), (region_of(ordinal) + 2) * REGION
        return holes, at, ordinal

    @property
    def unresolved(self) -> int:
        """How many events are in flight or wait for a retry."""
        return len(self.waiting) + sum(len(sending.events) for sending in self.in_flight)

    @property
    def caught_up(self) -> bool:
        """Whether everything durable in this lane has left, though not all of it may be answered."""
        return not self.ahead and not self.waiting and self._read_to >= self._bound(self._log.durable_sequence)

    @property
    def exhausted(self) -> bool:
        """Whether it has an end, and has come to it with nothing left."""
        return self.until is not None and self.end >= self.until and not (self.unresolved or self.parked)

    def over_through(self) -> int:
        """Return the sequence up to which nothing waits here."""
        unresolved = [sending.events[0].sequence for sending in self.in_flight]
        unresolved += [event.sequence for _, event in self.waiting[:1]]
        return min((sequence - 1 for sequence in (*unresolved, *self.parked)), default=self.end)
