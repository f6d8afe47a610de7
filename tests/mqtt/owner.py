"""An owner of a connection that writes down what happens, and waits for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec

from gateway.clock import SystemClock
from gateway.mqtt import packet as p
from gateway.mqtt.connection import Connection
from gateway.mqtt.link import Link
from gateway.mqtt.options import ConnectionOptions
from gateway.mqtt.session import Received, SessionOptions, token_of
from gateway.mqtt.window import Answer

WAIT_S = 60.0  # generous: nothing here asserts time


class Mark(msgspec.Struct):
    """What `acknowledge` needs of a delivery."""

    token: int


class Recorder:
    """Subscribes, records, and acknowledges when told."""

    def __init__(self, *filters: tuple[str, int], acknowledge: bool = True) -> None:
        self.filters = filters
        self.acknowledging = acknowledge
        self.links: list[Link] = []
        self.present: list[bool] = []
        self.messages: list[p.Publish] = []
        self.releases: list[p.Pubrel] = []
        self.answers: list[Answer] = []
        self.news: list[Any] = []
        self.lost: list[Answer] = []
        self.endings = 0
        self.acknowledgements = 0

    def connected(self, link: Link, *, session_present: bool) -> None:
        """Subscribe."""
        self.links.append(link)
        self.present.append(session_present)
        if self.filters:
            link.subscribe(tuple(p.Subscription(topic, qos) for topic, qos in self.filters))

    def received(self, link: Link, received: Received) -> None:
        """Write down."""
        for message in received.messages:
            (self.messages if isinstance(message, p.Publish) else self.releases).append(message)  # type: ignore[arg-type]
            if self.acknowledging:
                link.acknowledge(Mark(token_of(message)))
        self.answers += received.answers
        self.news += received.news

    def acknowledged(self, count: int) -> None:
        """Count."""
        self.acknowledgements += count

    def disconnected(self, lost: list[Answer]) -> None:
        """Write down."""
        self.lost += lost
        self.endings += 1

    @property
    def payloads(self) -> list[str]:
        """Return what arrived, in order."""
        return [message.payload.decode() for message in self.messages]

    @property
    def subscribed(self) -> bool:
        """Return whether a SUBACK came."""
        return any(type(news) is p.Suback for news in self.news)


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; TimeoutError if it never holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(
    owner: Recorder,
    url: str,
    *,
    client_id: str = "gw",
    session: dict[str, Any] | None = None,
    wait: bool = True,
    **options: Any,
) -> AsyncIterator[Connection]:
    """Run a connection for its owner; it says goodbye at the end."""
    options = {"reconnect_first_s": 0.05, "reconnect_max_s": 0.2, "refused_wait_s": 0.2, **options}
    known = ConnectionOptions(url=url, **options)
    asked = {"session_expiry_s": 600, "will": known.will.as_will() if known.will else None, **(session or {})}
    connection = Connection("test", known, SessionOptions(client_id=client_id, **asked), owner, SystemClock())
    task = asyncio.create_task(connection.run())
    try:
        if wait:
            await asyncio.wait_for(connection.ready(), WAIT_S)
            await until(lambda: owner.subscribed or not owner.filters)
        yield connection
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine on a loop of its own."""
    asyncio.run(scene)
