"""The engine on a clock that is moved: what tests, backtests, shadows and debugging have in common.

`play` lets records happen now; what rules put out goes back into the engine, as it does from the gateway's journal.
`advance` moves the clock; timers that are due on the way fire at their time, in order.  Nothing reads a real clock, so
the same records at the same times end in the same outputs with the same ids.

Records have the sequences of their journal.  What follows from one takes the next numbers; when those belong to later
records, they move on: order and uniqueness is what the engine needs of them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.clock import rfc3339
from gateway.event import Event, derived_id, encode
from gateway.rules.engine.engine import Engine
from gateway.rules.engine.tables import TIMERS, Tables
from gateway.rules.protocol import Outcome, RuleFault

Record = tuple[int, bytes]
"""Sequence and stored bytes."""

FOLLOWING_MAX: Final = 1000  # events that follow from one record
TIMERS_MAX: Final = 100_000  # fired within one `advance` at the same time
SEEN_BY_RULES = frozenset(("alarm", "telemetry"))
_SEQUENCE = b'"sequence":"'
_SEQUENCE_DIGITS = 16


class TimedTables(Tables):
    """Tables that know which timer is due next."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(tables)
        self._heap = [(int(row["due"]), key) for key, row in self._tables[TIMERS].items()]
        heapq.heapify(self._heap)

    def put(self, table: str, key: str, row: Any | None) -> None:
        """Set a row; None deletes it."""
        super().put(table, key, row)
        if table == TIMERS and row is not None:
            heapq.heappush(self._heap, (int(row["due"]), key))

    def shift(self, by_ns: int) -> None:
        """Let every timer that waits be due at another time: the wall clock was set, and they go by the boot clock."""
        for key, row in list(self._tables[TIMERS].items()):
            self.put(TIMERS, key, {**row, "due": int(row["due"]) + by_ns})

    def next_timer(self) -> tuple[int, str, Mapping[str, Any]] | None:
        """Return the timer that is due first: when, its key and its row."""
        waiting = self._tables[TIMERS]
        while self._heap:
            due, key = self._heap[0]
            row = waiting.get(key)
            if row is not None and int(row["due"]) == due:
                return due, key, row
            heapq.heappop(self._heap)  # cancelled, fired or set anew
        return None


class Unwatched:
    """Stands in for the blame slot: nobody ends a call."""

    def call(self, rule: int, sequence: int, ordinal: int) -> None:
        """Do nothing."""

    def done(self) -> None:
        """Do nothing."""


class VirtualTime:
    """Moves an engine through time. `now_ns` changes only by `advance` and `set_clock`."""

    def __init__(self, now_ns: int, take: Callable[[Outcome], None], *, source: str, log_id: str) -> None:
        """Begin at `now_ns`.

        * `take(outcome)` is given what came of each step, in order.
        * `source` and `log_id` are what records of time are named after.
        """
        self.now_ns = now_ns
        self.synced = True  # whether the clock is believed
        self.sequence = 0  # of the record that was looked at last
        self.records = 0  # looked at, what follows from them included
        self._take = take
        self._source = source
        self._log_id = log_id
        self._engine: Engine | None = None
        self._tables = TimedTables({})
        self._waiting: deque[Event] = deque()  # outputs that the engine has not seen yet
        self._following = 0  # how many followed from the record at hand
        self._outcome = Outcome(0)
        self._collected = 0  # how many outputs of it were taken over
        self._over = False

    def use(self, engine: Engine, tables: TimedTables) -> None:
        """Go on with an engine, whose site has these tables."""
        self._engine, self._tables = engine, tables

    def play(self, records: Iterable[Record], live_after: int = 0) -> None:
        """Let records happen now, in order, and all that follows from each of them."""
        assert self._engine is not None
        feed = iter(records)
        self._over = False
        while not self._over:  # more than one round only where rules put out more than a batch holds
            self._collected = 0
            outcome = self._engine.step(self._given(feed), self.sequence, self.now_ns, live_after)
            self._collect(outcome)
            outcome.upto = self.sequence
            self._take(outcome)

    def happen(self, event: Event) -> None:
        """Let one event happen now; it gets the next sequence, and an id if it has none."""
        if not self.synced:
            event = msgspec.structs.replace(event, clock="unsynced")
        self.play([(self.sequence + 1, self._stamped(event, self.sequence + 1))])

    def loaded(self) -> None:
        """Let the rules see how things are, as the gateway does when it has loaded them."""
        time = rfc3339(self.now_ns)
        self.happen(Event(source=self._source, type="rules_loaded", time=time, lane="timer", actor="gateway"))

    def set_clock(self, now_ns: int) -> None:
        """Set the wall clock without time passing."""
        self._tables.shift(now_ns - self.now_ns)
        self.now_ns = now_ns

    def advance(self, until_ns: int) -> None:
        """Move the clock, never back; timers that are due on the way fire at their time, in order."""
        fired, at = 0, -1
        while (found := self._tables.next_timer()) is not None and found[0] <= until_ns:
            due, key, row = found
            fired, at = (fired + 1, at) if due == at else (1, due)
            if fired > TIMERS_MAX:
                break
            self.now_ns = max(self.now_ns, due)
            self._fire(due, key, row)
        self.now_ns = max(self.now_ns, until_ns)

    def glide(self, now_ns: int) -> bool:
        """Move the clock between two records of one `play`, never back; False when a timer is due before."""
        assert self._engine is not None
        found = self._tables.next_timer()
        if found is not None and found[0] <= now_ns:
            return False
        self.now_ns = max(self.now_ns, now_ns)
        self._engine.move(self.now_ns)
        return True

    def _fire(self, due: int, key: str, row: Mapping[str, Any]) -> None:
        rule = str(row.get("rule", ""))
        self.happen(
            Event(
                id=derived_id(self._log_id, rule, key, due),
                source=self._source,
                type="timer_fired",
                subject=f"rule:{rule}",
                time=rfc3339(due),
                lane="timer",
                actor="gateway",
                hops=int(row.get("hops", 0)),
                data={"timer": key, "rule": rule, "kind": str(row.get("kind", "")), "due": rfc3339(due)},
            )
        )

    def _given(self, feed: Iterator[Record]) -> Iterator[bytes]:
        """Yield records, behind each what follows from it."""
        assert self._engine is not None
        self._outcome = self._engine.outcome
        outputs = self._outcome.outputs
        while self._waiting:
            yield self._next()
        for sequence, raw in feed:
            if sequence > self.sequence:
                self.sequence = sequence
            else:
                self.sequence += 1
                raw = renumbered(raw, self.sequence)  # noqa: PLW2901 - the same record
            self.records += 1
            yield raw
            if len(outputs) != self._collected:
                self._following = 0
                self._collect(self._outcome)
                while self._waiting:
                    yield self._next()
                    self._collect(self._outcome)
        self._over = not self._waiting

    def _collect(self, outcome: Outcome) -> None:
        """Take over what was put out since the last time."""
        for event in outcome.outputs[self._collected :]:
            if event.lane in SEEN_BY_RULES:
                self._following += 1
                if self._following <= FOLLOWING_MAX:
                    self._waiting.append(event)
                elif self._following == FOLLOWING_MAX + 1:
                    text = f"more than {FOLLOWING_MAX} events follow from one: the rest is not looked at"
                    outcome.faults.append(RuleFault(event.actor, "", 0, text))
        self._collected = len(outcome.outputs)

    def _next(self) -> bytes:
        self.sequence += 1
        self.records += 1
        return self._stamped(self._waiting.popleft(), self.sequence)

    def _stamped(self, event: Event, sequence: int) -> bytes:
        identity = event.id or f"{self._log_id}-{sequence:x}"
        return encode(msgspec.structs.replace(event, id=identity, sequence=f"{sequence:016d}"))


def renumbered(raw: bytes, sequence: int) -> bytes:
    """Return a record with another sequence: inside a text a quotation mark has a backslash, so it is there once."""
    at = raw.index(_SEQUENCE) + len(_SEQUENCE)
    return raw[:at] + b"%016d" % sequence + raw[at + _SEQUENCE_DIGITS :]
