"""Replays: a time range or query of what the journal still holds goes out again by a route, behind its live events.

Each replay is a row of the durable table "replays", with its own cursor; the route's cursor is never touched::

    number -> {"route", "wanted": {types, devices, since, until, lanes}, "unselected", "per_s", "actor", "started",
               "through": the greatest sequence at its start, "after": how far it is,
               "total": what it found to send, "sent", "refused", "passed_over", "kept_since", "state", "ended", "why"}

The row is put with each sending and commits with what comes along, at the latest every EXPOSED_MAX events: so many
may leave twice, under the same ids, when the gateway is killed. A start goes on with every replay that was under way.

A replay holds nothing back in the journal: its cursor is not among those that eviction asks. What made room while it
ran is counted (`gone`: what was found at its start and is neither sent nor refused at its end).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby, islice
from typing import Any, Final, Literal, Protocol

import msgspec

from gateway.clock import Clock, rfc3339
from gateway.codes.targets import REPLAY_FAILED
from gateway.errors import DiskRefused, GatewayError, probably_meant
from gateway.event import LANES, Event, Lane, decode_head, derived_id
from gateway.forward.dead_letter import Refusal, letter_of
from gateway.history.index import decode_seen
from gateway.history.query import EventFilter, Past
from gateway.logs.about import about
from gateway.replay.sender import Judged, Sender, Way, outgoing
from gateway.targets.target import Outgoing

log = logging.getLogger(__name__)

TABLE: Final = "replays"
RUNNING_MAX: Final = 4
ROWS_MAX: Final = 32  # that are over are remembered
EXPOSED_MAX: Final = 500  # events sent and not yet over on the disk
COUNT_RECORDS: Final = 2000  # counted in one go on the reading thread
COUNT_REST_S: Final = 0.002  # and then it rests
STOP_S_MAX: Final = 5.0  # for what is under way when a replay is stopped
DISK_S: Final = 5.0  # between two tries to read from a disk that is gone
PER_S: Final = 500.0
UNDER_WAY = ("counting", "sending")
LaneWord = Literal["alarm", "telemetry"]
State = Literal["counting", "sending", "done", "stopped", "failed"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to send again."""

    types: list[str] = []
    devices: list[str] = []
    since: str | None = None
    until: str | None = None
    lanes: tuple[LaneWord, ...] = ()  # none given: those of the route

    def filter(self) -> EventFilter:
        """Return it as a question about the past."""
        return EventFilter(types=self.types, devices=self.devices, since=self.since, until=self.until, lanes=self.lanes)


class Row(msgspec.Struct, kw_only=True):
    """A replay as it is kept and shown."""

    number: int
    route: str
    wanted: Wanted
    unselected: bool = False  # also what the route does not carry by itself
    per_s: float = PER_S
    actor: str = ""
    started: str = ""
    ended: str | None = None
    state: State = "counting"
    why: str = ""  # it failed
    through: int = 0
    after: int = 0
    total: int | None = None  # events found to send; None while they are counted
    sent: int = 0
    refused: int = 0  # each a dead letter
    passed_over: int = 0  # the route does not carry them
    gone: int = 0  # found at the start, and made room for newer ones before they were sent
    kept_since: str | None = None  # of what happened before then only the undelivered was still there at the start


class Found(msgspec.Struct, kw_only=True):
    """What a replay would send."""

    events: int = 0
    bytes: int = 0
    passed_over: int = 0
    first: str | None = None  # times
    last: str | None = None
    kept_since: str | None = None
    over: bool = False  # all is counted


class Log(Protocol):
    """What is needed of the journal."""

    log_id: str

    def append_all(self, events: Sequence[Event]) -> list[bytes]:
        """Append events to one batch."""
        ...

    def table(self, table: str) -> Mapping[str, Any]:
        """Return a durable table."""
        ...

    def put(self, table: str, key: str, value: Any) -> None:
        """Set a row of a durable table."""
        ...


class Replays:
    """All replays of a running gateway. Lives on the event loop's thread."""

    def __init__(
        self,
        log: Log,
        past: Past,
        ways: Mapping[str, Way],
        clock: Clock,
        *,
        wake: Callable[[], None],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        """`wake` says that something was put, `flush` returns when it is on the disk."""
        self._log = log
        self._past = past
        self._ways = ways
        self._clock = clock
        self._wake = wake
        self._flush = flush
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._senders: dict[int, Sender] = {}
        self._stopping: set[int] = set()

    async def run(self) -> None:
        """Go on with what was under way, until cancelled."""
        for row in self._rows():
            if row.state in UNDER_WAY:
                self._launch(row)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for task in list(self._tasks.values()):
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # ---- what people ask -----------------------------------------------------------------------------

    async def start(
        self, actor: str, route: str, unselected: bool = False, per_s: float = PER_S, **wanted: Any
    ) -> dict[str, Any]:
        """Begin a replay; returns its row once it is on the disk."""
        asked = self._asked(route, wanted, unselected=unselected)
        if not per_s > 0:
            raise GatewayError("per_s is more than 0")
        if len(self._tasks) >= RUNNING_MAX:
            raise GatewayError(f"{RUNNING_MAX} replays are under way, which is the limit: edge-gateway replay list")
        rows = self._rows()
        row = Row(
            number=max((row.number for row in rows), default=0) + 1,
            route=route,
            wanted=asked,
            unselected=unselected,
            per_s=per_s,
            actor=actor,
            started=rfc3339(self._clock.wall_ns()),
            through=self._past.durable(),
        )
        over = [old.number for old in rows if old.state not in UNDER_WAY]
        for number in over[: max(0, len(over) - ROWS_MAX + 1)]:
            self._log.put(TABLE, str(number), None)
        self._put(row)
        self._launch(row)
        await self._flush()
        return self._shown(row)

    def found(self, route: str, unselected: bool = False, **wanted: Any) -> AsyncIterator[Found]:
        """Say what a replay would send, more and more of it; the last is `over`. Nothing is sent."""
        asked = self._asked(route, wanted, unselected=unselected)
        return self._count(route, asked, self._past.durable(), unselected=unselected)

    def listed(self) -> list[dict[str, Any]]:
        """Return every replay that is remembered, oldest first."""
        return [self._shown(row) for row in self._rows()]

    async def stop(self, number: int) -> dict[str, Any]:
        """End a replay; what is under way of it is waited for."""
        row = next((row for row in self._rows() if row.number == number), None)
        if row is None:
            raise GatewayError(f"there is no replay {number}: edge-gateway replay list")
        task = self._tasks.get(number)
        if task is None:
            raise GatewayError(f"replay {number} is {row.state} already")
        self._stopping.add(number)
        sender = self._senders.get(number)
        await asyncio.wait([task], timeout=0 if sender is not None and sender.waiting else STOP_S_MAX)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        row = next(row for row in self._rows() if row.number == number)
        if row.state in UNDER_WAY:
            self._end(row, "stopped")
        await self._flush()
        return self._shown(row)

    def _asked(self, route: str, wanted: Mapping[str, Any], *, unselected: bool) -> Wanted:
        """Check what somebody asks for. Raises GatewayError."""
        way = self._ways.get(route)
        if way is None:
            near = probably_meant(route, self._ways)
            raise GatewayError(f"there is no route {route!r}" + (f" ({near})" if near else ""))
        try:
            asked = msgspec.convert(dict(wanted), Wanted)
        except msgspec.ValidationError as error:
            raise GatewayError(f"replay: {error}") from None
        carried: tuple[LaneWord, ...] = ("alarm", "telemetry") if unselected else way.live.route.lanes
        for lane in asked.lanes:
            if lane not in carried:
                raise GatewayError(f"route {route} carries no {lane} lane; with --unselected it is sent all the same")
        return msgspec.structs.replace(asked, lanes=asked.lanes or carried)

    # ---- rows ----------------------------------------------------------------------------------------

    def _rows(self) -> list[Row]:
        rows = [msgspec.convert({"number": int(key), **row}, Row) for key, row in self._log.table(TABLE).items()]
        return sorted(rows, key=lambda row: row.number)

    def _put(self, row: Row) -> None:
        kept = msgspec.to_builtins(row)
        del kept["number"]
        self._log.put(TABLE, str(row.number), kept)
        self._wake()

    def _shown(self, row: Row) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(row)
        sender = self._senders.get(row.number)
        waits = sender is not None and sender.waiting and row.state in UNDER_WAY
        return {**shown, "waits": waits, "last_error": sender.last_error if sender else ""}

    def _end(self, row: Row, state: State, why: str = "") -> None:
        row.state, row.why, row.ended = state, why, rfc3339(self._clock.wall_ns())
        if state == "done" and row.total is not None:
            row.gone = max(0, row.total - row.sent - row.refused)
        self._put(row)
        log.info("replay %d by route %s: %s, %d sent, %d refused", row.number, row.route, state, row.sent, row.refused)

    # ---- one replay ----------------------------------------------------------------------------------

    def _launch(self, row: Row) -> None:
        task = asyncio.create_task(self._replay(row), name=f"gateway.replay[{row.number}]")
        self._tasks[row.number] = task
        task.add_done_callback(lambda _: self._over(row.number))

    def _over(self, number: int) -> None:
        self._tasks.pop(number, None)
        self._senders.pop(number, None)
        self._stopping.discard(number)

    async def _replay(self, row: Row) -> None:
        """Count, then send; a fault ends this replay and is said in its row."""
        try:
            way = self._ways.get(row.route)
            if way is None:
                self._end(row, "failed", f"there is no route {row.route!r} any more")
                return
            while row.number not in self._stopping and row.state in UNDER_WAY:
                try:
                    await (self._count_all(row) if row.total is None else self._send_all(row, way))
                except DiskRefused as error:
                    log.warning(
                        "replay %d waits for the disk: %s",
                        row.number,
                        error,
                        extra=about(REPLAY_FAILED, route=row.route),
                    )
                    await asyncio.sleep(DISK_S)
        except Exception as error:  # whatever it is, the live events of the route must not end with it
            log.exception("replay %d", row.number, extra=about(REPLAY_FAILED, route=row.route))
            self._end(row, "failed", f"a fault of the gateway: {type(error).__name__}: {error}")

    async def _count_all(self, row: Row) -> None:
        found = Found()
        async for found_so_far in self._count(row.route, row.wanted, row.through, unselected=row.unselected):
            if row.number in self._stopping:
                return
            found = found_so_far
        row.total, row.passed_over, row.kept_since = found.events, found.passed_over, found.kept_since
        row.state = "sending"
        self._put(row)

    async def _send_all(self, row: Row, way: Way) -> None:
        sender = self._senders[row.number] = Sender(way, row.per_s)
        records = self._outgoing(row, way)
        exposed = 0
        try:
            while batch := await asyncio.to_thread(_some, records, sender.batch_max):
                for _, lane in groupby(batch, key=lambda event: event.lane):
                    part = [*lane]
                    if row.number in self._stopping:
                        return
                    self._take(row, way, part, await sender.send(part))
                exposed += len(batch)
                if exposed >= EXPOSED_MAX:
                    await self._flush()
                    exposed = 0
            self._end(row, "done")
        finally:
            with suppress(ValueError):  # it is being read this moment, and closes its files when that is over
                records.close()

    def _take(self, row: Row, way: Way, batch: Sequence[Outgoing], judged: Sequence[Judged]) -> None:
        """Put what became of a sending: the dead letters and the row, in one block."""
        letters = []
        for event, each in zip(batch, judged, strict=True):
            if each.refused is not None:
                refusal = Refusal(event.raw, event.sequence, each.refused, each.attempts)
                name, number = way.live.name, row.number
                letter = letter_of(refusal, name, way.live.route.to, self._log.log_id, self._clock)
                # by its route it may have been refused before: that is another letter
                own = derived_id(self._log.log_id, f"replay:{number}", event.id, event.sequence)
                letters.append(msgspec.structs.replace(letter, id=own))
        if letters:
            self._log.append_all(letters)
        row.after = batch[-1].sequence
        row.refused += len(letters)
        row.sent += len(batch) - len(letters)
        self._put(row)

    def _outgoing(self, row: Row, way: Way) -> Generator[Outgoing]:
        """Yield what is to be sent behind the row's cursor. BLOCKING."""
        topic, takes = way.live.route.topic, _takes(way, unselected=row.unselected)
        for sequence, raw in self._past.records(row.wanted.filter(), row.after, row.through):
            head = decode_head(raw)
            if takes(head.type, head.subject, head.held):
                yield outgoing(sequence, raw, _lane(raw), topic, head)

    async def _count(self, route: str, wanted: Wanted, through: int, *, unselected: bool) -> AsyncIterator[Found]:
        kept = self._past.kept_since()
        found = Found(kept_since=kept if kept and wanted.since and kept > wanted.since else None)
        takes = _takes(self._ways[route], unselected=unselected)
        records = self._past.records(wanted.filter(), 0, through)
        try:
            while await asyncio.to_thread(_count_some, records, takes, found):
                yield found
                await asyncio.sleep(COUNT_REST_S)
        finally:
            with suppress(ValueError):
                records.close()
        found.over = True
        yield found


def _takes(way: Way, *, unselected: bool) -> Callable[[str, str, bool], bool]:
    selection = way.live.selection
    if unselected or selection.takes_all:
        return lambda _kind, _device, held: not held
    return lambda kind, device, held: not held and selection.takes(kind, device)


def _count_some(records: Iterator[tuple[int, bytes]], takes: Callable[[str, str, bool], bool], found: Found) -> bool:
    """Count on for a while; False at the end."""
    some = list(islice(records, COUNT_RECORDS))
    for _, raw in some:
        head = decode_head(raw)
        if not takes(head.type, head.subject, head.held):
            found.passed_over += 1
            continue
        found.events += 1
        found.bytes += len(raw)
        time = decode_seen(raw).time
        found.first = min(found.first or time, time)
        found.last = max(found.last or time, time)
    return bool(some)


def _some(records: Generator[Outgoing], count: int) -> list[Outgoing]:
    return list(islice(records, count))


class _Laned(msgspec.Struct, gc=False, tag_field="specversion", tag="1.0"):
    lane: str = "telemetry"


_decode_lane = msgspec.json.Decoder(_Laned).decode


def _lane(raw: bytes) -> Lane:
    return LANES[_decode_lane(raw).lane]
