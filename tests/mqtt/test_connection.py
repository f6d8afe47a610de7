"""A connection against a real Mosquitto: what survives a cut, a restart, a wrong password, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.codes.clock import CLIENT_ID_TAKEN
from gateway.mqtt.connection import Connection, Phase
from gateway.mqtt.link import Link
from gateway.mqtt.options import MessageOptions, TlsOptions
from gateway.mqtt.session import token_of
from gateway.mqtt.window import LOST
from gateway.secrets import Secret
from simulators.processes import free_port
from tests.mqtt.authority import Authority
from tests.mqtt.broker import Broker
from tests.mqtt.owner import Mark, Recorder, play, running, until

NONE = b"\0"  # no properties


def send(connection: Connection, topic: str, *payloads: object, qos: int = 1) -> None:
    """Publish payloads in order, each its own token."""
    assert connection.link is not None
    properties = NONE if connection.link.version == 5 else b""
    for payload in payloads:
        assert connection.link.publish(topic.encode(), str(payload).encode(), qos, properties, payload) == 0


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_there_and_back(broker: Broker, version: str, qos: int) -> None:
    """A thousand messages through the broker come back whole, in order, each answered once."""

    async def scene() -> None:
        owner = Recorder(("t/#", qos))
        async with running(owner, broker.url, version=version, inflight_max=50) as connection:
            send(connection, "t/1", *range(1000), qos=qos)
            await until(lambda: len(owner.messages) == 1000)
            assert owner.payloads == [str(n) for n in range(1000)]
            assert {message.qos for message in owner.messages} == {qos}
            if qos:
                await until(lambda: len(owner.answers) == 1000)
                assert owner.answers == [(n, 0) for n in range(1000)]
            if qos == 2:
                await until(lambda: len(owner.releases) == 1000)

    play(scene())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_puback_is_withheld(broker: Broker, version: str) -> None:
    """What was not acknowledged comes again on the next connection, marked DUP; what was does not."""

    async def scene() -> None:
        first = Recorder(("t", 1), acknowledge=False)
        async with running(first, broker.url, version=version) as connection:
            send(connection, "t", *range(10))
            await until(lambda: len(first.messages) == 10)
            for message in first.messages[:4]:
                first.links[0].acknowledge(Mark(token_of(message)))
        second = Recorder()
        async with running(second, broker.url, version=version):
            await until(lambda: len(second.messages) == 6)
        assert second.payloads == ["4", "5", "6", "7", "8", "9"]
        assert all(message.dup for message in second.messages)
        assert second.present == [True]

    play(scene())


def test_acknowledging_over_an_old_connection_does_nothing(broker: Broker) -> None:
    """An acknowledgement that comes after its connection ended neither fails nor answers for the new one."""

    async def scene() -> None:
        owner = Recorder(("t", 1), acknowledge=False)
        async with running(owner, broker.url) as connection:
            send(connection, "t", "a")
            await until(lambda: owner.messages)
            old = owner.links[0]
            old.abort()
            await until(lambda: len(owner.messages) == 2)
            old.acknowledge(Mark(token_of(owner.messages[0])))
            old.publish(b"t", b"", 1, NONE, None)
        again = Recorder()
        async with running(again, broker.url):
            await until(lambda: again.messages)
        assert again.messages[0].dup

    play(scene())


def test_qos2_unacknowledged_comes_again(broker: Broker) -> None:
    """A QoS 2 message is repeated until PUBREC leaves, and its PUBREL until PUBCOMP does."""

    async def scene() -> None:
        owner = Recorder(("t", 2), acknowledge=False)
        async with running(owner, broker.url) as connection:
            send(connection, "t", "a", qos=2)
            await until(lambda: owner.messages)
            owner.links[-1].abort()
            await until(lambda: len(owner.messages) == 2)
            assert owner.messages[1].dup
            owner.links[-1].acknowledge(Mark(token_of(owner.messages[1])))
            await until(lambda: owner.releases)
            owner.links[-1].abort()
            await until(lambda: len(owner.releases) == 2)
            owner.links[-1].acknowledge(Mark(token_of(owner.releases[1])))
            send(connection, "t", "b", qos=2)
            await until(lambda: len(owner.messages) == 3)
        assert owner.payloads == ["a", "a", "b"]

    play(scene())


def test_broker_restarted_in_the_middle(mosquitto: Callable[..., Broker]) -> None:
    """The session outlives a broker's restart: nothing that it took is missing, and the next messages arrive."""
    broker = mosquitto(persistence=True)

    async def scene() -> None:
        owner = Recorder(("t", 1), acknowledge=False)
        async with running(owner, broker.url) as connection:
            send(connection, "t", *range(20))
            await until(lambda: len(owner.messages) == 20 and len(owner.answers) == 20)
            await asyncio.to_thread(broker.restart)
            await until(lambda: len(owner.messages) == 40)
            assert owner.present == [False, True]
            await until(lambda: connection.link is not None)
            send(connection, "t", "after")
            await until(lambda: "after" in owner.payloads)
            assert connection.connects == 2

    play(scene())


def test_messages_in_flight_are_given_back(mosquitto: Callable[..., Broker]) -> None:
    """A killed broker leaves no token unanswered: each comes back with an answer or as lost."""
    broker = mosquitto()

    async def scene() -> None:
        owner = Recorder()
        async with running(owner, broker.url) as connection:
            send(connection, "t", *range(2000))
            broker.kill()
            await until(lambda: owner.endings == 1)
            assert sorted(token for token, _ in owner.answers + owner.lost) == list(range(2000))
            assert {code for _, code in owner.lost} <= {LOST}
            assert connection.link is None
            assert connection.phase in (Phase.WAITING, Phase.CONNECTING)
            broker.start()
            await asyncio.wait_for(connection.ready(), 30)
            assert connection.connects == 2

    play(scene())


def test_wrong_password_is_a_state(mosquitto: Callable[..., Broker], tmp_path: Path) -> None:
    """A refused password is a state that says so, tried rarely; the repaired file is read at the next try."""
    broker = mosquitto(users={"gw": "right"})
    secret = tmp_path / "password"
    secret.write_text("wrong\n")

    async def scene() -> None:
        owner = Recorder()
        options: dict[str, Any] = {"username": "gw", "password": Secret("file", str(secret))}
        async with running(owner, broker.url, wait=False, **options) as connection:
            await until(lambda: connection.phase is Phase.REFUSED)
            said = connection.status()
            assert said["last_error"] == "refused: Not authorized"
            assert said["state"] == "refused"
            assert not said["connected"]
            assert "wrong" not in repr(said)
            secret.unlink()
            await until(lambda: "cannot read the secret" in str(connection.status().get("last_error")))
            secret.write_text("right\n")
            await until(lambda: connection.phase is Phase.CONNECTED)
            assert "last_error" not in connection.status()

    play(scene())


def test_refused_is_not_tried_again_at_once(mosquitto: Callable[..., Broker]) -> None:
    """After a refusal the broker is left alone for as long as the option says."""
    broker = mosquitto(users={"gw": "right"})

    async def scene() -> None:
        async with running(Recorder(), broker.url, wait=False, refused_wait_s=600) as connection:
            await until(lambda: connection.phase is Phase.REFUSED)
            await asyncio.sleep(0.5)
            assert broker.log.read_text().count("New connection") == 2  # the fixture's own look, and ours

    play(scene())


def test_nobody_there(tmp_path: Path) -> None:
    """Without a broker the state says that it cannot connect, and goes on trying."""

    async def scene() -> None:
        async with running(Recorder(), f"mqtt://127.0.0.1:{free_port()}", wait=False) as connection:
            await until(lambda: connection.phase is Phase.WAITING)
            assert "cannot connect" in str(connection.status()["last_error"])

    play(scene())


@pytest.fixture
def tls_broker(mosquitto: Callable[..., Broker], authority: Authority) -> Broker:
    """Run a broker that shows a certificate and asks for one."""
    certificate, key = authority.issue("broker")
    return mosquitto(
        tls={"cafile": authority.certificate, "certfile": certificate, "keyfile": key},
        options={"use_identity_as_username": "true"},
    )


@pytest.mark.parametrize("websockets", [False, True])
def test_tls_with_client_certificate(mosquitto: Callable[..., Broker], authority: Authority, websockets: bool) -> None:
    """With the CA and a client certificate messages pass, by TCP and by WebSockets."""
    server, server_key = authority.issue("broker")
    files = {"cafile": authority.certificate, "certfile": server, "keyfile": server_key}
    broker = mosquitto(tls=files, websockets=websockets)
    certificate, key = authority.issue("gw")

    async def scene() -> None:
        owner = Recorder(("t", 1))
        tls = TlsOptions(ca=authority.certificate, certificate=certificate, key=key, alpn=["mqtt"])
        async with running(owner, broker.url, tls=tls) as connection:
            send(connection, "t", *range(200))
            await until(lambda: len(owner.messages) == 200 and len(owner.answers) == 200)
            assert owner.payloads == [str(n) for n in range(200)]

    play(scene())


def test_tls_peer_is_not_trusted(tls_broker: Broker, tmp_path: Path) -> None:
    """A broker whose certificate nobody we know signed is refused, with words."""
    stranger = Authority(tmp_path, "Somebody else")

    async def scene() -> None:
        tls = TlsOptions(ca=stranger.certificate)
        async with running(Recorder(), tls_broker.url, wait=False, tls=tls) as connection:
            await until(lambda: connection.phase is Phase.REFUSED)
            assert "certificate of the broker is not trusted" in str(connection.status()["last_error"])

    play(scene())


def test_tls_without_our_certificate(tls_broker: Broker, authority: Authority) -> None:
    """A broker that asks for a certificate and gets none does not let us in; we are never connected."""

    async def scene() -> None:
        tls = TlsOptions(ca=authority.certificate)
        async with running(Recorder(), tls_broker.url, wait=False, tls=tls) as connection:
            await until(lambda: connection.phase in (Phase.REFUSED, Phase.WAITING))
            assert connection.connects == 0
            assert connection.status()["last_error"]

    play(scene())


def test_tls_file_that_is_missing(tls_broker: Broker, tmp_path: Path) -> None:
    """A certificate file that is not there is named."""

    async def scene() -> None:
        tls = TlsOptions(ca=tmp_path / "no.pem")
        async with running(Recorder(), tls_broker.url, wait=False, tls=tls) as connection:
            await until(lambda: connection.phase is Phase.REFUSED)
            assert "no.pem: No such file" in str(connection.status()["last_error"])

    play(scene())


def test_birth_and_will(broker: Broker) -> None:
    """Birth is there with the connection, the will when the line is cut, birth again, and the will at goodbye."""
    messages = {
        "birth": MessageOptions(topic="gw/state", payload="online"),
        "will": MessageOptions(topic="gw/state", payload="offline"),
    }

    async def scene() -> None:
        watcher = Recorder(("gw/state", 1))
        async with running(watcher, broker.url, client_id="watcher"):
            for version in ("5", "3.1.1"):
                watcher.messages.clear()
                owner = Recorder()
                async with running(owner, broker.url, version=version, **messages):
                    await until(lambda: watcher.payloads == ["online"])
                    owner.links[0].abort()
                    await until(lambda: watcher.payloads == ["online", "offline", "online"])
                await until(lambda: watcher.payloads == ["online", "offline", "online", "offline"])
        late = Recorder(("gw/state", 1))
        async with running(late, broker.url, client_id="late"):
            await until(lambda: late.messages)
            assert late.messages[0].retain

    play(scene())


def test_refused_messages_do_not_stop_the_others(mosquitto: Callable[..., Broker]) -> None:
    """A topic that the ACL refuses is answered so, each time, though this Mosquitto closes after every refusal."""
    broker = mosquitto(acl="topic readwrite open/#\n")

    async def scene() -> None:
        owner = Recorder()
        refused: list[object] = []
        async with running(owner, broker.url, reconnect_first_s=5, reconnect_max_s=60) as connection:
            for n in range(20):
                await asyncio.wait_for(connection.ready(), 30)
                send(connection, "open/1" if n % 2 else "closed", n)
                await until(lambda n=n: n in dict(owner.answers))  # type: ignore[misc]
                if n % 2 == 0:
                    refused.append(n)
                    await until(lambda: connection.connects == len(refused) + 1)
        assert [token for token, code in owner.answers if code == 0x87] == refused
        assert len(owner.answers) == 20

    play(scene())


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_two_with_one_client_id_do_not_fight(mosquitto: Callable[..., Broker], version: str) -> None:
    """Two that push each other off the broker stop soon: one is connected, the other waits and says what it is."""
    broker = mosquitto()

    async def scene() -> None:
        quick = {"version": version, "reconnect_first_s": 0.01, "reconnect_max_s": 0.05, "refused_wait_s": 3600}
        owners = [Telling(), Telling()]
        async with (
            running(owners[0], broker.url, client_id="copied", **quick) as one,
            running(owners[1], broker.url, client_id="copied", **quick) as other,
        ):
            await until(lambda: {one.phase, other.phase} == {Phase.REFUSED, Phase.CONNECTED})
            outside = one if one.phase is Phase.REFUSED else other
            assert CLIENT_ID_TAKEN.title in str(outside.status()["last_error"])
            assert "'copied'" in str(outside.status()["last_error"])

    play(scene())


class Telling(Recorder):
    """Has something to say at once, each time."""

    def connected(self, link: Link, *, session_present: bool) -> None:
        """Say it."""
        super().connected(link, session_present=session_present)
        link.publish(b"t", b"1", 1, NONE if link.version == 5 else b"", "1")


def test_birth_that_is_refused_is_given_up(mosquitto: Callable[..., Broker]) -> None:
    """A birth message that the ACL refuses is said to be, and does not cost every connection after it."""
    broker = mosquitto(acl="topic readwrite open/#\n")

    async def scene() -> None:
        owner = Recorder()
        async with running(owner, broker.url, birth=MessageOptions(topic="closed", payload="online")) as connection:
            await until(lambda: connection.connects == 2)
            await asyncio.wait_for(connection.ready(), 30)
            send(connection, "open/1", "a")
            await until(lambda: owner.answers)
            assert connection.connects == 2

    play(scene())


def test_paused_reads_nothing_and_loses_nothing(broker: Broker) -> None:
    """While paused nothing is handed over and the connection stays; afterwards everything comes."""

    async def scene() -> None:
        owner = Recorder(("t", 1))
        async with running(owner, broker.url) as connection:
            connection.pause()
            sender = Recorder()
            async with running(sender, broker.url, client_id="sender") as other:
                send(other, "t", *range(100))
                await until(lambda: len(sender.answers) == 100)
                await asyncio.sleep(0.1)
                assert owner.messages == []
                connection.resume()
                await until(lambda: len(owner.messages) == 100)
            assert connection.connects == 1

    play(scene())


def test_read_tick_gathers_and_keeps_order(broker: Broker) -> None:
    """Under a steady stream reads are gathered; every message arrives, in order, and in fewer pieces than messages."""

    async def scene() -> None:
        pieces = []

        class Counting(Recorder):
            def received(self, link: Any, received: Any) -> None:
                if received.messages:
                    pieces.append(len(received.messages))
                super().received(link, received)

        owner = Counting(("t", 0))
        receiving = running(owner, broker.url, read_tick_ms=500.0)  # much longer than a loaded machine's turns
        async with receiving, running(Recorder(), broker.url, client_id="sender") as other:
            for n in range(400):
                send(other, "t", n, qos=0)
                await asyncio.sleep(0.001)
            await until(lambda: len(owner.messages) == 400)
        assert owner.payloads == [str(n) for n in range(400)]
        assert len(pieces) < 200

    play(scene())


def test_a_full_window_waits_for_no_tick(mosquitto: Callable[..., Broker]) -> None:
    """Answers that make room for messages held back are read at once, however long the tick."""

    async def scene() -> None:
        broker = mosquitto(options={"max_inflight_messages": 10})
        owner = Recorder()
        async with running(owner, broker.url, read_tick_ms=60_000.0) as connection:
            for n in range(500):
                send(connection, "t", n)
            await until(lambda: len(owner.answers) >= 490)

    play(scene())
