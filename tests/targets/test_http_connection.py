"""One connection to an HTTP server: what cannot be said in HTTP is refused before a byte of it leaves."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import traceback

import pytest

from gateway.errors import ProtocolError
from gateway.targets.http_connection import HttpConnection

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def test_a_secret_that_is_no_header_is_in_no_text_and_costs_one_request() -> None:
    """A secret with a line break in it is refused without being shown anywhere, and the connection goes on."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        _, connection = await asyncio.get_running_loop().create_connection(HttpConnection, host, port)
        with pytest.raises(ProtocolError) as caught:
            await connection.request("POST", "/", [(b"host", b"a"), (b"authorization", b"Bearer hush\nhush")], b"", 5)
        said = "".join(traceback.TracebackException.from_exception(caught.value).format_exception_only())
        assert "hush" not in said
        assert caught.value.__suppress_context__, "what h11 said of it is in no stack either"
        answer = await connection.request("POST", "/", [(b"host", b"a")], b"", 60)
        assert answer.status == 204
        server.close()

    asyncio.run(run())


def test_an_answer_that_came_while_the_machine_stood_still_counts() -> None:
    """Whoever finds an answer behind its timeout, because nobody could look, sends nothing again."""
    answered = threading.Event()

    def serve() -> None:
        with listener.accept()[0] as peer:
            peer.recv(65_536)
            peer.sendall(ANSWER)
            answered.set()
            peer.recv(1)  # until the other side closes

    async def run() -> None:
        host, port = listener.getsockname()
        _, connection = await asyncio.get_running_loop().create_connection(HttpConnection, host, port)
        asked = asyncio.create_task(connection.request("POST", "/", [(b"host", b"a")], b"", 0.2))
        await asyncio.sleep(0)
        assert answered.wait(60)  # on the loop's thread: it stands still
        time.sleep(0.3)
        assert (await asked).status == 204
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        asyncio.run(run())
        serving.join(60)
