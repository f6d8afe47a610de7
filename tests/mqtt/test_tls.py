"""A clock that nobody believes and certificates: what is waited for, what is refused, and when it goes on."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.mqtt import tls
from gateway.mqtt.connection import Connection, Phase
from gateway.mqtt.options import ConnectionOptions, TlsOptions
from gateway.mqtt.session import SessionOptions
from gateway.targets.http import HttpTarget, HttpTargetOptions
from gateway.targets.target import Outgoing, Verdict
from tests.mqtt.authority import Authority
from tests.mqtt.owner import Recorder

WAIT_S = 60.0
NEXT_DECADE = ("20340101000000Z", "20360101000000Z")
LAST_DECADE = ("20140101000000Z", "20160101000000Z")


class DoubtedClock(SystemClock):
    """The machine's clock, believed when the test says so."""

    believed = False

    def synced(self) -> bool:
        """Return what the test says."""
        return self.believed


class Peer:
    """A server that speaks TLS and nothing else; it counts who came."""

    def __init__(self) -> None:
        self.port = 0
        self.visits = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._come

    def _come(self, *_hello: object) -> None:
        self.visits += 1

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say nothing until the other side has had enough."""
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    @contextlib.asynccontextmanager
    async def listening(self, certificate: tuple[Path, Path]) -> AsyncIterator[Peer]:
        """Listen with a certificate."""
        self.context.load_cert_chain(*certificate)
        server = await asyncio.start_server(self.greet, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


async def failed(peer: Peer, options: TlsOptions) -> ssl.SSLError:
    """Return how a handshake fails."""
    try:
        await asyncio.open_connection("127.0.0.1", peer.port, ssl=tls.tls_context(options))
    except ssl.SSLError as error:
        return error
    raise AssertionError("the handshake went well")


@pytest.mark.parametrize(
    ("valid", "words"),
    [(NEXT_DECADE, "valid from 2034-01-01T00:00:00Z, this machine"), (LAST_DECADE, "until 2016-01-01T00:00:00Z, this")],
)
def test_only_the_dates_are_wrong(tmp_path: Path, valid: tuple[str, str], words: str) -> None:
    """While nobody believes the clock, a certificate that is right but for its dates is waited for, with both dates."""

    async def run() -> None:
        authority = Authority(tmp_path)
        async with Peer().listening(authority.issue_for("peer", *valid)) as peer:
            options, clock = TlsOptions(ca=authority.certificate), DoubtedClock()
            error = await failed(peer, options)
            doubt = await tls.judged(error, clock, options, "127.0.0.1", peer.port, WAIT_S)
            assert doubt is not None
            assert words in doubt.text
            assert not doubt.fits
            clock.believed = True
            assert await tls.judged(error, clock, options, "127.0.0.1", peer.port, WAIT_S) is None

    asyncio.run(run())


def test_a_stranger_is_no_matter_of_the_clock(tmp_path: Path) -> None:
    """A certificate with wrong dates and another name is refused for its name, whatever the clock says."""

    async def run() -> None:
        authority = Authority(tmp_path)
        async with Peer().listening(authority.issue_for("peer", *NEXT_DECADE)) as peer:
            options = TlsOptions(ca=authority.certificate, server_name="somebody.else")
            error = await failed(peer, TlsOptions(ca=authority.certificate))
            assert await tls.judged(error, DoubtedClock(), options, "127.0.0.1", peer.port, WAIT_S) is None

    asyncio.run(run())


def test_a_connection_waits_for_the_clock_and_then_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a state of its own, tried no second time until the clock is believed; then at once."""
    monkeypatch.setattr(tls, "LOOK_S", 0.01)

    async def run() -> None:
        authority, clock = Authority(tmp_path), DoubtedClock()
        async with Peer().listening(authority.issue_for("peer", *NEXT_DECADE)) as peer:
            options = ConnectionOptions(
                url=f"mqtts://127.0.0.1:{peer.port}", tls=TlsOptions(ca=authority.certificate),
                reconnect_first_s=0.001, reconnect_max_s=0.001, refused_wait_s=3600.0, connect_timeout_s=WAIT_S,
            )  # fmt: skip
            connection = Connection("cloud", options, SessionOptions(client_id="gw"), Recorder(), clock)
            running = asyncio.create_task(connection.run())

            def state() -> object:
                return connection.status()["state"]

            async with asyncio.timeout(WAIT_S):
                while state() != Phase.CLOCK.value:
                    await asyncio.sleep(0.01)
                visits = peer.visits
                assert visits == 2, "once, and once more for the dates"
                for _ in range(50):  # looks at the clock, none at the peer
                    await asyncio.sleep(0.01)
                assert peer.visits == visits
                assert "valid from 2034-01-01T00:00:00Z" in str(connection.status()["last_error"])
                clock.believed = True
                while state() != Phase.REFUSED.value:  # believed: now it is the certificate that is wrong
                    await asyncio.sleep(0.01)
            assert "not yet valid" in str(connection.status()["last_error"])
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_web_service_is_waited_for_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events wait, the reason has both dates, nobody knocks again; with the clock believed it is tried at once."""
    monkeypatch.setattr(tls, "LOOK_S", 0.01)

    async def run() -> None:
        authority, clock = Authority(tmp_path), DoubtedClock()
        async with Peer().listening(authority.issue_for("peer", *NEXT_DECADE)) as peer:
            url, trust = f"https://127.0.0.1:{peer.port}/", TlsOptions(ca=authority.certificate)
            options = HttpTargetOptions(url=url, tls=trust, reconnect_first_s=0.001, reconnect_max_s=0.001)
            target = HttpTarget("cloud", options, clock)
            (outcome,) = await target.send([Outgoing(1, 1, "id", "t", "s", "", b"{}")])
            assert outcome.verdict is Verdict.DOWN
            assert "valid from 2034-01-01T00:00:00Z" in outcome.reason
            coming = asyncio.create_task(target.ready())
            async with asyncio.timeout(WAIT_S):
                while peer.visits < 4:  # sent and asked, tried again and asked
                    await asyncio.sleep(0.01)
                for _ in range(50):
                    await asyncio.sleep(0.01)
                assert peer.visits == 4
                clock.believed = True
                while "not yet valid" not in str(target.status()["last_error"]):
                    await asyncio.sleep(0.01)
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    asyncio.run(run())
