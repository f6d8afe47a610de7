"""Questions about the past: which events a person wants to see, and reading no more of the journal than it takes."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from fnmatch import translate
from itertools import chain
from typing import Any, Final, get_args

import msgspec

from gateway.clock import NS_PER_S, rfc3339, wall_ns_of
from gateway.event import LANES, Lane, LaneName
from gateway.history.index import LATER, STRETCH_RECORDS, Index, Key, Question, decode_seen, mark
from gateway.journal.limits import given_up
from gateway.journal.reader import Store
from gateway.journal.sweep import Run, Sweep

LIMIT_MAX: Final = 100_000  # events of the past in one answer
AHEAD_S: Final = 3600  # how far a device's clock may be ahead of ours where no index knows the times
EVERY_LANE: tuple[LaneName, ...] = get_args(LaneName)
Stretches = Sequence[tuple[int, int]]
"""(first, last) sequences, in order."""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events are wanted."""

    types: list[str] = []  # with * and ?; any of them
    devices: list[str] = []  # an id, its part behind the dialect, or a pattern with * and ?
    since: str | None = None  # RFC 3339 in UTC
    until: str | None = None  # the same; what happened then is not in it
    about: str | None = None  # an event's id: that event, and what follows from it
    lanes: tuple[LaneName, ...] = ("alarm", "telemetry")
    limit: int | None = None  # the newest so many; None: all
    follow: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and not 0 <= self.limit <= LIMIT_MAX:
            raise ValueError(f"limit is 0 to {LIMIT_MAX}")
        if self.follow and self.until is not None:
            raise ValueError("who follows has no end: leave out `until`")


class Sieve:
    """An `EventFilter`, compiled."""

    def __init__(self, wanted: EventFilter) -> None:
        self._types = _patterns(wanted.types)
        self._devices = _patterns(wanted.devices)
        self._since = wanted.since or ""
        self._until = wanted.until or LATER
        self._about = wanted.about
        self.lanes = frozenset(LANES[name] for name in wanted.lanes)

    def passes(self, raw: bytes) -> bool:
        """Return whether an event is wanted. What is no event is not."""
        try:
            seen = decode_seen(raw)
        except msgspec.DecodeError:
            return False
        if self._about is not None and self._about not in (seen.id, seen.cause):
            return False
        # RFC 3339 in UTC sorts as text
        return self.names((seen.type, seen.subject)) and self._since <= seen.time < self._until

    def names(self, key: Key) -> bool:
        """Return whether events of this (type, device) are wanted."""
        kind, device = key
        if self._types and not self._types(kind):
            return False
        return not self._devices or bool(self._devices(device) or self._devices(device.partition(":")[2]))

    @property
    def any_name(self) -> bool:
        """Return whether type and device do not matter."""
        return self._types is None and self._devices is None


class Past:
    """What a journal holds, for questions. May be asked on any thread; each answer reads by itself.

    Events that routes shall not have any more are here as long as their bytes are: they happened. Dead letters beyond
    their limit are not: they are counted as dropped, so nobody may send them after all. Times of events that happened
    while the clock was wrong are the true ones, where they are known (journal/timeline.py), but in `runs`.
    """

    def __init__(
        self,
        store: Store,
        durable: Callable[[], int],
        *,
        index: Callable[[], Index | None] = lambda: None,
        starts: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        """`index` may be behind or missing; `starts` is the journal's table of that name."""
        self.durable = durable
        self._store = store
        self._index = index
        self._starts = starts

    def events(self, wanted: EventFilter, last: int | None = None) -> Generator[bytes]:
        """Yield the wanted events up to sequence `last`, oldest first: all, or the newest `limit`. BLOCKING."""
        return (raw for _, raw in self.records(wanted, 0, last))

    def records(self, wanted: EventFilter, after: int = 0, last: int | None = None) -> Generator[tuple[int, bytes]]:
        """Yield (sequence, event) as `events` does, only what lies behind `after`."""
        sieve = Sieve(wanted)
        stretches = self.stretches(wanted, sieve, after, self.durable() if last is None else last)
        sweep = Sweep(self._store)
        try:
            if wanted.limit is None:
                for stretch in stretches:
                    yield from self._passing(sweep, sieve, *stretch)
            elif wanted.limit:
                yield from self._newest(sweep, sieve, stretches, wanted.limit)
        finally:
            sweep.close()

    def between(self, after: int, last: int, lanes: Collection[Lane]) -> Generator[tuple[int, bytes]]:
        """Yield (sequence, event) of some lanes behind `after` up to `last`. BLOCKING."""
        sweep = Sweep(self._store)
        try:
            for run in sweep.runs(after, last, lanes):
                raws = self._told(run)
                for place in range(run.begin, run.end):
                    if run.lanes[place] in lanes and not self._dropped(run, place):
                        yield run.sequence(place), raws[place]
        finally:
            sweep.close()

    def runs(self, after: int, last: int, lanes: Collection[Lane]) -> Generator[Run]:
        """Yield blocks that hold something of some lanes behind `after` up to `last`. BLOCKING."""
        sweep = Sweep(self._store)
        try:
            yield from sweep.runs(after, last, lanes)
        finally:
            sweep.close()

    def at(self, sequence: int) -> tuple[bytes, str] | None:
        """Return the record with a number, and when it was written; None when it is not there (any more). BLOCKING."""
        sweep = Sweep(self._store)
        try:
            for run in sweep.runs(sequence - 1, min(sequence, self.durable())):
                for place in range(run.begin, run.end):
                    if not self._dropped(run, place):
                        return self._told(run)[place], rfc3339(self._store.timeline.true_ns(sequence, run.wall_ns))
        finally:
            sweep.close()
        return None

    def moment(self, sequence: int, raw: bytes) -> dict[str, Any] | None:
        """Return when a record happened by the clock that never steps: ``{boot, boot_s, not_before?, not_after?}``.

        The bounds are for what was never known. None: its start is forgotten (the last STARTS_MAX are kept).
        """
        event = msgspec.json.decode(raw)
        found = self._store.timeline.moment(sequence, event)
        if found is not None:
            bounds = {"not_before": found.not_before_ns, "not_after": found.not_after_ns}
            said = {name: rfc3339(ns) for name, ns in bounds.items() if ns}
            return {"boot": found.boot, "boot_s": round(found.boot_ns / NS_PER_S, 3), **said}
        starts = [row for row in self._starts().values() if row["first"] <= sequence]
        start = max(starts, key=lambda row: int(row["first"]), default=None)
        try:
            passed_ns = (
                wall_ns_of(str(event.get("received") or event.get("time"))) - start["wall_ns"] if start else None
            )
        except ValueError:
            passed_ns = None
        if start is None or passed_ns is None:
            return None
        return {"boot": start["boot_id"], "boot_s": round((start["boot_ns"] + passed_ns) / NS_PER_S, 3)}

    def kept_since(self) -> str | None:
        """Return since when everything is kept; None when nothing was ever given up.

        Of what is older only survivors are here: what had not been delivered when its segment was given up.
        """
        whole = [entry for entry in self._store.view.segments if entry.wall_first and not entry.survivors]
        oldest = min(whole, key=lambda entry: entry.first, default=None)
        return None if oldest is None or oldest.first <= 1 else rfc3339(oldest.wall_first)

    def stretches(self, wanted: EventFilter, sieve: Sieve, after: int, last: int) -> Stretches:
        """Return where the wanted events may be."""
        index = self._index()
        known, through, beginning = [], 0, 0
        if index is not None and (found := index.stretches):
            through, beginning = found[-1].last, found[0].first
            doubtful = self._store.timeline.unsynced_in
            known = [(each.first, each.last) for each in index.may_have(self._question(wanted, sieve), doubtful)]
        unknown = chain(self._unknown(wanted, 0, beginning - 1), known, self._unknown(wanted, through, last))
        return [(max(first, after + 1), min(end, last)) for first, end in unknown if end > after and first <= last]

    def place(self, event_id: str) -> int | None:
        """Return the sequence that an event's id has, or a little more; None when the id does not say.

        An id counts what was appended since its start, as the sequence does, but for events that were too large.
        """
        _, _, rest = event_id.partition("-")
        epoch, _, counter = rest.partition("-")
        try:
            start = self._starts().get(f"{int(epoch, 16):08x}")
            return None if start is None else int(start["first"]) + int(counter, 16) - 1
        except ValueError:
            return None

    def _question(self, wanted: EventFilter, sieve: Sieve) -> Question:
        about = wanted.about
        near = None if about is None else self.place(about)
        derived = about is not None and about.count("-") == 1
        return Question(
            key=None if sieve.any_name else sieve.names,
            lanes=sum(1 << LANES[name] for name in wanted.lanes),
            since=wanted.since or "",
            until=wanted.until or LATER,
            mark=mark(about) if about is not None and (near is not None or derived) else None,
            near=near,
        )

    def _unknown(self, wanted: EventFilter, after: int, last: int) -> Iterator[tuple[int, int]]:
        """Yield stretches that no index knows, but for segments written before `since`."""
        for entry in self._store.view.segments:
            if entry.last <= after or entry.first > last:
                continue
            late = wanted.since and rfc3339(entry.wall_last + AHEAD_S * NS_PER_S) < wanted.since
            if late and not self._store.timeline.unsynced_in(entry.first, entry.last):
                continue
            for first in range(max(after + 1, entry.first), min(last, entry.last) + 1, STRETCH_RECORDS):
                yield first, min(first + STRETCH_RECORDS - 1, last, entry.last)

    def _newest(self, sweep: Sweep, sieve: Sieve, stretches: Stretches, limit: int) -> Iterator[tuple[int, bytes]]:
        found: deque[list[tuple[int, bytes]]] = deque()
        enough = 0
        for stretch in reversed(stretches):
            part = list(self._passing(sweep, sieve, *stretch))
            if part:
                found.appendleft(part[-(limit - enough) :])
                enough += len(found[0])
                if enough >= limit:
                    break
        yield from chain.from_iterable(found)

    def _passing(self, sweep: Sweep, sieve: Sieve, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        lanes, passes = sieve.lanes, sieve.passes
        for run in sweep.runs(first - 1, last, lanes):
            raws = self._told(run)
            for place in range(run.begin, run.end):
                if run.lanes[place] in lanes and passes(raws[place]) and not self._dropped(run, place):
                    yield run.sequence(place), raws[place]

    def _told(self, run: Run) -> Sequence[bytes]:
        """Return a run's records with their true times, as far as they are known."""
        if run.begin >= run.end:
            return run.raws
        told = self._store.timeline.telling(run.sequence(run.begin), run.sequence(run.end - 1))
        return run.raws if told is None else [told(raw, run.sequence(place)) for place, raw in enumerate(run.raws)]

    def _dropped(self, run: Run, place: int) -> bool:
        """Return whether a record is a dead letter that its lane's limit has taken."""
        if run.lanes[place] != Lane.DEAD_LETTER:
            return False
        return given_up(self._store.view.over.get(Lane.DEAD_LETTER, ()), run.sequence(place))


def _patterns(patterns: Sequence[str]) -> Callable[[str], object] | None:
    return re.compile("|".join(translate(pattern) for pattern in patterns)).match if patterns else None
