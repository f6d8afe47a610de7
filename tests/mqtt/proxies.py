"""Two proxies for tests on 127.0.0.1: HTTP CONNECT and SOCKS 5, just enough of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    request = await reader.readuntil(b"\r\n\r\n")
    host, _, port = request.split()[1].decode().rpartition(":")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    return host, int(port)


async def _socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(b"\x05\x00")  # no authentication
    kind = (await reader.readexactly(4))[3]
    if kind == 1:
        host = ".".join(map(str, await reader.readexactly(4)))
    else:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    port = int.from_bytes(await reader.readexactly(2), "big")
    writer.write(b"\x05\x00\x00\x01" + bytes(6))
    return host, port


@asynccontextmanager
async def proxy(scheme: str) -> AsyncIterator[tuple[str, list[tuple[str, int]]]]:
    """Run a proxy; yields its url and the list of where it was asked to go."""
    asked: list[tuple[str, int]] = []
    greet = {"http": _http, "socks5": _socks5}[scheme]
    async with asyncio.TaskGroup() as serving:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await greet(reader, writer))
            far_reader, far_writer = await asyncio.open_connection(*asked[-1])
            serving.create_task(_pipe(far_reader, writer))
            await _pipe(reader, far_writer)

        server = await asyncio.start_server(
            lambda reader, writer: (serving.create_task(serve(reader, writer)), None)[1], "127.0.0.1", 0
        )
        async with server:
            yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
            server.close()
