"""A listener in a thread of its own for tests, whose inbox acknowledges at once or when it is told to."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode
from gateway.mqtt.packet import Packet, Publish
from gateway.sources.listener import Listener, ListenerOptions
from gateway.sources.source import Delivery

WITHIN_S = 60.0  # generous: a loaded machine
T = TypeVar("T")


def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Wait until a condition holds; AssertionError when it never does."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


class Rig:
    """Use it as a context; `hold` keeps acknowledgements back until `acknowledge`."""

    def __init__(self, options: ListenerOptions | None = None, *, hold: bool = False) -> None:
        self.listener = Listener("house", options or ListenerOptions(port=0))
        self.deliveries: list[Delivery] = []
        self.hold = hold
        self.error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None]
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self.listener.run(self.inbox))
        waiting = asyncio.create_task(self.listener.ready.wait())
        await asyncio.wait([self._task, waiting], return_when=asyncio.FIRST_COMPLETED)
        self._started.set()
        try:
            await self._task
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        waiting.cancel()

    def inbox(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries, on the loop's thread."""
        self.deliveries.extend(deliveries)
        if not self.hold:
            for delivery in deliveries:
                delivery.ack()

    def __enter__(self) -> Rig:
        self._thread.start()
        assert self._started.wait(WITHIN_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Cancel the listener and wait for its end."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()

    def join(self) -> None:
        """Wait until the listener ends by itself."""
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()

    @property
    def port(self) -> int:
        """Return where it listens."""
        return self.listener.port

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the loop's thread and return what it returns."""
        done: list[T] = []
        finished = threading.Event()

        def run() -> None:
            try:
                done.append(function(*arguments))
            finally:
                finished.set()

        self._loop.call_soon_threadsafe(run)
        assert finished.wait(WITHIN_S)
        return done[0]

    def acknowledge(self, *indexes: int) -> list[bytes]:
        """Acknowledge deliveries by their place; all that there are, in order, when none is named. Return payloads."""

        def run() -> list[bytes]:  # on the loop's thread: no delivery comes between
            chosen = [self.deliveries[index] for index in indexes] or list(self.deliveries)
            if not indexes:
                self.deliveries.clear()
            for delivery in chosen:
                delivery.ack()
            return [delivery.payload for delivery in chosen]

        return self.call(run)

    def payloads(self) -> list[bytes]:
        """Return what was delivered."""
        return [delivery.payload for delivery in self.deliveries]

    def expect(self, count: int) -> None:
        """Wait for so many deliveries."""
        until(lambda: len(self.deliveries) >= count)


class Wire:
    """A client made of packets on a real socket; asserts nothing about what it is told."""

    def __init__(self, port: int, version: int = p.V5) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WITHIN_S)
        self.version = version
        self._decoder = Decoder(version)
        self._packets: list[Packet] = []

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def connect(self, client_id: str, **fields: Any) -> p.Connack:
        """Send CONNECT and return CONNACK."""
        self.send(p.Connect(client_id, self.version, **fields))
        connack = self.packet()
        assert isinstance(connack, p.Connack)
        return connack

    def send(self, *packets: Packet) -> None:
        """Send packets in one piece."""
        self.socket.sendall(b"".join(encode(packet, self.version) for packet in packets))

    def publish(self, topic: str, payload: bytes, packet_id: int = 0, **fields: Any) -> None:
        """Publish, at QoS 1 with a packet identifier and QoS 0 without."""
        self.send(Publish(topic, payload, 1 if packet_id else 0, packet_id=packet_id, **fields))

    def packet(self) -> Packet:
        """Return the next packet; EOFError when the listener closed."""
        while not self._packets:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self._packets = self._decoder.feed(data)
        return self._packets.pop(0)

    def silent(self, seconds: float = 0.2) -> bool:
        """Return whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            self._packets.append(self.packet())
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(WITHIN_S)
        return False

    def ended(self) -> bool:
        """Read to the end; return True when the listener closed the connection."""
        try:
            while True:
                self.packet()
        except (EOFError, ConnectionError):
            return True
