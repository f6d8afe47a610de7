"""A journal, a route and a far end that a test scripts: what replays and retries need of a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.event import Event, LaneName
from gateway.history.query import Past
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.replay.sender import Way
from gateway.routes import Route, Selection
from tests.forward.scripted import ScriptedTarget
from tests.rules.rig import MovedClock

OPTIONS = JournalOptions(bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False)
PATIENCE_S = 60.0


class LiveRoute:
    """A route whose own events a test moves."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.route = Route(to="cloud", retry_first_s=0.001, retry_longest_s=0.01, refused_retry_s=0.01, **options)
        self.selection = Selection(self.route)
        self.caught_up = True


class Desk:
    """The journal of a gateway; a commit is made when somebody asks for one."""

    def __init__(self, folder: Path, options: JournalOptions = OPTIONS) -> None:
        self.folder = folder
        self.options = options
        self.clock = MovedClock.at("2026-11-24T00:00:00Z")  # behind the events
        self.target = ScriptedTarget()
        self.live = LiveRoute("all")
        self.alarms = LiveRoute("alarms", lanes=("alarm",))
        self.ways = {each.name: Way(each, self.target) for each in (self.live, self.alarms)}
        self.journal: Journal
        self.past: Past
        self.open()

    def open(self) -> None:
        """Start, or start again: what is durable is there."""
        journal = self.journal = Journal.open(self.folder / "journal", self.options, self.clock)
        self.past = Past(journal.store, lambda: journal.durable_sequence, starts=lambda: journal.table("starts"))

    def kill(self) -> None:
        """Lose what is not durable, and start again."""
        self.journal._lock.release()
        self.open()

    async def flush(self) -> None:
        """Commit."""
        self.journal.commit()

    def put(self, numbers: Sequence[int], lane: LaneName = "telemetry", **given: Any) -> list[str]:
        """Append events, one a second, and commit; returns their ids."""
        events = [
            Event(
                source="/pi/house",
                lane=lane,
                data={"n": number},
                time=f"2026-11-23T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z",
                **{"type": "reading_taken", "subject": f"house/z2m:d{number % 3}", **given},
            )
            for number in numbers
        ]
        for event in events:
            self.journal.append(event)
        self.journal.commit()
        return [event.id for event in events]


async def until(true: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.005)
