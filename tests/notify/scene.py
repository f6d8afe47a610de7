"""A journal, an outbox and people with phones, which are real web servers; killed and started as a test likes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

from gateway.clock import NS_PER_S, SystemClock, rfc3339
from gateway.event import Event
from gateway.journal.committer import Committer
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.notify.carriers import Carriers
from gateway.notify.notifier import Notifier
from gateway.notify.options import Directory, RecipientOptions
from gateway.notify.outbox import Outbox
from gateway.rules.language.calendar import Place
from gateway.secrets import Secret
from simulators.cloud_http import CloudHttp

SMALL = JournalOptions(bytes_max=2 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False, max_delay_ms=1)
PATIENCE_S = 60.0
QUICK = {"retry_first_s": 0.01, "retry_max_s": 0.05}


class MovedClock(SystemClock):
    """The machine's clock, moved: `ahead_s` is added to what the wall and the boot clock show."""

    def __init__(self, ahead_s: float = 0) -> None:
        super().__init__()
        self.ahead_s = ahead_s
        self.wall_ahead_s = 0.0  # the wall alone: somebody has set it
        self.believed = True
        self.boot = "this boot"

    def wall_ns(self) -> int:
        """Return the wall clock, moved."""
        return super().wall_ns() + round((self.ahead_s + self.wall_ahead_s) * NS_PER_S)

    def boot_ns(self) -> int:
        """Return the boot clock, moved."""
        return super().boot_ns() + round(self.ahead_s * NS_PER_S)

    def boot_id(self) -> str:
        """Return which boot this is."""
        return self.boot

    def synced(self) -> bool:
        """Return what the test says."""
        return self.believed


def reached_at(folder: Path, url: str, **options: Any) -> RecipientOptions:
    """Return a recipient whose address is in a file."""
    file = folder / f"address-{abs(hash(url))}"
    file.write_text(url + "\n")
    return RecipientOptions(**{"url": Secret("file", str(file)), **QUICK, **options})


class Scene:
    """A gateway with nothing but notifications. What it records is in `told`, and in the journal."""

    def __init__(self, folder: Path, directory: Directory, clock: MovedClock) -> None:
        self.clock = clock
        self.journal = Journal.open(folder / "journal", SMALL, clock)
        self.committer = Committer(self.journal, lambda _: None)
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[Event] = []
        self.published: list[tuple[str, str, bytes]] = []
        self.connected = True
        outbox = Outbox(directory, self.journal.table, self.journal.put, clock, Place(UTC))
        carriers = Carriers(directory, clock, self._publish, gateway="gw")
        self.notifier = Notifier(directory, outbox, carriers, self._record, self.committer.flush, clock, gateway="gw")

    def commit(self) -> None:
        """Let the disk take what is appended, from now on."""
        self.tasks.append(asyncio.create_task(self.committer.run()))

    def _record(self, event: Event) -> None:
        self.journal.append(event)
        self.committer.wake(urgent=True)
        self.told.append(event)

    def _publish(self, source: str, topic: str, payload: bytes) -> bool:
        if self.connected:
            self.published.append((source, topic, payload))
        return self.connected

    def want(self, to: str, text: str, *, rule: str = "bell", **data: Any) -> Event:
        """Let a rule ask for a notification, as an outcome does: record and rows in one batch."""
        event = Event(
            source="/gw/rules",
            type="notification_requested",
            subject="house/test:door",
            time=rfc3339(self.clock.wall_ns()),
            lane="command",
            actor=f"rule:{rule}@1",
            hops=1,
            data={"to": to, "text": text, "ttl_s": 3600.0, **data},
        )
        self._record(event)
        self.notifier.take([event])
        return event

    def outcomes(self) -> list[tuple[str, str, str]]:
        """Return what became of what: outcome, recipient, text."""
        ends = [event for event in self.told if event.type != "notification_requested"]
        return [(e.type.removeprefix("notification_"), e.data["to"], e.data.get("text", "")) for e in ends]

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.01)


def play(
    folder: Path,
    people: Mapping[str, RecipientOptions],
    act: Callable[[Scene], Awaitable[None]],
    *,
    clock: MovedClock | None = None,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    sending: bool = True,
    disk: bool = True,
) -> Scene:
    """Run a scene to the end of `act`, and stop it. Without `disk` nothing is written before `scene.commit()`."""

    async def run() -> Scene:
        scene = Scene(folder, Directory(people, groups), clock or MovedClock())
        if disk:
            scene.commit()
        if sending:
            scene.tasks.append(asyncio.create_task(scene.notifier.run()))
        try:
            await act(scene)
        finally:
            for task in scene.tasks:
                task.cancel()
            await asyncio.gather(*scene.tasks, return_exceptions=True)
            await scene.committer.close()
        return scene

    return asyncio.run(run())


@contextmanager
def nobody() -> Iterator[int]:
    """Keep a port on which every connection is refused."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


def texts(phone: CloudHttp) -> list[str]:
    """Return what a phone has shown, in order, repeats included."""
    return [message["text"] for message in phone.accepted]
