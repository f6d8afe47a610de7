"""Answers in the order of arrival, and repetitions that become no second message."""

from __future__ import annotations

import random

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.packet import V5, V311, Puback, Pubcomp, Pubrec, Reason
from gateway.mqtt.server import Limits
from tests.mqtt.served import VERSIONS, Client, Served


def lasting(served: Served, version: int = V5) -> Client:
    """Connect to a session that outlives its connection."""
    properties = p.Properties(session_expiry_interval=3600) if version == V5 else p.NO_PROPERTIES
    return served.connect("device", version, clean_start=False, properties=properties)


@pytest.mark.parametrize("version", VERSIONS)
def test_puback_waits_for_acknowledgement(version: int) -> None:
    """A QoS 1 message is delivered at once and answered only when it has been acknowledged."""
    served = Served()
    client = served.connect(version=version)
    client.publish("a/b", b"1", 7)
    assert served.payloads() == [b"1"]
    assert client.packets() == []
    served.acknowledge()
    assert client.packets() == [Puback(7)]


def test_answers_in_order_of_arrival() -> None:
    """Whatever the order of acknowledgements, PUBACK and PUBREC leave in the order of arrival."""
    served = Served()
    client = served.connect()
    expected = []
    for packet_id in range(1, 31):
        qos = 2 if packet_id % 5 == 0 else 1
        client.publish("a", b"%d" % packet_id, packet_id, qos)
        expected.append(Pubrec(packet_id) if qos == 2 else Puback(packet_id))
    order = list(range(30))
    random.Random(3).shuffle(order)
    answers = []
    for index in order:
        served.acknowledge(index)
        answers += client.packets()
        settled = {i for i in range(30) if i in order[: order.index(index) + 1]}
        assert len(answers) == next((i for i in range(30) if i not in settled), 30)
    assert answers == expected


def test_qos_0_needs_no_answer() -> None:
    """A QoS 0 message is delivered and never answered, and its place does not hold up others."""
    served = Served()
    client = served.connect()
    client.publish("a", b"0")
    client.publish("a", b"1", 1)
    served.acknowledge(1)
    assert client.packets() == [Puback(1)]
    served.acknowledge(0)
    assert client.packets() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_repetition_of_waiting_message_is_the_same_message(version: int) -> None:
    """A message sent again after a reconnect, while the first waits for the disk, is delivered once, answered once."""
    served = Served()
    client = lasting(served, version)
    client.publish("a", b"21", 1)
    client.publish("a", b"22", 2)
    client.cut()
    client = lasting(served, version)
    client.publish("a", b"21", 1, dup=True)
    client.publish("a", b"22", 2, dup=True)
    assert served.payloads() == [b"21", b"22"]
    assert client.packets() == []
    served.acknowledge()
    assert client.packets() == [Puback(1), Puback(2)]


def test_repetition_whose_answer_was_lost() -> None:
    """A message whose PUBACK went down with the connection is answered again and not delivered again, in its turn."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"21", 1)
    served.acknowledge()
    client.cut()  # PUBACK is in `out`, nobody reads it
    client = lasting(served)
    client.publish("a", b"20", 9)
    client.publish("a", b"21", 1, dup=True)
    assert served.payloads() == [b"20"]
    assert client.packets() == []
    served.acknowledge()
    assert client.packets() == [Puback(9), Puback(1)]


def test_acknowledged_while_away() -> None:
    """A message that became safe while its client was away is answered when it comes again."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"21", 1)
    client.cut()
    served.acknowledge()
    client = lasting(served)
    client.publish("a", b"21", 1, dup=True)
    assert served.payloads() == []
    assert client.packets() == [Puback(1)]


@pytest.mark.parametrize(
    ("payload", "dup", "silence_s"), [(b"22", True, 0.0), (b"21", False, 0.0), (b"21", True, 30.0)]
)
def test_in_doubt_a_new_message(payload: bytes, dup: bool, silence_s: float) -> None:
    """Another payload, no DUP, or a sign of life long after the first: the message is a new one."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"21", 1)
    served.acknowledge()
    served.now += silence_s
    client.send(p.Pingreq())
    client.cut()
    client = lasting(served)
    client.publish("a", payload, 1, dup=dup)
    assert served.payloads() == [payload]


def test_reused_identifier_hides_the_older_message() -> None:
    """Only the latest message with a packet identifier counts: an older equal one does not swallow a new one."""
    served = Served()
    client = lasting(served)
    for payload in (b"on", b"off"):
        client.publish("a", payload, 1)
        served.acknowledge()
    client.cut()
    client = lasting(served)
    client.publish("a", b"on", 1, dup=True)
    assert served.payloads() == [b"on"]


def test_reconnect_does_not_renew_old_messages() -> None:
    """What was remembered over one reconnect is forgotten at the next one, if nothing came of it."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"21", 1)
    served.acknowledge()
    client.cut()
    client = lasting(served)
    served.now += 3600
    client.send(p.Pingreq())
    client.cut()
    client = lasting(served)
    client.publish("a", b"21", 1, dup=True)
    assert served.payloads() == [b"21"]


def test_clean_start_forgets() -> None:
    """A client that starts clean has no past: DUP or not, its message is new, and old answers do not reach it."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"21", 1)
    client.cut()
    client = served.connect("device", V311)
    client.publish("a", b"21", 1, dup=True)
    assert served.payloads() == [b"21", b"21"]
    served.acknowledge(0)
    assert client.packets() == []
    served.acknowledge(1)
    assert client.packets() == [Puback(1)]


def test_given_up_message_does_not_answer_its_successor() -> None:
    """The acknowledgement of a message its client gave up is no answer to the next one with that identifier."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"old", 1)
    client.cut()
    client = lasting(served)
    client.publish("a", b"new", 1)
    served.acknowledge(0)
    assert client.packets() == []
    served.acknowledge(1)
    assert client.packets() == [Puback(1)]


@pytest.mark.parametrize("version", VERSIONS)
def test_sent_again_on_a_living_connection(version: int) -> None:
    """A client that loses patience and sends again is not heard twice."""
    served = Served()
    client = served.connect(version=version)
    client.publish("a", b"21", 1)
    client.publish("a", b"21", 1, dup=True)
    assert served.payloads() == [b"21"]
    served.acknowledge()
    assert client.packets() == [Puback(1)]


@pytest.mark.parametrize("version", VERSIONS)
def test_qos_2(version: int) -> None:
    """QoS 2: PUBREC after the acknowledgement, repetitions answered but not delivered, PUBCOMP frees the identifier."""
    served = Served()
    client = lasting(served, version)
    client.publish("a", b"21", 5, 2)
    client.publish("a", b"21", 5, 2, dup=True)
    assert client.packets() == []
    served.acknowledge()
    assert client.packets() == [Pubrec(5)]
    client.cut()
    client = lasting(served, version)
    client.publish("a", b"21", 5, 2, dup=True)
    assert served.payloads() == []
    assert client.packets() == [Pubrec(5)]
    client.send(p.Pubrel(5))
    assert client.packets() == [Pubcomp(5)]
    client.publish("a", b"21", 5, 2)
    assert served.payloads() == [b"21"]


def test_qos_2_waiting_over_a_reconnect() -> None:
    """A QoS 2 message that waits for the disk while its client reconnects is delivered once and answered once."""
    served = Served()
    client = lasting(served)
    client.publish("a", b"21", 5, 2)
    client.cut()
    client = lasting(served)
    client.publish("a", b"21", 5, 2, dup=True)
    assert served.payloads() == [b"21"]
    assert client.packets() == []
    served.acknowledge()
    assert client.packets() == [Pubrec(5)]


def test_pubrel_of_an_unknown_identifier() -> None:
    """PUBREL for nothing is answered all the same, or it would come for ever; MQTT 5 is told so."""
    served = Served()
    for version, answer in ((V311, Pubcomp(8)), (V5, Pubcomp(8, Reason.PACKET_IDENTIFIER_NOT_FOUND))):
        client = served.connect(version=version)
        client.send(p.Pubrel(8))
        assert client.packets() == [answer]


def test_receive_maximum_is_held_to() -> None:
    """A client of MQTT 5 is told the Receive Maximum, may use all of it, and is cut off when it goes beyond."""
    served = Served(Limits(receive_max=4))
    client = served.connect()
    assert client.connack.properties.receive_maximum == 4
    for packet_id in (1, 2, 3, 4):
        client.publish("a", b"", packet_id, 2 - packet_id % 2)
    assert not client.closed
    served.acknowledge(0)
    client.publish("a", b"", 5)
    client.packets()
    assert not client.closed
    client.publish("a", b"", 6)
    assert client.closed
    assert [type(packet) for packet in client.packets()] == [p.Disconnect]
    assert "Receive Maximum" in client.connection.reason


def test_full_and_drained() -> None:
    """A session says when its client should not be read: at the limit of messages or bytes, until half is done."""
    served = Served(Limits(receive_max=4, unacknowledged_bytes_max=1000))
    client = served.connect(version=V311)
    session = client.connection.session
    assert session is not None
    for packet_id in (1, 2, 3):
        client.publish("a", b"", packet_id)
        assert not session.full
    client.publish("a", b"", 4)
    assert session.full
    served.acknowledge(0)
    assert not session.drained
    served.acknowledge(1)
    assert session.drained
    client.publish("a", bytes(1000))
    assert session.full
