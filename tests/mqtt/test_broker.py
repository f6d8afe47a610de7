"""The fixture others build on: a real broker that answers, restarts on its port, and ends."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode
from tests.mqtt.broker import Broker


def _connack(broker: Broker, connect: p.Connect) -> p.Packet:
    with socket.create_connection((broker.host, broker.port), 10) as link:
        link.sendall(encode(connect, connect.version))
        return Decoder(connect.version).feed(link.recv(1000))[0]


@pytest.mark.parametrize("version", [4, 5])
def test_broker_answers_connect(broker: Broker, version: int) -> None:
    """A fresh Mosquitto accepts our CONNECT of either version, also after a restart on the same port."""
    for _ in range(2):
        connack = _connack(broker, p.Connect("probe", version))
        assert isinstance(connack, p.Connack)
        assert (connack.session_present, connack.reason_code) == (False, 0)
        broker.restart()


def test_broker_asks_for_users(mosquitto: Callable[..., Broker]) -> None:
    """With users given, only the right password is let in."""
    broker = mosquitto(users={"anna": "secret"})
    right = _connack(broker, p.Connect("a", username="anna", password=b"secret"))
    wrong = _connack(broker, p.Connect("a", username="anna", password=b"guess"))
    assert isinstance(right, p.Connack)
    assert isinstance(wrong, p.Connack)
    assert (right.reason_code, wrong.reason_code) == (0, 0x87)
