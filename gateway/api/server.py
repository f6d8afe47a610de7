"""The local API's server: a unix socket that answers with functions the daemon gave.

Each answer is a function of keyword arguments. It returns a value, or something to await, or an
asynchronous iterator for a stream. It may raise `GatewayError`: the text goes to the person who asked.
A parameter named `actor` is filled in by the server with who asked (the peer's user, from the kernel),
so that no client can claim to be somebody else.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway import actors
from gateway.api.line import REQUEST_BYTES_MAX, SOCKET_PATH_BYTES_MAX, ApiError, Reply, Request
from gateway.errors import GatewayError

CLIENTS_MAX = 32
IDLE_S_MAX = 300.0  # between two requests of one client
WRITE_S_MAX = 10.0  # a client that takes nothing for this long is cut off
WRITE_BUFFER_BYTES_MAX = 256 * 1024  # towards one client, before it is waited for
BACKLOG_MAX = 16

Answer = Callable[..., Any]
"""``f(**with)`` -> value | awaitable of a value | async iterator of items."""


class ApiServer:
    """Serves the answers on a unix socket."""

    def __init__(self, path: Path, answers: Mapping[str, Answer], *, mode: int = 0o660) -> None:
        self.path = path
        self.asked = 0
        self.refused = 0  # clients over the limit
        self.cut_off = 0  # clients that took nothing
        self._answers = dict(answers)
        self._mode = mode
        self._clients: set[asyncio.StreamWriter] = set()
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Request).decode

    def answer_with(self, answers: Mapping[str, Answer]) -> None:
        """Give these answers from now on."""
        self._answers = dict(answers)

    @property
    def clients(self) -> int:
        """Return how many clients are connected."""
        return len(self._clients)

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled; `ready` is called once the socket listens. Raises ApiError if it cannot."""
        listening = listen(self.path, self._mode)
        server = await asyncio.start_unix_server(self._client, sock=listening, limit=REQUEST_BYTES_MAX)
        try:
            ready()
            await asyncio.get_running_loop().create_future()  # serve_forever would wait for every client at its end
        finally:
            server.close()
            for writer in list(self._clients):
                writer.transport.abort()
            self.path.unlink(missing_ok=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        if len(self._clients) >= CLIENTS_MAX:
            self.refused += 1
            self._put(writer, Reply(error=f"{CLIENTS_MAX} clients are connected, which is the limit"))
            await _end(writer)
            return
        self._clients.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (TimeoutError, ConnectionError):
            pass  # the client is gone, or idle for too long
        finally:
            self._clients.discard(writer)
            await _end(writer)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether to wait for another."""
        try:
            async with asyncio.timeout(IDLE_S_MAX):
                line = await reader.readline()
        except ValueError:
            self._put(writer, Reply(error=f"a request has at most {REQUEST_BYTES_MAX} bytes"))
            return False
        if not line:
            return False
        self.asked += 1
        try:
            answer = await self._answer(line, writer)
        except GatewayError as error:
            self._put(writer, Reply(error=str(error)))
        else:
            if isinstance(answer, AsyncIterator):
                return await self._stream(answer, reader, writer)
            self._put(writer, Reply(answer=answer))
        return await self._drained(writer)

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> Any:
        try:
            request = self._decode(line)
        except msgspec.DecodeError as error:
            raise ApiError(f"not a request: {error}") from None
        function = self._answers.get(request.ask)
        if function is None:
            raise ApiError(f"unknown request {request.ask!r}: there are {', '.join(sorted(self._answers))}")
        signature = inspect.signature(function)
        arguments = request.with_
        if "actor" in signature.parameters:
            arguments["actor"] = person(writer)
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise ApiError(f"{request.ask}: {error}") from None
        answer = function(**arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def _stream(
        self, items: AsyncIterator[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send items until they end, the client closes or takes nothing for `WRITE_S_MAX`."""
        gone = asyncio.ensure_future(reader.read(1))  # a client says nothing during a stream: any byte or EOF ends it
        sender = asyncio.ensure_future(self._send_all(items, writer))
        try:
            await asyncio.wait({gone, sender}, return_when=asyncio.FIRST_COMPLETED)
            if not sender.done():
                return False
            return sender.result() and not gone.done()
        finally:
            for task in (gone, sender):
                task.cancel()
            await asyncio.gather(gone, sender, return_exceptions=True)
            if hasattr(items, "aclose"):
                await items.aclose()

    async def _send_all(self, items: AsyncIterator[Any], writer: asyncio.StreamWriter) -> bool:
        sent = 0
        try:
            async for item in items:
                self._put(writer, Reply(item=item))
                if not await self._drained(writer, sent):
                    return False
                sent += 1
        except GatewayError as error:
            self._put(writer, Reply(cut=str(error), items=sent))
            return False
        self._put(writer, Reply(end=sent))
        return await self._drained(writer, sent)

    async def _drained(self, writer: asyncio.StreamWriter, sent: int | None = None) -> bool:
        """Wait until the client has taken what was put; cut it off when it does not."""
        if writer.transport.get_write_buffer_size() < WRITE_BUFFER_BYTES_MAX:
            return True  # no task switch for each line of a stream
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                await writer.drain()
        except TimeoutError:
            self.cut_off += 1
            self._put(writer, Reply(cut=f"nothing was taken for {WRITE_S_MAX:g} s", items=sent))
            return False
        return True

    def _put(self, writer: asyncio.StreamWriter, reply: Reply) -> None:
        writer.write(self._encode(reply) + b"\n")


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close after what was written, but not for ever."""
    writer.close()
    try:
        async with asyncio.timeout(WRITE_S_MAX):
            await writer.wait_closed()
    except (TimeoutError, ConnectionError):
        writer.transport.abort()


def listen(path: Path, mode: int) -> socket.socket:
    """Make the listening socket, with its mode from the first moment; a dead gateway's socket is replaced."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise ApiError(f"{path}: a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes: set api.socket")
    with socket.socket(socket.AF_UNIX) as probe, suppress(FileNotFoundError, ConnectionRefusedError):
        probe.connect(str(path))
        raise ApiError(f"{path}: another gateway answers here")
    if path.exists() and not path.is_socket():
        raise ApiError(f"{path}: there is a file that is no socket: set api.socket")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        listening.bind(str(path))
        path.chmod(mode)  # nobody can connect before listen()
        listening.listen(BACKLOG_MAX)
    except OSError as error:
        listening.close()
        raise ApiError(f"{path}: {error.strerror}") from None
    listening.setblocking(False)
    return listening


def person(writer: asyncio.StreamWriter) -> str:
    """Say who is at the other end: ``person:<user>``, from SO_PEERCRED (unix(7))."""
    peer: socket.socket = writer.get_extra_info("socket")
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return actors.person(uid)
