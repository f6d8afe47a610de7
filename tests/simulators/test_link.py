"""The cuttable link: whole, slow, cut both ways, restored."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest

from simulators.link import Cut, Link, Outage

PATIENCE_S = 60.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes in."""
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def linked(delay_s: float = 0.0) -> AsyncIterator[Link]:
    """Run a link to an echo server."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("127.0.0.1", server.sockets[0].getsockname()[1], delay_s=delay_s)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
        server.close()


@asynccontextmanager
async def connected(link: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection through the link, and close it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def running(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a scenario, but not for ever."""
    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_S * 3))


async def answer(reader: asyncio.StreamReader, count: int) -> bytes:
    """Read exactly `count` bytes."""
    return await asyncio.wait_for(reader.readexactly(count), PATIENCE_S)


def test_whole_link_carries_everything() -> None:
    """A whole link changes nothing, in any amount, and counts the bytes of both directions."""

    async def scenario() -> None:
        async with linked() as link, connected(link) as (reader, writer):
            sent = bytes(range(256)) * 20_000  # 5 MB: more than the buffers between
            writing = asyncio.create_task(send(writer, sent))
            assert await answer(reader, len(sent)) == sent
            await writing
            assert (link.bytes_up, link.bytes_down) == (len(sent), len(sent))

    async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    running(scenario)


def test_closing_cut_resets_both_ways() -> None:
    """A closing cut ends open connections and refuses new ones until it is restored."""

    async def scenario() -> None:
        async with linked() as link:
            async with connected(link) as (reader, writer):
                writer.write(b"one")
                assert await answer(reader, 3) == b"one"
                link.cut("close")
                assert not link.whole
                assert await ended(reader)
            async with connected(link) as (reader, _):
                assert await ended(reader)
            link.restore()
            async with connected(link) as (reader, writer):
                writer.write(b"two")
                assert await answer(reader, 3) == b"two"
            assert link.cuts == 1
            assert link.outage_s > 0

    running(scenario)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Return whether the connection ends without a byte."""
    try:
        return await asyncio.wait_for(reader.read(1), PATIENCE_S) == b""
    except ConnectionError:
        return True


def test_black_hole_swallows_and_gives_back() -> None:
    """In a black hole nothing is said and nothing arrives; on restore the bytes flow on, none lost."""

    async def scenario() -> None:
        async with linked() as link, connected(link) as (reader, writer):
            writer.write(b"before")
            assert await answer(reader, 6) == b"before"
            link.cut("blackhole")
            writer.write(b"during")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.2)
            async with connected(link) as (late_reader, late_writer):  # accepted, then silence
                late_writer.write(b"late")
                assert link.bytes_up == 6
                link.restore()
                assert await answer(reader, 6) == b"during"
                assert await answer(late_reader, 4) == b"late"

    running(scenario)


def test_delay_is_kept() -> None:
    """A slow link delivers late, in order and complete."""

    async def scenario() -> None:
        async with linked(delay_s=0.1) as link, connected(link) as (reader, writer):
            loop = asyncio.get_running_loop()
            start = loop.time()
            for part in (b"a", b"b", b"c"):
                writer.write(part)
                await asyncio.sleep(0.01)
            assert await answer(reader, 3) == b"abc"
            assert loop.time() - start >= 0.2

    running(scenario)


def test_far_side_closing_is_passed_on() -> None:
    """When one side closes, what it sent before arrives and then the other side is closed too."""

    async def scenario() -> None:
        async def last_words(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"bye")
            writer.close()

        server = await asyncio.start_server(last_words, "127.0.0.1", 0)
        link = Link("127.0.0.1", server.sockets[0].getsockname()[1])
        await link.start()
        async with connected(link) as (reader, _):
            assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b"bye"
        await link.stop()
        server.close()

    running(scenario)


def test_nobody_behind_the_link() -> None:
    """When the far side is away the near side is told."""

    async def scenario() -> None:
        async with linked() as link:
            gone = Link("127.0.0.1", link.port)
            await link.stop()
            await gone.start()
            async with connected(gone) as (reader, _):
                assert await ended(reader)
            await gone.stop()

    running(scenario)


def test_schedule_runs_by_itself() -> None:
    """Outages come and go by the clock."""

    async def scenario() -> None:
        async with linked() as link:
            await link.run([Outage(0.05, 0.05), Outage(0.2, 0.05, "blackhole")])
            assert link.whole
            assert link.cuts == 2

    running(scenario)


@pytest.mark.parametrize(("text", "how"), [("8:5", "close"), ("8:5:close", "close"), ("8:5:blackhole", "blackhole")])
def test_outage_as_text(text: str, how: Cut) -> None:
    """An outage is written AT:LASTS[:HOW]."""
    assert Outage.parse(text) == Outage(8.0, 5.0, how)


@pytest.mark.parametrize("text", ["8", "x:5", "8:5:slow", ""])
def test_no_outage(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r".*"):
        Outage.parse(text)
