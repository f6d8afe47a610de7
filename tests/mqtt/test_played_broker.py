"""A connection against brokers that no real one can be made to be: old, silent, or with another client of our name."""

from __future__ import annotations

import asyncio

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.codec import PINGREQ, Decoder, encode
from gateway.mqtt.connection import Phase
from tests.mqtt.owner import Recorder, play, running, until


class PlayedBroker:
    """Answers CONNECT after CONNECT with the given bytes, None = close without a word, the last one for ever."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = answers
        self.seen: list[int] = []  # the version of each CONNECT
        self.pings = 0  # PINGREQ, without an answer
        self.url = ""

    async def __aenter__(self) -> PlayedBroker:
        self.serving = asyncio.TaskGroup()
        await self.serving.__aenter__()
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"mqtt://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        await self.serving.__aexit__(None, None, None)
        await self.server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.read(1000)
        if not said:  # it gave up before it had a word out
            writer.close()
            return
        connect = Decoder().feed(said)[0]
        assert isinstance(connect, p.Connect)
        answer = self.answers[min(len(self.seen), len(self.answers) - 1)]
        self.seen.append(connect.version)
        if answer is not None:
            writer.write(answer)
            while (more := await reader.read(1000)) and not more.strip(PINGREQ):
                self.pings += len(more) // len(PINGREQ)
        writer.close()
        await writer.wait_closed()


def test_taken_over_waits() -> None:
    """A client that is put out by another of its name does not chase it: it waits like one that was refused."""
    taken_over = encode(p.Connack(), 5) + encode(p.Disconnect(0x8E), 5)

    async def scene() -> None:
        async with (
            PlayedBroker(taken_over) as played,
            running(Recorder(), played.url, wait=False, refused_wait_s=600) as connection,
        ):
            await until(lambda: connection.phase is Phase.REFUSED)
            assert "Session taken over" in str(connection.status()["last_error"])
            assert len(played.seen) == 1

    play(scene())


@pytest.mark.parametrize(
    ("answers", "tried"),
    [
        ([bytes.fromhex("20020001"), encode(p.Connack(), 4)], [5, 4]),
        ([encode(p.Connack(False, 0x84), 5), encode(p.Connack(), 4)], [5, 4]),
        ([None, None, encode(p.Connack(), 4)], [5, 5, 4]),
        ([None, None, None, None, encode(p.Connack(), 5)], [5, 5, 4, 4, 5]),
    ],
)
def test_falls_back_to_311(answers: list[bytes | None], tried: list[int]) -> None:
    """A broker that refuses MQTT 5, in either version's words or by silence, is spoken to in 3.1.1."""

    async def scene() -> None:
        async with PlayedBroker(*answers) as played, running(Recorder(), played.url) as connection:
            assert played.seen == tried
            assert connection.link is not None
            assert connection.link.version == tried[-1]

    play(scene())


def test_fixed_version_does_not_change() -> None:
    """Where the version is written down, a refusal of it does not lead to another."""

    async def scene() -> None:
        async with (
            PlayedBroker(bytes.fromhex("20020001")) as played,
            running(Recorder(), played.url, wait=False, version="5") as connection,
        ):
            await until(lambda: len(played.seen) > 2)
            assert set(played.seen) == {5}
            assert "Unsupported protocol version" in str(connection.status()["last_error"])

    play(scene())


def test_paused_says_that_it_is_there() -> None:
    """While paused pings are sent as ever, and the silence of a peer that nobody reads is held against nobody."""

    async def scene() -> None:
        played = PlayedBroker(encode(p.Connack(), 5))
        async with played, running(Recorder(), played.url, session={"keep_alive_s": 1}) as connection:
            connection.pause()
            await until(lambda: played.pings >= 3)
            assert connection.connects == 1

    play(scene())


def test_broker_that_never_answers() -> None:
    """A broker that takes CONNECT and says nothing is given up after the connect timeout."""

    async def scene() -> None:
        async with (
            PlayedBroker(b"") as played,
            running(Recorder(), played.url, wait=False, connect_timeout_s=0.2) as connection,
        ):
            await until(lambda: connection.status().get("last_error") == "no CONNACK within 0.2 s")

    play(scene())
