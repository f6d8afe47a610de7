"""One connection from CONNECT to its end: what is refused, what is due, and that no bytes do harm."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt import packet as p
from gateway.mqtt.codec import encode
from gateway.mqtt.packet import V5, V311, Properties, Puback, Publish, Reason
from gateway.mqtt.server import Limits
from tests.mqtt.served import VERSIONS, Client, Served


def disconnect_reason(client: Client) -> int | None:
    """Return the reason code of the DISCONNECT that was sent, None without one."""
    codes = [packet.reason_code for packet in client.packets() if isinstance(packet, p.Disconnect)]
    return codes[0] if codes else None


@pytest.mark.parametrize("version", VERSIONS)
def test_connect_and_ping(version: int) -> None:
    """CONNECT is accepted without a session, PINGREQ is answered, DISCONNECT closes."""
    client = Served().connect("a", version)
    assert (client.connack.session_present, client.connack.reason_code) == (False, 0)
    client.send(p.Pingreq())
    assert client.packets() == [p.Pingresp()]
    client.send(p.Disconnect())
    assert client.closed


@pytest.mark.parametrize(
    ("connect", "reason_311", "reason_5"),
    [
        ({"username": "anna", "password": b"wrong"}, 4, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({"username": "bert", "password": b"right"}, 4, Reason.BAD_USER_NAME_OR_PASSWORD),
        ({}, 5, Reason.NOT_AUTHORIZED),
        ({"client_id": "x" * 300, "username": "anna", "password": b"right"}, 2, Reason.CLIENT_IDENTIFIER_NOT_VALID),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_refused(connect: dict[str, object], reason_311: int, reason_5: int, version: int) -> None:
    """Who may not connect is told why in the words of its version, and closed; nothing of it stays."""
    served = Served(users={"anna": b"right"})
    fields = {"client_id": "a", **connect}
    client = served.connect(version=version, **fields)  # type: ignore[arg-type]
    assert client.connack.reason_code == (reason_311 if version == V311 else reason_5)
    assert client.closed
    assert not served.broker.sessions
    assert not served.broker.connections


def test_right_password() -> None:
    """The right password lets a client in."""
    client = Served(users={"anna": b"right"}).connect(username="anna", password=b"right")
    assert client.connack.reason_code == 0


def test_client_without_identifier() -> None:
    """A client without an identifier gets one (MQTT 5 is told which), but no lasting session in 3.1.1."""
    served = Served()
    client = served.connect("", V5)
    assert client.connack.properties.assigned_client_identifier == "assigned-1"
    assert served.connect("", V311).connack.reason_code == 0
    assert served.connect("", V311, clean_start=False).connack.reason_code == 2


def test_extended_authentication_is_refused() -> None:
    """An authentication method is refused by name, not ignored."""
    client = Served().connect(properties=Properties(authentication_method="SCRAM-SHA-1"))
    assert client.connack.reason_code == Reason.BAD_AUTHENTICATION_METHOD


def test_old_protocol_is_told() -> None:
    """A client of MQTT 3.1 gets the return code for an unacceptable protocol version."""
    client = Client(Served(), V311)
    client.send_bytes(b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a")
    assert client.packets() == [p.Connack(False, 1)]
    assert client.closed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "packet", [p.Connect("a", V311), p.Suback(1, (0,)), p.Pingresp(), p.Connack(), p.Unsuback(1, (0,))]
)
def test_packets_out_of_place(version: int, packet: p.Packet) -> None:
    """A second CONNECT, and what only a server sends, end the connection."""
    client = Served().connect(version=version)
    client.send(packet)
    assert client.closed
    assert disconnect_reason(client) == (Reason.PROTOCOL_ERROR if version == V5 else None)


def test_what_came_before_a_fault_counts() -> None:
    """Whole messages in front of garbage are delivered, and answered nowhere: the client sends them again."""
    served = Served()
    client = served.connect(version=V5)
    good = encode(Publish("a", b"1", 1, packet_id=1), V5)
    client.send_bytes(good + b"\xf7\x00garbage")
    assert served.payloads() == [b"1"]
    assert client.closed
    served.acknowledge()
    assert disconnect_reason(client) == Reason.MALFORMED_PACKET


def test_oversized_packet() -> None:
    """A packet over the limit, which MQTT 5 is told in CONNACK, ends the connection before its body is read."""
    served = Served(Limits(packet_bytes_max=1000))
    client = served.connect()
    assert client.connack.properties.maximum_packet_size == 1000
    client.publish("a", bytes(900))
    assert served.payloads() == [bytes(900)]
    client.send_bytes(encode(Publish("a", bytes(2000)), V5)[:5])
    assert client.closed
    assert disconnect_reason(client) == Reason.PACKET_TOO_LARGE


def test_topic_alias() -> None:
    """An alias stands for the topic it was set to, can be set again, and is not passed on."""
    served = Served()
    watcher = served.watch("#")
    client = served.connect()
    assert client.connack.properties.topic_alias_maximum == 32
    one = Properties(topic_alias=1)
    client.publish("house/door", b"1", properties=one)
    client.publish("", b"2", properties=one)
    client.publish("house/window", b"3", properties=one)
    client.publish("", b"4", properties=Properties(topic_alias=1, content_type="text"))
    served.acknowledge()
    got = [packet for packet in watcher.packets() if isinstance(packet, Publish)]
    assert [packet.topic for packet in got] == ["house/door", "house/door", "house/window", "house/window"]
    assert [packet.properties for packet in got] == [p.NO_PROPERTIES] * 3 + [Properties(content_type="text")]


@pytest.mark.parametrize("alias", [7, 33])
def test_bad_topic_alias(alias: int) -> None:
    """An alias never set, or beyond what CONNACK allows, ends the connection."""
    client = Served().connect()
    client.publish("", b"1", properties=Properties(topic_alias=alias))
    assert client.closed
    assert disconnect_reason(client) == Reason.TOPIC_ALIAS_INVALID


def test_aliases_end_with_the_connection() -> None:
    """A new connection knows no aliases of the one before it."""
    served = Served()
    properties = Properties(session_expiry_interval=60)
    client = served.connect(properties=properties)
    client.publish("house/door", b"1", properties=Properties(topic_alias=1))
    client.cut()
    client = served.connect(clean_start=False, properties=properties)
    client.publish("", b"2", properties=Properties(topic_alias=1))
    assert client.closed


@pytest.mark.parametrize("version", VERSIONS)
def test_keep_alive(version: int) -> None:
    """A client is gone when it was silent for one and a half of its keep-alive, and not before."""
    served = Served()
    client = served.connect(version=version, keep_alive=10)
    served.pass_time(14)
    client.send(p.Pingreq())
    served.pass_time(15)
    assert not client.closed
    served.pass_time(1)
    assert client.closed
    assert disconnect_reason(client) == (Reason.KEEP_ALIVE_TIMEOUT if version == V5 else None)


def test_keep_alive_needs_a_reader() -> None:
    """A client that is not read now (backpressure) is not blamed for its silence."""
    served = Served()
    client = served.connect(keep_alive=10)
    client.connection.unread = True
    served.pass_time(100)
    assert not client.closed
    client.connection.unread = False
    client.connection.last_heard = served.now
    served.pass_time(16)
    assert client.closed


def test_no_keep_alive() -> None:
    """Keep-alive 0 means that silence says nothing."""
    served = Served()
    client = served.connect(keep_alive=0)
    served.pass_time(100_000, step=1000)
    assert not client.closed


def test_connect_must_come() -> None:
    """A socket that says nothing is closed after a while."""
    served = Served()
    client = Client(served, V5)
    served.pass_time(10)
    assert not client.closed
    served.pass_time(1)
    assert client.closed
    assert not served.broker.connections


SEEDS = [
    encode(p.Connect("x", V311), V311),
    encode(p.Connect("x", V5, will=p.Will("w", b"gone")), V5),
    encode(Publish("a/b", b"payload", 1, packet_id=5), V5),
    encode(Publish("a/b", b"payload", 2, packet_id=6), V311),
    encode(p.Pubrel(6), V5),
    encode(p.Subscribe(1, (p.Subscription("a/#", 1),)), V5),
    encode(p.Unsubscribe(1, ("a/#",)), V5),
    encode(Puback(1), V5),
    encode(p.Pingreq(), V5),
    encode(p.Disconnect(), V5),
]


def _bent(random_: random.Random) -> bytes:
    data = bytearray(b"".join(random_.choices(SEEDS, k=random_.randint(1, 6))))
    for _ in range(random_.randint(0, 4)):
        data[random_.randrange(len(data))] = random_.randrange(256)
    return bytes(data[: random_.randint(1, len(data))])


@given(st.integers(0, 2**32), st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_do_harm(seed: int, pieces: list[bytes]) -> None:
    """Whatever a client sends, nothing is raised, and another client is served as if nothing had happened."""
    served = Served()
    watcher = served.watch("witness")
    random_ = random.Random(seed)
    for version in VERSIONS:
        bad = served.connect("bad", version) if random_.random() < 0.7 else Client(served, version)
        for piece in [_bent(random_), *pieces, _bent(random_)]:
            bad.send_bytes(piece)
        bad.cut()
    served.pass_time(2)
    served.acknowledge()
    good = served.connect("good")
    good.publish("witness", b"alive", 1)
    served.acknowledge()
    assert good.packets() == [Puback(1)]
    assert watcher.messages()[-1] == ("witness", b"alive", 1)
    watcher.cut()
    good.cut()
    assert not served.broker.connections
