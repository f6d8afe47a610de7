"""What a person may do with a dead letter: try again, or drop it.

The letter itself stays where it is in the log. What became of it is a row of the durable table "dead_letters"::

    id -> {"state": ..., "actor", "time", "sequence": the letter's, "attempts", "route"?, "reason"?}

    waiting     to be sent by `route`; goes on after a restart
    delivered   by `route`
    decoded     a message, by a profile that reads it now: its events are in the block of this row
    refused     again: the letter is as open as before, with the new reason
    dropped     by a person

An event goes out by one route only, under its old id and marked `replayed`, behind what is live there; rules do not
see it again. A message is decoded beside the last values of its device, which are newer, and its events have the time
it came at. What became of either is said when it is on the disk. A row goes when its letter has.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from gateway.api.line import ApiError
from gateway.clock import Clock, rfc3339, wall_ns_of
from gateway.codes.service import GATEWAY_FAULT
from gateway.errors import DiskRefused, GatewayError, JournalError, probably_meant
from gateway.event import ROUTED, Event, Lane, decode
from gateway.history.query import EventFilter, Past
from gateway.logs.about import about
from gateway.profiles.context import Decoded
from gateway.replay.sender import Sender, Way, outgoing_of
from gateway.sources.source import Delivery
from gateway.targets.target import Outgoing

log = logging.getLogger(__name__)

TABLE: Final = "dead_letters"
OVER: Final = ("delivered", "decoded", "dropped", "retried")  # what is not listed any more; the last is of before 0.2
IDS_MAX: Final = 500  # letters in one request
FIRST_BYTES_MAX: Final = 4096
WAIT_S_MAX: Final = 20.0  # that an answer may take
PER_S: Final = 200.0  # events sent again, a route
Row = dict[str, Any]


class Stored(Protocol):
    """A record of the journal."""

    @property
    def sequence(self) -> int:
        """Return the record's number."""
        ...


class Reader(Protocol):
    """Reads one lane in order."""

    def read(self, after: int, limit: int, bytes_max: int) -> Sequence[Stored]:
        """Return durable records behind a sequence, at least one when there is any."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class Log(Protocol):
    """What is needed of the journal."""

    def reader(self, lane: Lane) -> Reader:
        """Return a reader of one lane."""
        ...

    def table(self, table: str) -> Mapping[str, Any]:
        """Return a durable table."""
        ...

    def count(self, lane: Lane, after: int) -> int:
        """Return how many records of a lane are kept behind a sequence."""
        ...

    def get(self, table: str, key: str) -> Any:
        """Return a row of a durable table."""
        ...

    def put(self, table: str, key: str, value: Any) -> None:
        """Set a row of a durable table."""
        ...


def open_letters(log: Log) -> int:
    """Return how many dead letters are kept that are not settled."""
    try:
        kept = log.count(Lane.DEAD_LETTER, 0)
        first = first_letter(log) if kept else 0
    except DiskRefused:  # it cannot be read: that is what is said then
        return 0
    rows = log.table(TABLE).values() if kept else ()
    return kept - sum(1 for row in rows if row["state"] in OVER and row.get("sequence", 0) >= first)


def first_letter(log: Log) -> int:
    """Return the sequence of the oldest dead letter that is kept, 0 without any. Raises DiskRefused."""
    reader = log.reader(Lane.DEAD_LETTER)
    try:
        return next((record.sequence for record in reader.read(0, 1, FIRST_BYTES_MAX)), 0)
    finally:
        reader.close()


class DeadLetters:
    """Retry and drop, for the local API. Lives on the event loop's thread."""

    def __init__(
        self,
        log: Log,
        past: Past,
        clock: Clock,
        ways: Mapping[str, Way],
        *,
        sources: Collection[str],
        flush: Callable[[], Awaitable[None]],
        decode: Callable[[Delivery], Decoded],
        append: Callable[[Sequence[Event]], None],
    ) -> None:
        """`decode` takes a message as from one of `sources`, `append` takes events that belong together."""
        self._log = log
        self._past = past
        self._clock = clock
        self._ways = ways
        self._sources = sources
        self._flush = flush
        self._decode = decode
        self._append = append
        self._queues: dict[str, deque[tuple[str, Outgoing]]] = {name: deque() for name in ways}
        self._more = {name: asyncio.Event() for name in ways}
        self._settled = asyncio.Condition()

    async def run(self) -> None:
        """Send what is to be sent again, what was under way at the last stop first; until cancelled."""
        waiting = {id_ for id_, row in self._log.table(TABLE).items() if row["state"] == "waiting"}
        for letter in (await self._find(waiting)).values() if waiting else ():
            try:
                await self._enqueue(letter, self._log.get(TABLE, letter.id)["route"])
            except GatewayError as error:
                self._put(letter, "refused", "gateway", reason=str(error))
        async with asyncio.TaskGroup() as tasks:
            for name, way in self._ways.items():
                tasks.create_task(self._deliver(name, way), name=f"gateway.retry[{name}]")
            await asyncio.get_running_loop().create_future()

    # ---- what people ask -----------------------------------------------------------------------------

    async def retry(self, ids: Sequence[str], actor: str, route: str | None = None, wait_s: float = 10.0) -> list[Row]:
        """Decode messages once more, send events again; returns each one's row when it is settled, or after a while.

        `route` is where events go, in place of the one that was refused. What is not tried says so in its row:
        {"id", "tried": False, "state": as it was, "reason"}.
        """
        self._check(route)
        found = await self._wanted(ids)
        told: dict[str, Row] = {}
        for id_ in dict.fromkeys(ids):
            letter = found.get(id_)
            try:
                if letter is None:
                    raise ApiError(f"no dead letter {id_!r}")
                self._check_open(id_)  # it may have been settled while it was looked for
                await self._try(letter, route, actor)
            except GatewayError as error:
                told[id_] = {"state": self._state(id_), "tried": False, "reason": str(error)}
        await self._flush()
        waiting = [id_ for id_ in ids if id_ not in told]
        async with self._settled:
            try:
                async with asyncio.timeout(min(wait_s, WAIT_S_MAX)):
                    await self._settled.wait_for(lambda: all(self._state(id_) != "waiting" for id_ in waiting))
            except TimeoutError:
                pass  # it goes on; its row says "waiting"
        return [{"id": id_, **(told.get(id_) or self._log.get(TABLE, id_))} for id_ in dict.fromkeys(ids)]

    async def drop(self, ids: Sequence[str], actor: str) -> list[Row]:
        """Mark as seen: not listed any more, nor sent."""
        found = await self._wanted(ids)
        for id_ in found:
            self._check_open(id_, also="waiting")
        for id_ in ids:
            if id_ not in found:
                raise ApiError(f"no dead letter {id_!r}")
        for letter in found.values():
            self._put(letter, "dropped", actor)
        await self._flush()
        return [{"id": id_, **self._log.get(TABLE, id_)} for id_ in found]

    async def _wanted(self, ids: Sequence[str]) -> dict[str, Event]:
        if not 0 < len(ids) <= IDS_MAX:
            raise ApiError(f"1 to {IDS_MAX} dead letters at a time, not {len(ids)}")
        return await self._find(set(ids))

    def _check(self, route: str | None) -> None:
        if route is not None and route not in self._ways:
            near = probably_meant(route, self._ways)
            raise ApiError(f"there is no route {route!r}" + (f" ({near})" if near else ""))

    def _check_open(self, id_: str, also: str = "") -> None:
        row = self._log.get(TABLE, id_)
        if row is not None and row["state"] not in ("refused", also):
            words = "is under way already" if row["state"] == "waiting" else f"was {row['state']} before"
            raise ApiError(f"dead letter {id_} {words}, by {row['actor']}")

    def _state(self, id_: str) -> str:
        row = self._log.get(TABLE, id_)
        return "open" if row is None else str(row["state"])

    async def _find(self, wanted: set[str]) -> dict[str, Event]:
        """Find letters by their ids, in one reading of their lane; rows of letters that are gone go."""
        found = await asyncio.to_thread(_search, self._past, wanted)
        kept = await asyncio.to_thread(first_letter, self._log)
        for id_ in [id_ for id_, row in self._log.table(TABLE).items() if row.get("sequence", 0) < kept]:
            self._log.put(TABLE, id_, None)
        return found

    # ---- trying again --------------------------------------------------------------------------------

    async def _try(self, letter: Event, route: str | None, actor: str) -> None:
        """Decode at once, or put in the queue of a route. GatewayError when it can be neither."""
        if letter.type == "message_rejected":
            self._decode_again(letter, actor)
        elif letter.type == "event_refused":
            route = route or str(letter.data.get("route", ""))
            await self._enqueue(letter, route, actor)
        else:
            raise ApiError(f"{letter.type} cannot be retried: mend the rule, later events will do")

    def _decode_again(self, letter: Event, actor: str) -> None:
        message = self._message(letter)
        try:
            decoded = self._decode(message)
        except Exception as error:  # as on its first way in: a bug in decoding costs one message
            log.exception(
                "dead letter %s: a fault of the gateway", letter.id, extra=about(GATEWAY_FAULT, event_id=letter.id)
            )
            decoded = Decoded(rejected=f"a fault of the gateway: {type(error).__name__}: {error}")
        reason = decoded.rejected
        if decoded.unclaimed:
            reason = f"no profile reads {message.topic!r}"
        if reason is None and decoded.events:
            try:
                self._append(decoded.events)  # and the row right behind them, in the same block
            except JournalError as error:
                reason = str(error)
        if reason is None:
            self._put(letter, "decoded", actor, events=len(decoded.events))
        else:
            self._put(letter, "refused", actor, reason=reason)

    def _message(self, letter: Event) -> Delivery:
        payload = letter.data.get("payload_b64")
        if payload is None:
            raise ApiError("the payload was too large to be kept: only its length, hash and head are here")
        source = letter.source.rpartition("/")[2]
        if source not in self._sources:
            raise ApiError(f"it came from source {source!r}, which is not configured any more")
        return Delivery(
            source=source,
            topic=letter.data.get("topic", ""),
            payload=base64.b64decode(payload),
            received_ns=wall_ns_of(letter.time) if letter.time else self._clock.wall_ns(),
            origin=_Nobody(),
        )

    async def _enqueue(self, letter: Event, route: str, actor: str | None = None) -> None:
        """Queue an event for a route; with an `actor` its row says so from now on."""
        way = self._ways.get(route)
        if way is None:
            raise ApiError(f"it was for route {route!r}, which is not configured any more: name another with --route")
        event: dict[str, Any] = letter.data.get("event") or {}
        if not event:
            event = await asyncio.to_thread(_original, self._past, letter.cause)
            if actor is not None:
                self._check_open(letter.id)
        try:
            ready = outgoing_of(event, way.live.route.topic)
        except (msgspec.DecodeError, KeyError, ValueError) as error:
            raise ApiError(f"it holds no event that could be sent: {error}") from None
        if actor is not None:
            self._put(letter, "waiting", actor, route=route)
        self._queues[route].append((letter.id, ready))
        self._more[route].set()

    async def _deliver(self, name: str, way: Way) -> None:
        """Send what is queued for one route, and put what became of it."""
        queue, more, sender = self._queues[name], self._more[name], Sender(way, PER_S)
        while True:
            await more.wait()
            more.clear()
            while queue:
                lane = queue[0][1].lane
                batch: list[tuple[str, Outgoing]] = []
                while queue and len(batch) < sender.batch_max and queue[0][1].lane == lane:
                    id_, event = queue.popleft()
                    if self._state(id_) == "waiting":  # nobody has dropped it
                        batch.append((id_, event))
                if not batch:
                    continue
                judged = await sender.send([event for _, event in batch])
                for (id_, _), each in zip(batch, judged, strict=True):
                    row = self._log.get(TABLE, id_)
                    state = "delivered" if each.refused is None else "refused"
                    reason = {} if each.refused is None else {"reason": each.refused}
                    if row is not None:
                        attempts = row.get("attempts", 1) + each.attempts - 1
                        self._log.put(TABLE, id_, {**row, "state": state, "attempts": attempts, **reason})
                await self._flush()
                async with self._settled:
                    self._settled.notify_all()

    def _put(self, letter: Event, state: str, actor: str, **more: Any) -> None:
        """Put what became of a letter."""
        before: Row = self._log.get(TABLE, letter.id) or {}
        attempts = before.get("attempts", letter.data.get("attempts", 1)) + (state != "dropped")
        row = {"state": state, "actor": actor, "time": rfc3339(self._clock.wall_ns()), "sequence": int(letter.sequence)}
        self._log.put(TABLE, letter.id, {**row, "attempts": attempts, **more})


class _Nobody:
    """Nobody waits for an acknowledgement: the sender had it when the dead letter was on the disk."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


def _search(past: Past, wanted: set[str]) -> dict[str, Event]:
    """Find dead letters. BLOCKING."""
    found: dict[str, Event] = {}
    for _, raw in past.between(0, past.durable(), (Lane.DEAD_LETTER,)):
        event = decode(raw)
        if event.id in wanted:
            found[event.id] = event
            if len(found) == len(wanted):
                break
    return found


def _original(past: Past, event_id: str | None) -> dict[str, Any]:
    """Find an event that its dead letter could not hold, where it came in. BLOCKING."""
    lanes: Iterable[Any] = [lane.name.lower() for lane in ROUTED]
    if event_id:
        for raw in past.events(EventFilter(about=event_id, lanes=tuple(lanes))):
            event: dict[str, Any] = msgspec.json.decode(raw)
            if event["id"] == event_id:
                return event
    raise ApiError("the event was too large to be kept, and is not in the journal any more")
