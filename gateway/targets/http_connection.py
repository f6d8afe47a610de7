"""One HTTP/1.1 connection of a client: h11 says what the bytes mean, this moves them. One request at a time.

h11 and not a client library: 0.4 MiB and 6 ms to import where httpx takes 5.1 and 25 and aiohttp 14 and 100, 120 us
CPU a request where httpx takes 750 and aiohttp 165, and no dependencies (docs/decisions says how it was measured).

What a failure says about the request decides what becomes of its events, so there are two kinds:

* `TargetDown`      no byte of an answer came: away, refused, reset, or silent for too long
* `ProtocolError`   an answer began and is cut off or no HTTP: the server may have taken the request
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import cast

import h11
import msgspec

from gateway.errors import ProtocolError, TargetDown

ANSWER_BYTES_MAX = 1024 * 1024  # of a body; what is beyond is not read and the connection is closed
ANSWER_HEAD_BYTES_MAX = 64 * 1024

Headers = Sequence[tuple[bytes, bytes]]


class Answer(msgspec.Struct, frozen=True):
    """What a server said; header names are in lower case, of repeated ones the first counts."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpConnection(asyncio.Protocol):
    """A connection to one server, kept for the next request while both sides agree."""

    def __init__(self) -> None:
        self.requests = 0
        self.closed = False
        self.timed_out = False
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=ANSWER_HEAD_BYTES_MAX)
        self._answer: asyncio.Future[Answer] | None = None
        self._head: h11.Response | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._began = False  # a byte of the answer has come

    async def request(self, method: str, path: str, headers: Headers, body: bytes, timeout_s: float) -> Answer:
        """Send a request and return its answer. Raises TargetDown and ProtocolError as the module says."""
        assert self._transport is not None
        assert self._answer is None
        length = (b"content-length", b"%d" % len(body))
        try:
            asked = h11.Request(method=method, target=path, headers=[*headers, length])
        except (h11.LocalProtocolError, UnicodeEncodeError):  # their text has the value in it: it may be a secret
            what = "the path or a header (a secret with a line break in it?) has characters that HTTP does not allow"
            raise ProtocolError(what) from None
        self._answer = asyncio.get_running_loop().create_future()
        self._head, self._body, self._body_bytes, self._began = None, [], 0, False
        self.requests += 1
        head = self._http.send(asked)
        self._http.send(h11.Data(data=body))
        self._http.send(h11.EndOfMessage())
        self._transport.writelines((head or b"", body))
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer
        except TimeoutError:
            if not self._answer.cancelled():  # it came while this machine stood still for so long
                return self._answer.result()
            self.timed_out = True
            self.close()
            if self._began:
                raise ProtocolError(f"the answer broke off: no more of it within {timeout_s:g} s") from None
            raise TargetDown(f"no answer within {timeout_s:g} s") from None
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        """Close at once; a request under way fails."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # other loops' transports do not inherit from it

    def data_received(self, data: bytes) -> None:
        """Take bytes of an answer."""
        if self._answer is None:  # nobody asked: a server that speaks out of turn (408 before it closes)
            self.close()
            return
        self._began = True
        self._http.receive_data(data)
        self._read_answer()

    def eof_received(self) -> None:
        """Take the end: of an answer without a length, of the connection, or of an answer that is cut off."""
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way."""
        self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        self.closed = True
        if self._answer is None or self._answer.done():
            return
        if self._began:
            self._http.receive_data(b"")
            self._read_answer()
            if not self._answer.done():
                self._answer.set_exception(ProtocolError("the answer is cut off"))
        else:
            self._answer.set_exception(TargetDown(f"closed without an answer{f': {_words(exc)}' if exc else ''}"))

    def _read_answer(self) -> None:
        assert self._answer is not None
        try:
            while not self._answer.done():
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self.close()
            if not self._answer.done():
                self._answer.set_exception(ProtocolError(f"not an answer in HTTP: {error}"))

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self._head = event
        elif isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            if self._body_bytes > ANSWER_BYTES_MAX:
                self.close()
                self._complete()  # the status is what counts
            else:
                self._body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self._complete()
            if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
            else:
                self.close()
        elif isinstance(event, h11.ConnectionClosed) and self._answer is not None and not self._answer.done():
            self._answer.set_exception(ProtocolError("the answer is cut off"))

    def _complete(self) -> None:
        assert self._answer is not None
        assert self._head is not None
        headers: dict[str, str] = {}
        for name, value in self._head.headers:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        body = b"".join(self._body)
        self._answer.set_result(Answer(self._head.status_code, headers, body))


async def connect(
    host: str, port: int, context: ssl.SSLContext | None, server_name: str | None, timeout_s: float
) -> HttpConnection:
    """Open a connection. TargetDown says why there is none (name, refusal, TLS, time)."""
    loop = asyncio.get_running_loop()
    server_hostname = (server_name or host) if context is not None else None
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(
                HttpConnection, host, port, ssl=context, server_hostname=server_hostname
            )
    except TimeoutError:
        raise TargetDown(f"no connection within {timeout_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise TargetDown(f"the server's certificate is not trusted: {error.verify_message}") from error
    except OSError as error:  # ssl.SSLError and socket.gaierror are OSErrors too
        raise TargetDown(f"cannot connect: {_words(error)}") from None
    return connection


def _words(error: Exception) -> str:
    """Say what failed, without numbers where there are words."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
