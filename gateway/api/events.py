"""Reading events for people: the recent past, and following what becomes durable.

A follower is a cursor over the journal, no queue: it reads what is on the disk at its own pace and costs
the event path nothing. One that falls more than `BEHIND_MAX` records behind is cut off and told how many.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from itertools import islice

import msgspec

from gateway.api.line import ApiError
from gateway.history.query import EventFilter, Past, Sieve

READ_RECORDS = 512  # in one go on the reading thread
BEHIND_MAX = 100_000  # records a follower may be behind
TICK_S = 0.1  # how often a follower looks; below what a person notices


async def follow(past: Past, wanted: EventFilter, tick_s: float = TICK_S) -> AsyncIterator[msgspec.Raw]:
    """Yield the past and, with `follow`, what becomes durable from then on. Raises ApiError when cut off."""
    after = past.durable()
    async for raw in _in_thread(past.events(wanted, after)):
        yield msgspec.Raw(raw)
    sieve = Sieve(msgspec.structs.replace(wanted, since=None))
    while wanted.follow:
        last = past.durable()
        if last - after > BEHIND_MAX:
            raise ApiError(f"{last - after} records behind, the limit is {BEHIND_MAX}")
        if last > after:
            async for raw in _in_thread(raw for _, raw in past.between(after, last, sieve.lanes)):
                if sieve.passes(raw):
                    yield msgspec.Raw(raw)
            after = last
        await asyncio.sleep(tick_s)


def answer(past: Past) -> Callable[..., AsyncIterator[msgspec.Raw]]:
    """Return what the API answers "events" with: a stream, filtered by keyword arguments as `EventFilter` has them."""

    def events(**wanted: object) -> AsyncIterator[msgspec.Raw]:
        try:
            return follow(past, msgspec.convert(wanted, EventFilter))
        except msgspec.ValidationError as error:
            raise ApiError(f"events: {error}") from None

    return events


async def _in_thread(items: Generator[bytes]) -> AsyncIterator[bytes]:
    """Read in a worker thread, a chunk at a time: the disk may be slow, and memory stays bounded."""
    try:
        while chunk := await asyncio.to_thread(list, islice(items, READ_RECORDS)):
            for item in chunk:
                yield item
    finally:
        with suppress(ValueError):  # it is being read this moment: then it closes its files when the thread is done
            items.close()
