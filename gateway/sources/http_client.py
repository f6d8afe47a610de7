"""One client of the HTTP source: h11 says what the bytes mean, this moves them. One request at a time.

A client has `REQUEST_S` from the first byte of a request to its last, and `IDLE_S` between two; it is not read while
its request waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import h11
import orjson

HEAD_BYTES_MAX: Final = 16 * 1024
REQUEST_S: Final = 30.0
IDLE_S: Final = 75.0
REFUSED_S: Final = 1.0  # before a wrong password is answered
LINGER_S: Final = 10.0  # for a client that still sends behind its answer: closed earlier, it would hear of a reset

Headers = Sequence[tuple[str, str]]


class Request:
    """A request that was read, and the way to answer it."""

    __slots__ = ("body", "client", "headers", "method", "target")

    def __init__(self, client: HttpClient, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self.client, self.method, self.target, self.headers, self.body = client, method, target, headers, body


class HttpClient(asyncio.Protocol):
    """A connection. `admit` looks at a head before its body is read, `take` at the whole; both may answer."""

    def __init__(
        self,
        body_bytes_max: int,
        admit: Callable[[HttpClient, dict[str, str]], None],
        take: Callable[[Request], None],
        gone: Callable[[HttpClient], None],
    ) -> None:
        self._body_bytes_max, self._admit, self._take, self._gone = body_bytes_max, admit, take, gone
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._answered = True  # nothing waits for an answer
        self._leaving = False  # the last answer is given: what still comes is dropped

    # ---- asyncio ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport = cast("asyncio.Transport", transport)
        self._wait(IDLE_S)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget it; what was handed on is kept all the same."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._gone(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._leaving:
            return
        try:
            self._http.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            self._broken(error)

    def eof_received(self) -> bool:
        """Close when the client has nothing more to say and waits for nothing."""
        return not self._answered

    # ---- reading ------------------------------------------------------------------------------------

    def _read(self) -> None:
        while self._transport is not None:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                if event is h11.PAUSED:
                    self._transport.pause_reading()
                if self._http.they_are_waiting_for_100_continue and self._head is not None:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                return
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data) and self._head is not None:
                self._body_bytes += len(event.data)
                if self._body_bytes > self._body_bytes_max:
                    self.answer(413, error=f"at most {self._body_bytes_max} bytes", close=True)
                    return
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                self._end()

    def _begin(self, head: h11.Request) -> None:
        self._head, self._body, self._body_bytes, self._answered = head, [], 0, False
        self._wait(REQUEST_S)
        headers = _headers(head)
        if int(headers.get("content-length", "0") or 0) > self._body_bytes_max:
            self.answer(413, error=f"at most {self._body_bytes_max} bytes", close=True)
            return
        self._admit(self, headers)

    def _end(self) -> None:
        head, self._head = self._head, None
        if self._timer is not None:
            self._timer.cancel()
        if head is not None and not self._answered:
            body = b"".join(self._body)
            self._take(Request(self, head.method.decode(), head.target.decode("latin-1"), _headers(head), body))

    # ---- answering ----------------------------------------------------------------------------------

    def answer(self, status: int, *, headers: Headers = (), close: bool = False, **said: Any) -> None:
        """Answer the request under way with JSON, and read the next one; nothing when it is answered or gone."""
        if self._transport is None or (self._answered and self._http.our_state is not h11.SEND_RESPONSE):
            return
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._transport.close()
            return
        self._answered, self._head = True, None
        body = orjson.dumps(said)
        close = close or self._http.their_state is not h11.DONE
        more = [("content-type", "application/json"), ("content-length", str(len(body))), *headers]
        self._send(h11.Response(status_code=status, headers=[*more, ("connection", "close")] if close else more))
        self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())
        if close:
            self._leave(self._transport)
            return
        self._http.start_next_cycle()
        self._wait(IDLE_S)
        self._transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._again)  # what the client has sent ahead

    def refuse(self, status: int, *, headers: Headers = (), **said: Any) -> None:
        """Answer later, and close: guessing shall take time."""
        self._head, loop = None, asyncio.get_running_loop()
        if self._transport is not None:
            self._transport.pause_reading()
        loop.call_later(REFUSED_S, lambda: self.answer(status, headers=headers, close=True, **said))

    def _leave(self, transport: asyncio.Transport) -> None:
        """Close behind the last answer, when the client has sent all that it had to (RFC 9112 section 9.6)."""
        if self._http.their_state is h11.DONE or not transport.can_write_eof():
            transport.close()
            return
        self._leaving = True
        transport.write_eof()
        transport.resume_reading()
        self._wait(LINGER_S)

    def _broken(self, error: h11.RemoteProtocolError) -> None:
        """Say that this is no HTTP, as far as that can be said, and close."""
        self._answered = False
        self.answer(error.error_status_hint, error="no HTTP", close=True)

    def close(self) -> None:
        """Close; the source stops."""
        if self._transport is not None:
            self._transport.close()

    def _again(self) -> None:
        try:
            self._read()
        except h11.RemoteProtocolError as error:
            self._broken(error)

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data and self._transport is not None:
            self._transport.write(data)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    def _late(self) -> None:
        """End a client that says nothing, or is too slow to be believed."""
        if not self._answered:
            self.answer(408, error=f"a request takes at most {REQUEST_S:g} s", close=True)
        elif self._transport is not None:
            self._transport.close()


def _headers(head: h11.Request) -> dict[str, str]:
    """Return headers by name in lower case; of repeated ones the first counts."""
    found: dict[str, str] = {}
    for name, value in head.headers:
        found.setdefault(name.decode(), value.decode("latin-1"))
    return found
