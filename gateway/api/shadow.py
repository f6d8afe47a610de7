"""What `rules shadow` asks: how things stand for the rules at one instant, and every record they get from then on.

Reading only. The first answer is made in one turn of the event loop: the tables, and the sequence up to which they hold
what rules made of it. Who reads the records behind that one, and gives them to rules with those tables, is where the
gateway's own rule worker is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import msgspec

from gateway.api.line import ApiError
from gateway.clock import NS_PER_S, Clock
from gateway.event import Lane
from gateway.history.query import Past
from gateway.journal.sweep import Run
from gateway.rules.engine.tables import NAMES

LANES: Final = (Lane.ALARM, Lane.TELEMETRY, Lane.TIMER, Lane.COMMAND)
BEHIND_MAX: Final = 100_000  # records a reader may be behind
TICK_S: Final = 0.1  # how often it is looked for new records
BEAT_S: Final = 0.5  # how often the time is told when nothing happens
RUNS_MAX: Final = 64  # blocks in one go on the reading thread


class Standing(msgspec.Struct, kw_only=True):
    """How things stand for the rules."""

    log_id: str
    wall_ns: int
    after: int  # what rules made of records up to here is in the tables
    last: int  # appended so far
    tables: dict[str, dict[str, Any]]  # "values" among them; without calls that wait for another try


class Written(msgspec.Struct, kw_only=True):
    """Records of one block, or none: then it is so late by now, and nothing else is on the disk."""

    wall_ns: int
    events: list[msgspec.Raw] = []
    sequences: list[int] = []


class ShadowAnswers:
    """Both answers."""

    def __init__(
        self,
        past: Past,
        clock: Clock,
        *,
        log_id: str,
        table: Callable[[str], Mapping[str, Any]],
        seen: Callable[[], int],
        last: Callable[[], int],
    ) -> None:
        """Set up: `seen()` is the record up to which rules are, `last()` the last one appended."""
        self._past = past
        self._clock = clock
        self._log_id = log_id
        self._table = table
        self._seen = seen
        self._last = last

    def all(self) -> dict[str, Callable[..., Any]]:
        """Return the answers by what is asked."""
        return {"rules_standing": self.standing, "rules_records": self.records}

    def standing(self) -> Standing:
        """Say how things stand at this instant."""
        return Standing(
            log_id=self._log_id,
            wall_ns=self._clock.wall_ns(),
            after=self._seen(),
            last=self._last(),
            tables={name: _plain(self._table(name)) for name in ("values", *NAMES)},
        )

    async def records(self, after: int) -> AsyncIterator[Written]:
        """Yield what becomes durable behind a record, block by block. Raises ApiError for who falls behind."""
        told_ns = 0
        while True:
            last, now_ns = self._past.durable(), self._clock.wall_ns()
            if last - after > BEHIND_MAX:
                raise ApiError(f"{last - after} records behind, the limit is {BEHIND_MAX}")
            if last > after:
                async for written in _in_thread(self._past.runs(after, last, LANES)):
                    yield written
                after = last
            elif now_ns - told_ns > BEAT_S * NS_PER_S:
                told_ns = now_ns
                yield Written(wall_ns=now_ns)
            await asyncio.sleep(TICK_S)


def _plain(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return rows without those that are bytes (calls that failed and wait): nobody else makes them."""
    return {key: row for key, row in rows.items() if not isinstance(row, bytes)}


def _written(run: Run) -> Written:
    places = [place for place in range(run.begin, run.end) if run.lanes[place] in LANES]
    return Written(
        wall_ns=run.wall_ns,
        events=[msgspec.Raw(run.raws[place]) for place in places],
        sequences=[run.sequence(place) for place in places],
    )


async def _in_thread(runs: Generator[Run]) -> AsyncIterator[Written]:
    """Read in a worker thread, some blocks at a time."""
    try:
        while chunk := await asyncio.to_thread(list, islice(runs, RUNS_MAX)):
            for run in chunk:
                yield _written(run)
    finally:
        with suppress(ValueError):  # it is being read this moment: then it closes its files when the thread is done
            runs.close()
