"""A journal as a gateway leaves it, written on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.clock import NS_PER_S, rfc3339, wall_ns_of
from gateway.event import Event
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

MONDAY = "2026-01-05T00:00:00Z"
OPTIONS = JournalOptions(bytes_max=16 * 1024 * 1024, segment_bytes=64 * 1024, preallocate=False, tail_bytes_max=0)


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: str = MONDAY) -> None:
        self.now_ns = wall_ns_of(start)
        self._start_ns = self.now_ns

    def wall_ns(self) -> int:
        """Return where the hand is."""
        return self.now_ns

    def boot_ns(self) -> int:
        """Return how far the hand was moved."""
        return self.now_ns - self._start_ns

    def boot_id(self) -> str:
        """Return the one boot there is."""
        return "boot"

    def synced(self) -> bool:
        """Return that it is believed."""
        return True


class Recorder:
    """Writes events, one commit each, at times counted in seconds from Monday midnight."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.journal = Journal.open(folder, OPTIONS, self.clock)
        self.events: list[Event] = []

    def at(self, seconds: float) -> str:
        """Move the clock there; return the time as text."""
        self.clock.now_ns = wall_ns_of(MONDAY) + round(seconds * NS_PER_S)
        return rfc3339(self.clock.now_ns)

    def event(self, seconds: float, event_type: str, device: str = "", **attributes: Any) -> Event:
        """Record an event at its time; keywords that are no attribute of an event are its data."""
        time = self.at(seconds)
        known = {name: attributes.pop(name) for name in list(attributes) if name in _ATTRIBUTES}
        event = Event(
            **{"source": "/test/house", "type": event_type, "subject": device, "time": time, "data": attributes} | known
        )
        self.journal.append(event)
        self.journal.commit()
        self.events.append(event)
        return event

    def rows(self, seconds: float, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Change durable tables at a time."""
        self.at(seconds)
        for table, rows in tables.items():
            for key, row in rows.items():
                self.journal.put(table, key, row)
        self.journal.commit()

    def close(self) -> None:
        """Stop in good order."""
        self.journal.close()


_ATTRIBUTES = frozenset(("lane", "actor", "cause", "clock", "hops", "id", "time", "data"))
