"""A backtest: rules over the recorded journal, and what they would have done. Nothing is executed or written.

Time is virtual: a record happens when the gateway wrote it, a timer when it is due in between.  What the journal has of
the candidate's own rules (their outputs, their timers) is left out; the candidate's take their place.  What other rules
put out stays: to the candidate it is an event like any other.

It reads block by block and keeps nothing but the tables of the rules: memory does not grow with the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Protocol

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import Lane, decode
from gateway.journal.sweep import Run
from gateway.rules.desk.candidate import Candidate, Installation, Table, Watching
from gateway.rules.desk.comparison import Comparison
from gateway.rules.desk.tally import Action, Tally, action
from gateway.rules.desk.virtual import Record
from gateway.rules.engine.trace import Trace
from gateway.rules.files.loader import Loaded
from gateway.rules.language.definition import Timer
from gateway.rules.protocol import Outcome

OFF_NS: Final = 86_400 * NS_PER_S  # nothing recorded for longer: it was off, and timers fire late; so for a wrong clock
SEEN: Final = (Lane.ALARM, Lane.TELEMETRY, Lane.TIMER)
_RULES = b'"actor":"rule:'
STRETCH_RECORDS: Final = 256  # in one step of the engine, or a block
_NOT_ITS_OWN = (b'"type":"timer_fired"', b'"type":"rule_disabled"', b'"type":"rule_enabled"')
_PLAIN = frozenset((Lane.ALARM, Lane.TELEMETRY))


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What part of a journal, and how things stood at its beginning."""

    after: int  # sequence
    through: int
    done_before: int = 0  # what live rules put out up to this sequence is not compared: its causes lie before
    since_ns: int  # what the clock shows at the beginning
    from_ns: int = 0  # what was written earlier is not in it
    until_ns: int | None = None  # what was written then or later is not in it
    tables: Mapping[str, Table] | None = None  # None: nothing is known


class Journal(Protocol):
    """Where records are: all that were recorded, or those that are being."""

    missing: int  # records that could not be read

    def runs(self, after: int, through: int, lanes: Collection[Lane]) -> Iterator[Run]:
        """Yield blocks in order; one without records says how late it is."""
        ...


class _Head(msgspec.Struct, gc=False, tag_field="specversion", tag="1.0"):
    type: str
    subject: str = ""
    actor: str = "device"


_head = msgspec.json.Decoder(_Head).decode
Block = tuple[int, list[Record]]
"""When it was written, and what the candidate is to see of it."""
Wanted = Callable[[str, str], bool]
"""Whether records of a type about a device are to be looked at."""


class Backtest:
    """One run. `records` and `now_ns` say how far it is."""

    def __init__(
        self,
        journal: Journal,
        loaded: Loaded,
        installation: Installation,
        window: Window,
        *,
        tell: Callable[[Action], None],
        wanted: Wanted | None = None,
        watch: Watching | None = None,
        comparison: Comparison | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Set up.

        * `tell(action)` is given everything a rule would have done, in order.
        * `wanted(type, device)` leaves out records; None leaves out none.
        * `watch` looks after calls; `comparison` is given both sides' outputs; `trace` what rules made of records.
        """
        self.records = 0  # of the journal, looked at or left out
        self.tally = Tally(each.name for each in loaded.definitions if not isinstance(each, Timer))
        self._window = window
        self._journal = journal
        self._blocks = self._found()
        self._block: Block | None = None  # the next one
        self._reached_ns = window.since_ns  # by the records that were read
        self._tell = tell
        self._wanted = wanted
        self._comparison = comparison
        self._names = {entry.id: entry.name for entry in installation.devices if entry.name}
        self.candidate = Candidate(
            loaded, installation, self._take, now_ns=window.since_ns, tables=window.tables, watch=watch, trace=trace
        )
        self.candidate.time.sequence = window.after - 1  # that of the load; the records have their own

    @property
    def missing(self) -> int:
        """Return how many records could not be read."""
        return self._journal.missing

    @property
    def now_ns(self) -> int:
        """Return what the virtual clock shows."""
        return self.candidate.time.now_ns

    def run(self) -> Iterator[None]:
        """Go through the window; yields now and then."""
        candidate = self.candidate
        candidate.time.loaded()
        self._block = next(self._blocks, None)
        while self._block is not None:
            now_ns, _ = self._block
            if abs(now_ns - self.now_ns) > OFF_NS:
                candidate.time.now_ns = now_ns
            if self._block[1]:
                candidate.play(self._stretch(), now_ns)
            else:
                candidate.time.advance(now_ns)
                self._block = next(self._blocks, None)
            if self._comparison is not None:
                self._comparison.settle(self.now_ns)
            yield

    def _stretch(self) -> Iterator[Record]:
        """Yield records until a timer is due before the next one: as many as the engine may see in one step."""
        given = 0
        while self._block is not None and given < STRETCH_RECORDS:
            now_ns, records = self._block
            if not records:
                return
            if abs(now_ns - self.now_ns) > OFF_NS or not self.candidate.time.glide(now_ns):
                return
            yield from records
            given += len(records)
            self._block = next(self._blocks, None)

    def _found(self) -> Iterator[Block]:
        """Yield the window's blocks, as far as the candidate is to see something of them."""
        window, now_ns = self._window, self._window.since_ns
        lanes = SEEN if self._comparison is None else (*SEEN, Lane.COMMAND)
        for run in self._journal.runs(window.after, window.through, lanes):
            if window.until_ns is not None and run.wall_ns >= window.until_ns:
                return
            if run.wall_ns < window.from_ns:
                continue
            self.records += run.end - run.begin
            now_ns = self._reached_ns = run.wall_ns if now_ns - run.wall_ns > OFF_NS else max(now_ns, run.wall_ns)
            if (records := self._chosen(run, now_ns)) or run.begin == run.end:
                yield now_ns, records

    def end(self) -> None:
        """Let timers fire that were due before the end of the window, and judge what waits for a comparison."""
        until_ns = self._window.until_ns or self._reached_ns
        if until_ns - self.now_ns <= OFF_NS:
            self.candidate.time.advance(until_ns)
        if self._comparison is not None:
            self._comparison.settle()

    def _chosen(self, run: Run, now_ns: int) -> list[Record]:
        """Return the records of a block that the candidate is to see."""
        lanes, raws, places = run.lanes, run.raws, range(run.begin, run.end)
        if self._wanted is None and run.sequences is None and _PLAIN.issuperset(lanes):
            found = raws if len(raws) == len(places) else raws[run.begin : run.end]
            if _RULES not in b"".join(found):  # the usual case: events of devices, and nothing else
                return list(zip(range(run.first + run.begin, run.first + run.end), found, strict=True))
        return [
            (run.sequence(at), raws[at]) for at in places if self._looks(lanes[at], raws[at], now_ns, run.sequence(at))
        ]

    def _looks(self, lane: int, raw: bytes, now_ns: int, sequence: int) -> bool:
        """Return whether the candidate is to see a record; what the live rules did goes to the comparison."""
        if lane == Lane.TIMER:
            return not any(each in raw for each in _NOT_ITS_OWN)  # timers are, and nobody has disabled it
        if lane not in _PLAIN and lane != Lane.COMMAND:
            return False
        if lane == Lane.COMMAND or _RULES in raw:
            try:
                head = _head(raw)
            except msgspec.DecodeError:
                return False
            if self.candidate.ours(head.actor):
                if self._comparison is not None and sequence > self._window.done_before:
                    self._comparison.add("live", action(decode(raw), self._names), now_ns)
                return False
            if lane == Lane.COMMAND:
                return False
        return self._wanted is None or self._passes(raw)

    def _passes(self, raw: bytes) -> bool:
        assert self._wanted is not None
        try:
            head = _head(raw)
        except msgspec.DecodeError:
            return False
        return self._wanted(head.type, head.subject)

    def _take(self, outcome: Outcome) -> None:
        if outcome.fired or outcome.faults:
            self.tally.take(outcome, rfc3339(self.now_ns))
        self.tally.gated(outcome.gated, rfc3339(self.now_ns))
        for event in outcome.outputs:
            done = action(event, self._names)
            self.tally.did(done)
            self._tell(done)
            if self._comparison is not None and event.lane != "dead_letter" and self.candidate.ours(event.actor):
                self._comparison.add("candidate", done, self.now_ns)


def summary(test: Backtest) -> dict[str, Any]:
    """Return what a backtest came to, for a program."""
    tally = test.tally
    return {
        "records": test.records,
        "missing": test.missing,
        "rules": {
            name: {"calls": count.calls, **count.kinds, "first": count.first, "last": count.last}
            for name, count in sorted(tally.rules.items())
        },
        "faults": [
            {"rule": each.fault.rule, "file": each.fault.file, "line": each.fault.line, "what": each.fault.what,
             "times": each.times, "first": each.time}
            for each in tally.faults.values()
        ],
        "more_faults": tally.more_faults,
    }  # fmt: skip
