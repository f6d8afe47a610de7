"""The same connection over paho-mqtt: WebSockets and proxies, with acknowledgement still in our hands."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
import pytest

from gateway.mqtt import packet as p
from gateway.mqtt import via_paho
from gateway.mqtt.connection import Phase
from gateway.mqtt.options import MessageOptions
from gateway.mqtt.session import token_of
from gateway.mqtt.window import LOST
from simulators.processes import wait_until
from tests.mqtt.broker import Broker
from tests.mqtt.owner import WAIT_S, Mark, Recorder, play, running, until
from tests.mqtt.proxies import proxy
from tests.mqtt.test_connection import NONE, send


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_there_and_back_by_websockets(mosquitto: Callable[..., Broker], version: str, qos: int) -> None:
    """Messages pass through a WebSockets listener both ways, in order, each answered once."""
    broker = mosquitto(websockets=True)

    async def scene() -> None:
        owner = Recorder(("t/#", qos))
        async with running(owner, broker.url, version=version) as connection:
            send(connection, "t/1", *range(300), qos=qos)
            await until(lambda: len(owner.messages) == 300)
            assert owner.payloads == [str(n) for n in range(300)]
            assert {message.qos for message in owner.messages} == {min(qos, 1)}
            if qos:
                await until(lambda: len(owner.answers) == 300)
                assert sorted(owner.answers) == [(n, 0) for n in range(300)]

    play(scene())


def test_a_message_that_comes_while_others_are_handed_over(mosquitto: Callable[..., Broker]) -> None:
    """One that paho has in hand just as those before it are taken waits for no other to come."""
    broker = mosquitto(websockets=True)
    in_hand = threading.Event()

    class Arrived(deque[p.Publish]):
        def append(self, message: p.Publish) -> None:
            if self:
                in_hand.set()
                assert wait_until(lambda: not self, WAIT_S)
            super().append(message)

    async def scene() -> None:
        owner = Recorder(("t", 1))
        async with running(owner, broker.url) as connection:
            connection.link._arrived = Arrived()  # type: ignore[union-attr]
            send(connection, "t", "a", "b")
            assert in_hand.wait(WAIT_S)  # on the loop's thread: nothing is handed over meanwhile
            await until(lambda: owner.payloads == ["a", "b"])

    play(scene())


def test_puback_is_withheld_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """What was not acknowledged comes again on the next connection, marked DUP."""
    broker = mosquitto(websockets=True)

    async def scene() -> None:
        first = Recorder(("t", 1), acknowledge=False)
        async with running(first, broker.url) as connection:
            send(connection, "t", *range(10))
            await until(lambda: len(first.messages) == 10 and len(first.answers) == 10)
            for message in first.messages[:4]:
                first.links[0].acknowledge(Mark(token_of(message)))
        second = Recorder()
        async with running(second, broker.url):
            await until(lambda: len(second.messages) == 6)
        assert second.payloads == ["4", "5", "6", "7", "8", "9"]
        assert all(message.dup for message in second.messages)
        assert second.present == [True]

    play(scene())


def test_refusals_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """A reason code in PUBACK comes back, and what the broker does not take is refused before it is sent."""
    broker = mosquitto(websockets=True, acl="topic readwrite open/#\n", options={"max_packet_size": 200})

    async def scene() -> None:
        owner = Recorder()
        async with running(owner, broker.url) as connection:
            send(connection, "closed", "a")
            await until(lambda: owner.answers == [("a", 0x87)])
            await until(lambda: connection.connects == 2)  # Mosquitto 2.0.11 closes after a refusal
            assert connection.link is not None
            assert connection.link.publish(b"open/1", b"x" * 200, 1, NONE, "c") == 0x95

    play(scene())


def test_broker_lost_and_found_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """A killed broker gives every token back and is found again when it runs."""
    broker = mosquitto(websockets=True)

    async def scene() -> None:
        owner = Recorder(("t", 1))
        async with running(owner, broker.url) as connection:
            send(connection, "t", *range(500))
            broker.kill()
            await until(lambda: owner.endings == 1)
            assert sorted(token for token, _ in owner.answers + owner.lost) == list(range(500))
            assert {code for _, code in owner.lost} <= {LOST}
            broker.start()
            await asyncio.wait_for(connection.ready(), 30)
            send(connection, "t", "again")
            await until(lambda: "again" in owner.payloads)

    play(scene())


def test_wrong_password_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """A refused password is the same clear state as without WebSockets."""
    broker = mosquitto(websockets=True, users={"gw": "right"})

    async def scene() -> None:
        for version in ("5", "3.1.1"):
            async with running(Recorder(), broker.url, wait=False, version=version) as connection:
                await until(lambda: connection.phase is Phase.REFUSED)
                assert "Not authorized" in str(connection.status()["last_error"])

    play(scene())


def test_will_at_goodbye_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """Birth with the connection, the will's words when the gateway stops."""
    broker = mosquitto(websockets=True)
    messages = {
        "birth": MessageOptions(topic="gw/state", payload="online"),
        "will": MessageOptions(topic="gw/state", payload="offline"),
    }

    async def scene() -> None:
        watcher = Recorder(("gw/state", 1))
        async with running(watcher, broker.url, client_id="watcher"):
            async with running(Recorder(), broker.url, **messages):
                await until(lambda: watcher.payloads == ["online"])
            await until(lambda: list(dict.fromkeys(watcher.payloads)) == ["online", "offline"])

    play(scene())


def test_goodbye_waits_for_the_answer_to_the_will(
    mosquitto: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DISCONNECT leaves behind the PUBACK of our last word, which would reset the closed connection under it."""
    broker = mosquitto(websockets=True)
    monkeypatch.setattr(via_paho, "FAREWELL_S", 60.0)
    order: list[str] = []

    class Telling(paho.Client):
        def _handle_pubackcomp(self, *arguments: Any) -> Any:
            order.append("PUBACK")
            return super()._handle_pubackcomp(*arguments)

        def disconnect(self, *arguments: Any) -> Any:
            order.append("DISCONNECT")
            return super().disconnect(*arguments)

    monkeypatch.setattr(via_paho.paho, "Client", Telling)

    async def scene() -> None:
        async with running(Recorder(), broker.url, will=MessageOptions(topic="gw/state", payload="offline")):
            assert order == []

    play(scene())
    assert order == ["PUBACK", "DISCONNECT"]


def test_a_try_that_took_too_long_is_closed(mosquitto: Callable[..., Broker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that was given up and gets through later is nobody's connection, and is closed before the next one."""
    broker = mosquitto(websockets=True)
    given_up, late = threading.Event(), threading.Event()
    tries: list[paho.Client] = []

    class Slow(paho.Client):
        def connect(self, *arguments: Any, **more: Any) -> Any:
            tries.append(self)
            if len(tries) == 1:
                given_up.wait(WAIT_S)
                try:
                    return super().connect(*arguments, **more)
                finally:
                    late.set()
            late.wait(WAIT_S)
            assert wait_until(lambda: tries[0]._sock is None, WAIT_S), "nobody closed it"
            return super().connect(*arguments, **more)

    monkeypatch.setattr(via_paho.paho, "Client", Slow)

    async def scene() -> None:
        owner = Recorder(("t", 1))
        async with running(owner, broker.url, wait=False, connect_timeout_s=1.0) as connection:
            await until(lambda: "no connection within" in str(connection.status().get("last_error")))
            given_up.set()
            await until(lambda: owner.subscribed)
            send(connection, "t", "a")
            await until(lambda: owner.payloads == ["a"])
            assert (len(owner.links), owner.endings) == (1, 0)

    play(scene())


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_through_a_proxy(broker: Broker, scheme: str) -> None:
    """Messages pass through an HTTP or SOCKS proxy, which was asked for the broker."""

    async def scene() -> None:
        owner = Recorder(("t", 1))
        async with proxy(scheme) as (url, asked), running(owner, broker.url, proxy=url) as connection:
            send(connection, "t", *range(100))
            await until(lambda: len(owner.messages) == 100 and len(owner.answers) == 100)
            assert asked == [(broker.host, broker.port)]

    play(scene())


def test_paused_by_websockets(mosquitto: Callable[..., Broker]) -> None:
    """While paused at most what paho had in hand is handed over; afterwards everything comes."""
    broker = mosquitto(websockets=True)

    async def scene() -> None:
        owner = Recorder(("t", 1))
        async with running(owner, broker.url) as connection:
            connection.pause()
            async with running(Recorder(), broker.url, client_id="sender") as other:
                send(other, "t", *range(100))
                await asyncio.sleep(0.3)
                assert len(owner.messages) <= 1
                connection.resume()
                await until(lambda: len(owner.messages) == 100)

    play(scene())
