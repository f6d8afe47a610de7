"""Reading events for people: a filter, the recent past, and following what becomes durable.

A follower is a cursor over the journal, no queue: it reads what is on the disk at its own pace and costs
the event path nothing. One that falls more than `BEHIND_MAX` records behind is cut off and told how many.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from fnmatch import translate
from itertools import islice
from typing import Protocol, get_args

import msgspec

from gateway.api.line import ApiError
from gateway.event import LANES, Lane, LaneName

READ_RECORDS = 512  # a read
READ_BYTES_MAX = 1024 * 1024
LIMIT_MAX = 100_000  # events of the recent past in one answer
BEHIND_MAX = 100_000  # records a follower may be behind
EVERY_LANE: tuple[LaneName, ...] = get_args(LaneName)
TICK_S = 0.1  # how often a follower looks; below what a person notices


class Stored(Protocol):
    """A record as the journal's readers give it."""

    @property
    def sequence(self) -> int:
        """Return the record's number."""
        ...

    @property
    def raw(self) -> bytes:
        """Return the event's bytes."""
        ...


class Reader(Protocol):
    """Reads one lane in order; may be called from a worker thread."""

    def read(self, after: int, limit: int, bytes_max: int) -> Sequence[Stored]:
        """Return durable records behind a sequence, at least one when there is any."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


Readers = Callable[[Lane], Reader]
"""Makes a reader of one lane: the running journal's, or that of a journal folder."""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events a person wants to see."""

    types: list[str] = []  # with * and ?; any of them
    devices: list[str] = []  # an id, its part behind the dialect, or a pattern with * and ?
    since: str | None = None  # RFC 3339 in UTC
    about: str | None = None  # an event's id: that event, and what follows from it
    lanes: tuple[LaneName, ...] = ("alarm", "telemetry")
    limit: int | None = None  # the newest so many; None: all since
    follow: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and not 0 <= self.limit <= LIMIT_MAX:
            raise ValueError(f"limit is 0 to {LIMIT_MAX}")


class Seen(msgspec.Struct, gc=False, tag_field="specversion", tag="1.0"):
    """The attributes a filter needs."""

    id: str
    type: str
    subject: str = ""
    time: str = ""
    cause: str | None = None


_decode_seen = msgspec.json.Decoder(Seen).decode


class Sieve:
    """An `EventFilter`, compiled."""

    def __init__(self, wanted: EventFilter) -> None:
        self._types = _patterns(wanted.types)
        self._devices = _patterns(wanted.devices)
        self._since = wanted.since or ""
        self._about = wanted.about

    def passes(self, raw: bytes) -> bool:
        """Return whether an event is wanted."""
        seen = _decode_seen(raw)
        if self._about is not None and self._about not in (seen.id, seen.cause):
            return False
        if self._types and not self._types(seen.type):
            return False
        if self._devices and not (self._devices(seen.subject) or self._devices(seen.subject.partition(":")[2])):
            return False
        return seen.time >= self._since  # RFC 3339 in UTC sorts as text


def before(raw: bytes, since: str) -> bool:
    """Return whether an event is older than a time."""
    return _decode_seen(raw).time < since


def recent(lanes: Sequence[Reader], last: int, wanted: EventFilter) -> Iterator[bytes]:
    """Yield the wanted events up to sequence `last`, oldest first: the newest `limit`, or all since a time."""
    sieve = Sieve(wanted)
    if wanted.limit == 0:
        return
    after = _start(lanes, last, wanted, sieve)
    passing = (raw for _, raw in between(lanes, after, last) if sieve.passes(raw))
    yield from passing if wanted.limit is None else deque(passing, maxlen=wanted.limit)


def between(lanes: Sequence[Reader], after: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Yield (sequence, bytes) of several lanes merged, behind `after` up to `last`."""
    while after < last:
        parts = [part for part in (lane.read(after, READ_RECORDS, READ_BYTES_MAX) for lane in lanes) if part]
        if not parts:
            return
        complete = min(part[-1].sequence for part in parts)  # up to here every lane has been read
        found = sorted((r.sequence, r.raw) for part in parts for r in part if r.sequence <= min(complete, last))
        yield from found
        after = complete


def _start(lanes: Sequence[Reader], last: int, wanted: EventFilter, sieve: Sieve) -> int:
    """Find a sequence to begin at, looking back in doubling steps: enough events, or one older than `since`."""
    if wanted.limit is None and wanted.since is None:
        return 0
    step, end, enough = max(READ_RECORDS, wanted.limit or 0), last, 0
    while end > 0:
        start = max(0, end - step)
        first = True
        for _, raw in between(lanes, start, end):
            if first and wanted.since is not None and before(raw, wanted.since):
                return start
            first = False
            enough += sieve.passes(raw)
        if wanted.limit is not None and enough >= wanted.limit:
            return start
        end, step = start, step * 2
    return 0


async def follow(
    readers: Readers, durable: Callable[[], int], wanted: EventFilter, tick_s: float = TICK_S
) -> AsyncIterator[msgspec.Raw]:
    """Yield the recent past and, with `follow`, what becomes durable from then on. Raises ApiError when cut off."""
    lanes = [readers(LANES[name]) for name in wanted.lanes]
    try:
        after = durable()
        async for raw in _in_thread(recent(lanes, after, wanted)):
            yield msgspec.Raw(raw)
        sieve = Sieve(msgspec.structs.replace(wanted, since=None))
        while wanted.follow:
            last = durable()
            if last - after > BEHIND_MAX:
                raise ApiError(f"{last - after} records behind, the limit is {BEHIND_MAX}")
            if last > after:
                async for raw in _in_thread(raw for _, raw in between(lanes, after, last)):
                    if sieve.passes(raw):
                        yield msgspec.Raw(raw)
                after = last
            await asyncio.sleep(tick_s)
    finally:
        for lane in lanes:
            lane.close()


def answer(readers: Readers, durable: Callable[[], int]) -> Callable[..., AsyncIterator[msgspec.Raw]]:
    """Return what the API answers "events" with: a stream, filtered by keyword arguments as `EventFilter` has them."""

    def events(**wanted: object) -> AsyncIterator[msgspec.Raw]:
        try:
            return follow(readers, durable, msgspec.convert(wanted, EventFilter))
        except msgspec.ValidationError as error:
            raise ApiError(f"events: {error}") from None

    return events


async def _in_thread(items: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read in a worker thread, a chunk at a time: the disk may be slow, and memory stays bounded."""
    while chunk := await asyncio.to_thread(list, islice(items, READ_RECORDS)):
        for item in chunk:
            yield item


def _patterns(patterns: Sequence[str]) -> Callable[[str], object] | None:
    return re.compile("|".join(translate(pattern) for pattern in patterns)).match if patterns else None
