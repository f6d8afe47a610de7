"""What a person may do with a dead letter: try again, or mark as seen.

The letter itself stays where it is in the log. What became of it is a row of the durable table
"dead_letters": ``id -> {"state": "retried" | "dropped", "actor": ..., "time": ..., "sequence": the letter's}``; it goes
when the letter has.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from gateway.api.line import ApiError
from gateway.clock import Clock, rfc3339
from gateway.errors import DiskRefused
from gateway.event import Event, Lane, decode
from gateway.sources.source import Delivery

TABLE = "dead_letters"
FIRST_BYTES_MAX = 4096
READ_RECORDS, READ_BYTES_MAX = 512, 1024 * 1024  # a read
State = Literal["retried", "dropped"]


class Stored(Protocol):
    """A record of the journal."""

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


class Log(Protocol):
    """What is needed of the journal."""

    @property
    def durable_sequence(self) -> int:
        """Return the greatest sequence on the disk."""
        ...

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
    """Return how many dead letters are kept that nobody has retried or dropped."""
    kept = log.count(Lane.DEAD_LETTER, 0)
    first = _first(log) if kept else 0
    return kept - sum(row.get("sequence", 0) >= first for row in log.table(TABLE).values()) if kept else 0


def _first(log: Log) -> int:
    """Return the sequence of the oldest dead letter that is kept, 0 without any."""
    reader = log.reader(Lane.DEAD_LETTER)
    try:
        return next((record.sequence for record in reader.read(0, 1, FIRST_BYTES_MAX)), 0)
    except DiskRefused:
        return 0
    finally:
        reader.close()


class DeadLetters:
    """Retry and drop, for the local API."""

    def __init__(
        self,
        log: Log,
        clock: Clock,
        *,
        sources: Collection[str],
        flush: Callable[[], Awaitable[None]],
        inbox: Callable[[Sequence[Delivery]], None],
        append: Callable[[Event], None],
    ) -> None:
        """Wire it up: `inbox` takes a message as from one of `sources`, `append` queues an event for its routes."""
        self._log = log
        self._clock = clock
        self._sources = sources
        self._flush = flush
        self._inbox = inbox
        self._append = append

    async def retry(self, id: str, actor: str) -> dict[str, str]:  # noqa: A002  the API's word
        """Decode a message once more, or send an event by its routes again under its id."""
        letter = await self._find(id)
        if letter.type == "message_rejected":
            self._inbox([self._message(letter)])
        elif letter.type == "event_refused":
            self._append(_event(letter))
        else:
            raise ApiError(f"{letter.type} cannot be retried: mend the cause, later events will do")
        return await self._settle(letter, "retried", actor)

    async def drop(self, id: str, actor: str) -> dict[str, str]:  # noqa: A002  the API's word
        """Mark as seen."""
        return await self._settle(await self._find(id), "dropped", actor)

    async def _settle(self, letter: Event, state: State, actor: str) -> dict[str, str]:
        row = {"state": state, "actor": actor, "time": rfc3339(self._clock.wall_ns())}
        first = _first(self._log)
        for id_, old in list(self._log.table(TABLE).items()):
            if old.get("sequence", 0) < first:
                self._log.put(TABLE, id_, None)  # the letter has made room for newer records
        self._log.put(TABLE, letter.id, {**row, "sequence": int(letter.sequence)})
        await self._flush()
        return {"id": letter.id, **row}

    async def _find(self, wanted: str) -> Event:
        row = self._log.get(TABLE, wanted)
        if row is not None:
            raise ApiError(f"dead letter {wanted} was {row['state']} before, by {row['actor']}")
        reader = self._log.reader(Lane.DEAD_LETTER)
        try:
            found = await asyncio.to_thread(_search, reader, self._log.durable_sequence, wanted)
        finally:
            reader.close()
        if found is None:
            raise ApiError(f"no dead letter {wanted!r}")
        return found

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
            received_ns=self._clock.wall_ns(),
            origin=_Nobody(),
        )


class _Nobody:
    """Nobody waits for an acknowledgement: the sender had it when the dead letter was on the disk."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


def _search(reader: Reader, last: int, wanted: str) -> Event | None:
    marker = wanted.encode()
    after = 0
    while after < last and (records := reader.read(after, READ_RECORDS, READ_BYTES_MAX)):
        for record in records:
            if marker in record.raw and (event := decode(record.raw)).id == wanted:
                return event
        after = records[-1].sequence
    return None


def _event(letter: Event) -> Event:
    try:
        return msgspec.convert(letter.data["event"], Event)
    except (KeyError, msgspec.ValidationError):
        raise ApiError("the event was too large to be kept: only its length, hash and head are here") from None
