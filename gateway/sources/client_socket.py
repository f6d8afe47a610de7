"""One client's socket at the listener: bytes in and out, and when to read and when not (asyncio)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, cast

from gateway.mqtt.broker import Broker
from gateway.mqtt.gather import Gather

READ_BYTES: Final = 128 * 1024  # one buffer for all sockets
WRITE_BYTES_MAX: Final = 256 * 1024  # unsent bytes of a client above which it counts as slow
CLOSE_WITHIN_S: Final = 5.0  # for the last bytes to a client that does not read


@dataclass(slots=True)
class Hall:
    """What the sockets of one listener share."""

    broker: Broker
    connections_max: int
    gather_s: float
    paused: bool = False
    turned_away: int = 0  # clients beyond `connections_max`
    sockets: set[ClientSocket] = field(default_factory=set)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(READ_BYTES)))


class ClientSocket(asyncio.BufferedProtocol):
    """One socket: bytes to a connection, and what it has to say back; when to read and when not."""

    def __init__(self, hall: Hall, loop: asyncio.AbstractEventLoop) -> None:
        self._hall = hall
        self._loop = loop
        self._transport: asyncio.Transport
        self._gather = Gather(hall.gather_s)
        self._waiting: asyncio.TimerHandle | None = None  # until the next read of a busy client
        self.connection = hall.broker.open(loop.time(), self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; one client too many is turned away."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES_MAX)
        if len(self._hall.sockets) >= self._hall.connections_max:
            self._hall.turned_away += 1
            self._transport.abort()
            return
        self._hall.sockets.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; the will of a client that vanished goes out."""
        self._hall.sockets.discard(self)
        if self._waiting is not None:
            self._waiting.cancel()
        self.connection.cut(str(exc) if exc else "the client closed the connection", self._loop.time())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return the buffer that all sockets share: what is in it is taken before the next one reads."""
        return self._hall.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        now, connection = self._loop.time(), self.connection
        connection.receive(self._hall.buffer[:nbytes], now)
        self.regulate()
        if self._gather.wait_s and self._gather.wait(nbytes, now) and not connection.unread:
            self._transport.pause_reading()
            self._waiting = self._loop.call_later(self._gather.wait_s, self._read_on)

    def _read_on(self) -> None:
        self._waiting = None
        if not self.connection.unread:
            self._transport.resume_reading()

    def regulate(self) -> None:
        """Stop reading a client of whom too much waits for the disk, and go on when it is less.

        While the gateway is paused that is any message at all: who has none waiting is read, its pings answered.
        """
        connection = self.connection
        session = connection.session
        if session is None or connection.closing:
            return
        refused = self._hall.paused and session.inbound.messages > 0
        if not connection.unread:
            if refused or session.full:
                connection.unread = True
                if self._waiting is None:
                    self._transport.pause_reading()
        elif not refused and session.drained:
            connection.unread = False
            connection.last_heard = self._loop.time()
            if self._waiting is None:
                self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Note that the client does not keep up: QoS 0 is dropped and QoS 1 waits until it does."""
        if self.connection.session is not None:
            self.connection.session.outbound.blocked = True

    def resume_writing(self) -> None:
        """Go on with what waited."""
        session = self.connection.session
        if session is not None and session.connection is self.connection:
            session.outbound.blocked = False
            session.outbound.go_on(self._loop.time())
            self.flush()

    def flush(self) -> None:
        """Send in one write what has collected, then close or read on as the connection now wants."""
        connection = self.connection
        out = connection.out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            if not self._transport.is_closing():
                self._transport.write(data)
        if connection.closing:
            if not self._transport.is_closing():
                self._transport.close()
                self._loop.call_later(CLOSE_WITHIN_S, self._transport.abort)
        else:
            self.regulate()
