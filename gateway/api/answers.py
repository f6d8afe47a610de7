"""Everything the local API answers, put together for the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from gateway.api.dead_letters import TABLE, DeadLetters, Log
from gateway.api.events import answer
from gateway.api.line import ApiError
from gateway.api.server import Answer
from gateway.api.status import Status

TABLES = frozenset({"values", "cursors", TABLE})
"""Durable tables that may be looked at."""


class Journal(Log, Protocol):
    """What is needed of the journal."""

    def table(self, table: str) -> Mapping[str, Any]:
        """Return a durable table."""
        ...


def answers(
    journal: Journal,
    *,
    status: Callable[[], Status],
    command: Callable[..., Awaitable[Mapping[str, Any]]],
    dead_letters: DeadLetters,
    flush: Callable[[], Awaitable[None]],
) -> dict[str, Answer]:
    """Return the answers by their names.

    * ``status()`` the status as a table
    * ``events(types, devices, since, about, lanes, limit, follow)`` a stream of events, see `EventFilter`
    * ``table(name)`` one of `TABLES`
    * ``command(device, command, value, actor)`` answers ``{"id": ...}`` when the command is on the disk
    * ``dead_letter_retry(id)``, ``dead_letter_drop(id)``
    * ``flush()`` when everything received so far is on the disk: its last sequence
    """

    def table(name: str) -> dict[str, Any]:
        if name not in TABLES:
            raise ApiError(f"no table {name!r}: there are {', '.join(sorted(TABLES))}")
        return dict(journal.table(name))

    async def flushed() -> int:
        await flush()
        return journal.durable_sequence

    return {
        "status": lambda: msgspec.to_builtins(status()),
        "events": answer(journal.reader, lambda: journal.durable_sequence),
        "table": table,
        "command": command,
        "dead_letter_retry": dead_letters.retry,
        "dead_letter_drop": dead_letters.drop,
        "flush": flushed,
    }
