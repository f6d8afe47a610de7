"""The connection of one MQTT dialect of the simulated house."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

import aiomqtt

from simulators.house.books import Books
from simulators.house.gadget import Dialect
from simulators.house.house import Sent

WINDOW_MAX = 100  # messages in flight of a connection
WAITING_MAX = 50_000  # messages of a connection that wait for it; what comes then is not sent, and counted
REDIAL_S = 0.2
CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 60_000  # a gateway whose clock runs faster would miss pings sooner
LOOK_S_MAX = 0.05


class Bridge(aiomqtt.Client):
    """The connection of one dialect; outlives its connections, and sends again what had no answer."""

    def __init__(self, dialect: Dialect, host: str, port: int, books: Books, *, identifier: str, qos: int = 1) -> None:
        """Prepare a persistent session at `host`:`port`."""
        will = dialect.will()
        quiet = logging.getLogger("simulators.house")
        quiet.setLevel(logging.CRITICAL)  # a broker that is away is part of the show
        super().__init__(
            host, port, identifier=identifier, clean_session=False, max_inflight_messages=WINDOW_MAX,
            timeout=CONNECT_TIMEOUT_S, keepalive=KEEP_ALIVE_S, logger=quiet,
            will=aiomqtt.Will(will.topic, will.payload, 1, will.retain) if will else None,
        )  # fmt: skip
        self.dialect, self._books, self._qos = dialect, books, qos
        self.waiting: deque[Sent] = deque()
        self.in_flight: dict[int, Sent] = {}
        self.unplugged = False
        self._more = asyncio.Event()

    @property
    def settled(self) -> bool:
        """Return whether everything was answered for."""
        return not self.waiting and not self.in_flight

    def post(self, sent: Sent) -> None:
        """Send a message as soon as there is room."""
        if len(self.waiting) >= WAITING_MAX:
            self._books.unsent += 1
            self._books.settled(sent, acked=False)
            return
        self.waiting.append(sent)
        self._more.set()

    def cut(self) -> None:
        """Break the connection without a word, so that the broker says the will."""
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    async def run(self, told: Callable[[str, str, bytes], None]) -> None:
        """Connect, send, listen and connect again, until cancelled."""
        while True:
            if not self.unplugged:
                try:
                    async with self:
                        for topic in self.dialect.filters():
                            await self.subscribe(topic, 1)
                        listening = asyncio.create_task(self._listen(told))
                        try:
                            await self._send()
                        finally:
                            listening.cancel()
                            await asyncio.gather(listening, return_exceptions=True)
                except (aiomqtt.MqttError, OSError, ValueError):
                    self._forget()
            await asyncio.sleep(REDIAL_S)

    def _forget(self) -> None:
        """Look at why the connection broke, so that nobody complains that nobody did."""
        for future in (self._disconnected, self._connected):
            if future.done() and not future.cancelled():
                future.exception()

    async def _send(self) -> None:
        while self._client.is_connected() and not self.unplugged:
            while self.waiting and len(self.in_flight) < WINDOW_MAX:
                sent = self.waiting.popleft()
                said = sent.said
                mid = self._client.publish(said.topic, said.payload, self._qos, said.retain).mid
                if self._qos:
                    self.in_flight[mid] = sent
                else:
                    self._books.settled(sent, acked=False)
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S_MAX):
                    await self._more.wait()
        if self.unplugged:
            self.cut()

    async def _listen(self, told: Callable[[str, str, bytes], None]) -> None:
        async for message in self.messages:
            if not message.retain and isinstance(message.payload, bytes):
                told(self.dialect.name, str(message.topic), message.payload)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        super()._on_publish(client, userdata, mid, reason_code, properties)
        sent = self.in_flight.pop(mid, None)
        if sent is not None:
            self._books.settled(sent, acked=True)
            self._more.set()
