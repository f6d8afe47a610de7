"""Connections to one web service, kept for the next request."""

from __future__ import annotations

import asyncio
import ssl

import msgspec

from gateway.clock import Clock
from gateway.errors import TargetDown
from gateway.mqtt.options import TlsOptions
from gateway.mqtt.tls import WaitsForClock, judged, tls_context
from gateway.targets.http_connection import Answer, Headers, HttpConnection, connect

IDLE_MAX = 16  # connections kept


class Server(msgspec.Struct, frozen=True):
    """Where the service is; `tls` None is plain HTTP."""

    host: str
    port: int
    tls: TlsOptions | None


class Request(msgspec.Struct, frozen=True):
    """A request, ready to be sent."""

    path: str
    headers: Headers
    body: bytes
    method: str = "POST"


class NotConnected(TargetDown):
    """There is no connection, so nothing was sent."""

    doubt: WaitsForClock | None = None  # it waits for the clock: nothing is to be tried before that is set


class HttpPool:
    """Gives each request a connection of its own: an idle one, else a new one."""

    def __init__(self, server: Server, connect_timeout_s: float, answer_timeout_s: float, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._context: ssl.SSLContext | None = None
        self._idle: list[tuple[HttpConnection, float]] = []  # (connection, since: loop time), oldest first
        self._busy: set[HttpConnection] = set()
        self.requests = 0

    @property
    def open(self) -> int:
        """Return how many connections there are."""
        return len(self._idle) + len(self._busy)

    async def request(self, request: Request, *, once: bool = False) -> Answer:
        """Send a request. Raises TargetDown and ProtocolError as `HttpConnection.request` does.

        A connection that lay idle may have been closed by the server in the meantime; that is no failure of the
        server, so the request is sent once more on a new one. It carries the same id. What may be sent only `once` gets
        a new connection; when that cannot be made it raises NotConnected.
        """
        while True:
            connection = None if once else self._take()
            reused = connection is not None
            connection = connection or await self._connect()
            self._busy.add(connection)
            self.requests += 1
            try:
                answer = await connection.request(
                    request.method, request.path, request.headers, request.body, self._answer_timeout_s
                )
            except TargetDown:
                if reused and not connection.timed_out:
                    continue
                raise
            finally:
                self._busy.discard(connection)
            self._keep(connection)
            return answer

    async def probe(self) -> None:
        """Make a connection, for the next request. TargetDown says why there is none."""
        self._keep(await self._connect())

    def close_idle(self, longer_than_s: float) -> None:
        """Close what nobody has used for so long."""
        limit = asyncio.get_running_loop().time() - longer_than_s
        while self._idle and self._idle[0][1] < limit:
            self._idle.pop(0)[0].close()

    def close(self) -> None:
        """Close all."""
        for connection in [*self._busy, *(connection for connection, _ in self._idle)]:
            connection.close()
        self._idle.clear()

    def _take(self) -> HttpConnection | None:
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    def _keep(self, connection: HttpConnection) -> None:
        if connection.closed:
            return
        if len(self._idle) >= IDLE_MAX:
            connection.close()
        else:
            self._idle.append((connection, asyncio.get_running_loop().time()))

    async def _connect(self) -> HttpConnection:
        server = self._server
        if server.tls is not None and self._context is None:
            try:
                self._context = await asyncio.to_thread(tls_context, server.tls)
            except (ValueError, ssl.SSLError) as error:
                raise NotConnected(f"TLS: {error}") from None
        name = server.tls.server_name if server.tls else None
        try:
            return await connect(server.host, server.port, self._context, name, self._connect_timeout_s)
        except TargetDown as error:
            self._context = None  # certificates are read anew
            doubt = await self._doubt(error.__cause__)
            down = NotConnected(str(error) if doubt is None else doubt.text)
            down.doubt = doubt
            raise down from None

    async def _doubt(self, cause: BaseException | None) -> WaitsForClock | None:
        server = self._server
        if cause is None or server.tls is None:
            return None
        return await judged(cause, self._clock, server.tls, server.host, server.port, self._connect_timeout_s)
