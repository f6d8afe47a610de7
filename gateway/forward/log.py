"""What a route needs of the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gateway.event import Event, Lane

UNREADABLE_S = 1.0  # before a journal whose disk is gone is read again


class Record(Protocol):
    """An event as the journal keeps it."""

    @property
    def sequence(self) -> int: ...  # noqa: D102
    @property
    def raw(self) -> bytes: ...  # noqa: D102


class Reader(Protocol):
    """Reads one lane of the journal. One thread at a time."""

    def in_memory(self, after: int) -> bool:
        """Return whether a read behind `after` needs no disk."""
        ...

    def read(self, after: int, limit: int, bytes_max: int) -> Sequence[Record]:
        """Return durable records behind `after`, in order; fewer only when there are no more or bytes are over.

        DiskRefused while the disk is gone: what is there is to be read later.
        """
        ...


class Lanes(Protocol):
    """Lanes to read, and where their cursors are kept."""

    log_id: str

    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def last_sequence(self) -> int: ...  # noqa: D102
    @property
    def durable_sequence(self) -> int: ...  # noqa: D102

    def get(self, table: str, key: str) -> Any:
        """Return a durable value or None."""
        ...

    def put(self, table: str, key: str, value: Any) -> None:
        """Set a durable value in the open batch; None deletes."""
        ...

    def reader(self, lane: Lane) -> Reader:
        """Return a reader of one lane."""
        ...

    def table(self, table: str) -> Mapping[str, Any]:
        """Return a durable table."""
        ...

    def count(self, lane: Lane, after: int) -> int:
        """Return how many records of a lane lie behind a sequence."""
        ...


class Log(Lanes, Protocol):
    """What a route needs of the journal."""

    def append(self, event: Event) -> bytes:
        """Add an event to the open batch. JournalError when it is too large."""
        ...

    def append_all(self, events: Sequence[Event]) -> list[bytes]:
        """Add events to one batch, with what is put right behind. JournalError when one or all are too large."""
        ...
