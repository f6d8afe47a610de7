"""A client's session against a server played by the test: who says what when, and what never leaves."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway.mqtt import packet as p
from gateway.mqtt.codec import Decoder, encode, encode_properties
from gateway.mqtt.session import Received, Session, SessionOptions, State, token_of
from gateway.mqtt.window import LOST


class Peer:
    """The server's end: reads what the session sends, and answers."""

    def __init__(self, session: Session, version: int = 5) -> None:
        self.session, self.version = session, version
        self.properties = encode_properties(p.NO_PROPERTIES) if version == 5 else b""
        self.connect()

    def connect(self) -> None:
        """Begin a new connection and keep its CONNECT."""
        self.decoder = Decoder()
        self.session.connect(self.version)
        (connect,) = self.sent()
        assert isinstance(connect, p.Connect)
        self.asked = connect

    def sent(self) -> list[p.Packet]:
        """Return what the session wants to say now."""
        return self.decoder.feed(self.session.data_to_send())

    def say(self, *packets: p.Packet) -> Received:
        """Say something to the session."""
        return self.session.receive(b"".join(encode(packet, self.version) for packet in packets))

    def accept(self, *, present: bool = False, **limits: Any) -> Received:
        """Let the client in."""
        received = self.say(p.Connack(present, 0, p.Properties(**limits) if limits else p.NO_PROPERTIES))
        assert self.session.state is State.CONNECTED
        return received

    def publish(self, token: object, qos: int = 1, payload: bytes = b"x", *, retain: bool = False) -> int:
        """Let the session publish."""
        return self.session.publish(b"t", payload, qos, self.properties, token, retain=retain)


def connected(version: int = 5, limits: dict[str, Any] | None = None, **options: Any) -> Peer:
    """Make a connected session and its peer."""
    peer = Peer(Session(SessionOptions(client_id="gw", **options)), version)
    peer.accept(**(limits or {}))
    return peer


def inbound(packet_id: int, qos: int = 1, *, dup: bool = False) -> p.Publish:
    """Make a message from the server."""
    return p.Publish("t", b"%d" % packet_id, qos, False, dup, packet_id)


def test_connect_asks_for_what_the_options_say() -> None:
    """CONNECT carries identity, session, will and limits; 3.1.1 carries the part it knows."""
    options = SessionOptions(
        client_id="gw", keep_alive_s=30, session_expiry_s=600, receive_maximum=50, will=p.Will("gone", b"1", 1, True)
    )
    five, three = Peer(Session(options), 5).asked, Peer(Session(options), 4).asked
    for asked in (five, three):
        assert (asked.client_id, asked.clean_start, asked.keep_alive, asked.will) == ("gw", False, 30, options.will)
    wanted = p.Properties(
        session_expiry_interval=600, receive_maximum=50, maximum_packet_size=1024 * 1024, topic_alias_maximum=32
    )
    assert (five.properties, three.properties) == (wanted, p.NO_PROPERTIES)


@pytest.mark.parametrize(("version", "code", "meaning"), [(5, 0x87, 0x87), (4, 5, 0x87), (4, 4, 0x86), (4, 1, 0x84)])
def test_refused_by_connack(version: int, code: int, meaning: int) -> None:
    """A refusal is news with MQTT 5's reason code in either version, and the session is closed."""
    peer = Peer(Session(SessionOptions(client_id="gw")), version)
    received = peer.say(p.Connack(False, code))
    assert received.news == [p.Connack(False, meaning)]
    assert received.error is None
    assert peer.session.state is State.CLOSED


def test_server_of_311_refuses_version_5_in_its_own_words() -> None:
    """A 3.1.1 server answers an MQTT 5 CONNECT with its short CONNACK, code 1: unsupported version."""
    session = Session(SessionOptions(client_id="gw"))
    session.connect(5)
    received = session.receive(bytes.fromhex("20020001"))
    assert received.news == [p.Connack(False, 0x84)]


@pytest.mark.parametrize("version", [4, 5])
def test_nothing_is_acknowledged_by_itself_qos1(version: int) -> None:
    """PUBACK leaves when the message is acknowledged, not before."""
    peer = connected(version)
    messages = peer.say(inbound(1), inbound(2)).messages
    assert messages == [inbound(1), inbound(2)]
    assert peer.sent() == []
    peer.session.acknowledge(token_of(messages[0]))
    assert peer.sent() == [p.Puback(1)]
    peer.session.acknowledge(token_of(messages[1]))
    assert peer.sent() == [p.Puback(2)]


def test_answers_leave_in_the_order_of_receipt() -> None:
    """Acknowledged in any order, across QoS 1 and 2, the answers keep the order of the messages."""
    peer = connected()
    sent = [inbound(n, 1 + n % 2) for n in (5, 2, 9, 4, 7)]
    messages = peer.say(*sent).messages
    for at in (3, 1, 4):
        peer.session.acknowledge(token_of(messages[at]))
    assert peer.sent() == []
    peer.session.acknowledge(token_of(messages[0]))
    assert peer.sent() == [p.Pubrec(5), p.Puback(2)]
    peer.session.acknowledge(token_of(messages[2]))
    assert peer.sent() == [p.Pubrec(9), p.Puback(4), p.Pubrec(7)]


def test_qos2_in_step_by_step() -> None:
    """PUBREC waits for the message's acknowledgement, PUBCOMP for that of its PUBREL."""
    peer = connected()
    (message,) = peer.say(inbound(3, 2)).messages
    assert peer.sent() == []
    peer.session.acknowledge(token_of(message))
    assert peer.sent() == [p.Pubrec(3)]
    (release,) = peer.say(p.Pubrel(3)).messages
    assert peer.sent() == []
    peer.session.acknowledge(token_of(release))
    assert peer.sent() == [p.Pubcomp(3)]


def test_qos0_has_no_answer() -> None:
    """Acknowledging a QoS 0 message sends nothing and holds nothing up."""
    peer = connected()
    messages = peer.say(p.Publish("t", b""), inbound(1)).messages
    for message in messages:
        peer.session.acknowledge(token_of(message))
    assert peer.sent() == [p.Puback(1)]


def test_acknowledging_what_is_not_there_is_harmless() -> None:
    """A token nobody waits for, or one given twice, sends nothing."""
    peer = connected()
    (message,) = peer.say(inbound(1)).messages
    for _ in range(2):
        peer.session.acknowledge(token_of(message))
    peer.session.acknowledge(77)
    assert peer.sent() == [p.Puback(1)]


def test_more_than_the_receive_maximum_is_taken() -> None:
    """A server that overruns our Receive Maximum, as Mosquitto 2.0 does with a backlog, is not cut off for it."""
    peer = connected(receive_maximum=2)
    received = peer.say(inbound(1), inbound(2), inbound(3))
    assert len(received.messages) == 3
    assert received.error is None
    assert peer.sent() == []


def test_messages_before_a_fault_are_handed_out() -> None:
    """Good messages in front of bad bytes are not lost with the connection."""
    peer = connected()
    received = peer.session.receive(encode(inbound(1), 5) + b"\x00\x00")
    assert received.messages == [inbound(1)]
    assert received.error is not None
    assert peer.sent() == [p.Disconnect(0x81)]


@pytest.mark.parametrize(
    "packet", [p.Connack(), p.Connect("x"), p.Pingreq(), p.Auth(0x18), p.Subscribe(1, (p.Subscription("a"),))]
)
def test_what_a_server_must_not_say(packet: p.Packet) -> None:
    """Packets that only a client sends, and a second CONNACK, end the connection."""
    peer = connected()
    received = peer.session.receive(encode(packet, 5))
    assert received.error is not None
    assert peer.session.state is State.CLOSED
    assert peer.sent() == [p.Disconnect(0x82)]


@pytest.mark.parametrize("packet", [inbound(1), p.Puback(1), p.Disconnect(0x89)])
def test_nothing_comes_before_connack(packet: p.Packet) -> None:
    """The first packet of a server is CONNACK."""
    peer = Peer(Session(SessionOptions(client_id="gw")))
    received = peer.say(packet)
    assert received.error is not None
    assert received.messages == []


def test_topic_alias_in() -> None:
    """An alias stands for the topic it came with last, on this connection only."""
    peer = connected()
    one, two = p.Properties(topic_alias=1), p.Properties(topic_alias=32)
    sent = [
        p.Publish(topic, b"", properties=alias)
        for topic, alias in (("a", one), ("b", two), ("", one), ("c", one), ("", one))
    ]
    received = peer.say(*sent)
    assert [m.topic for m in received.messages if isinstance(m, p.Publish)] == ["a", "b", "a", "c", "c"]
    peer.connect()
    peer.accept()
    assert peer.say(p.Publish("", b"", properties=one)).error is not None


def test_topic_alias_beyond_what_was_offered() -> None:
    """An alias over the Topic Alias Maximum is refused with 0x94."""
    peer = connected(topic_alias_max=2)
    assert peer.say(p.Publish("a", b"", properties=p.Properties(topic_alias=3))).error is not None
    assert peer.sent() == [p.Disconnect(0x94)]


def test_answers_come_back_with_their_token() -> None:
    """PUBACK's reason code comes back with the token it belongs to; success, nobody listening, refused."""
    peer = connected()
    for token in ("a", "b", "c"):
        assert peer.publish(token) == 0
    ids = [packet.packet_id for packet in peer.sent() if isinstance(packet, p.Publish)]
    received = peer.say(p.Puback(ids[0]), p.Puback(ids[1], 0x10), p.Puback(ids[2], 0x87), p.Puback(999))
    assert received.answers == [("a", 0), ("b", 0x10), ("c", 0x87)]


@pytest.mark.parametrize(("version", "limits", "size"), [(5, {"receive_maximum": 3}, 3), (5, {}, 65_535), (4, {}, 4)])
def test_window_is_the_peers_receive_maximum(version: int, limits: dict[str, Any], size: int) -> None:
    """No more messages are in flight than the peer takes; the next leave as answers come, in order."""
    peer = connected(version, limits, inflight_max=4)
    for token in range(10):
        peer.publish(token)
    first = [packet.packet_id for packet in peer.sent() if isinstance(packet, p.Publish)]
    assert len(first) == min(size, 10)
    got = []
    for packet_id in first:
        got += peer.say(p.Puback(packet_id)).answers
    later = peer.sent()
    assert len(later) == min(10 - len(first), len(first))
    assert [token for token, _ in got] == list(range(len(first)))


def test_waiting_is_bounded() -> None:
    """When nothing more may wait, publishing says so instead of growing."""
    peer = connected(5, {"receive_maximum": 1}, waiting_max=2)
    assert [peer.publish(n) for n in range(4)] == [0, 0, 0, 0x97]


def test_refused_here_what_would_kill_the_connection() -> None:
    """Too large, too high a QoS and retain where there is none are refused before they are sent."""
    peer = connected(5, {"maximum_packet_size": 30, "maximum_qos": 1, "retain_available": 0})
    fits = 30 - 2 - 3 - 2 - 1
    assert peer.publish("large", payload=b"x" * (fits + 1)) == 0x95
    assert peer.publish("exactly", qos=2) == 0x9B
    assert peer.publish("kept", retain=True) == 0x9A
    assert peer.sent() == []
    assert peer.publish("fits", payload=b"x" * fits) == 0
    (sent,) = peer.sent()
    assert len(encode(sent, 5)) == 30


def test_publish_without_a_connection() -> None:
    """Nothing is taken while there is no connection."""
    session = Session(SessionOptions(client_id="gw"))
    assert session.publish(b"t", b"", 0, b"\0", None) == 0x88
    session.connect(5)
    assert session.publish(b"t", b"", 1, b"\0", None) == 0x88


def test_qos2_out_step_by_step() -> None:
    """PUBREC brings PUBREL, PUBCOMP brings the answer; a refusal in PUBREC is the answer."""
    peer = connected()
    peer.publish("a", 2)
    peer.publish("b", 2)
    one, two = (packet.packet_id for packet in peer.sent() if isinstance(packet, p.Publish))
    received = peer.say(p.Pubrec(one), p.Pubrec(two, 0x97))
    assert received.answers == [("b", 0x97)]
    assert peer.sent() == [p.Pubrel(one)]
    assert peer.say(p.Pubcomp(one)).answers == [("a", 0)]
    assert peer.say(p.Pubrec(one)).answers == []
    assert peer.sent() == [p.Pubrel(one)]


def test_lost_connection_gives_qos1_back() -> None:
    """What had no answer, sent or waiting, comes back as lost, in order; a new connection starts clean."""
    peer = connected(5, {"receive_maximum": 2})
    for token in range(4):
        peer.publish(token)
    assert peer.session.lose() == [(n, LOST) for n in range(4)]
    peer.connect()
    peer.accept(present=True)
    assert peer.sent() == []


def test_qos2_goes_on_where_the_session_was_kept() -> None:
    """After a reconnect PUBLISH (with DUP) or PUBREL is repeated, with the same identifier, and answered once."""
    peer = connected()
    peer.publish("a", 2)
    peer.publish("b", 2)
    one, two = (packet.packet_id for packet in peer.sent() if isinstance(packet, p.Publish))
    peer.say(p.Pubrec(one))
    assert peer.session.lose() == []
    peer.connect()
    peer.accept(present=True)
    assert peer.sent() == [p.Pubrel(one), p.Publish("t", b"x", 2, False, True, two)]
    assert peer.say(p.Pubcomp(one), p.Pubrec(two), p.Pubcomp(two)).answers == [("a", 0), ("b", 0)]


def test_qos2_is_lost_where_the_session_was_not_kept() -> None:
    """A peer that forgot the session cannot go on: the messages come back as lost."""
    peer = connected()
    peer.publish("a", 2)
    peer.session.lose()
    peer.connect()
    assert peer.accept(present=False).answers == [("a", LOST)]
    assert peer.sent() == []


def test_acknowledgements_do_not_cross_connections() -> None:
    """A new connection has no unacknowledged messages: an old token answers nothing."""
    peer = connected()
    (message,) = peer.say(inbound(1)).messages
    peer.session.lose()
    peer.connect()
    peer.accept(present=True)
    peer.session.acknowledge(token_of(message))
    assert peer.sent() == []


def test_packet_ids_wrap_around_what_is_in_use() -> None:
    """After 65535 comes 1, and an identifier still in flight is passed over."""
    peer = connected()
    peer.publish("stays", 2)
    peer.sent()
    seen = []
    for n in range(65_600):
        peer.publish(n)
        (publish,) = peer.sent()
        assert isinstance(publish, p.Publish)
        seen.append(publish.packet_id)
        peer.say(p.Puback(publish.packet_id))
    assert 1 not in seen
    assert 0 not in seen
    assert seen[65_534] == 2


def test_careful_after_a_connection_that_ended_with_messages_in_flight() -> None:
    """The next connection begins with half as many in flight, down to one, and doubles as they are answered."""
    peer = connected(5, {"receive_maximum": 16})
    begun = []
    for _ in range(6):
        for token in range(40):
            peer.publish(token)
        begun.append(len(peer.sent()))
        peer.session.lose()
        peer.connect()
        peer.accept(receive_maximum=16)
    assert begun == [16, 8, 4, 2, 1, 1]
    for token in range(40):
        peer.publish(token)
    turns = []
    while sent := [packet for packet in peer.sent() if isinstance(packet, p.Publish)]:
        turns.append(len(sent))
        peer.say(*(p.Puback(packet.packet_id) for packet in sent))
    assert turns == [1, 2, 4, 8, 16, 9]


def test_as_many_as_before_after_a_connection_that_ended_idle() -> None:
    """A connection that ends with nothing in flight says nothing about the messages."""
    peer = connected(5, {"receive_maximum": 16})
    peer.session.lose()
    peer.connect()
    peer.accept(receive_maximum=16)
    for token in range(40):
        peer.publish(token)
    assert len(peer.sent()) == 16


def test_withdrawn_messages_never_leave() -> None:
    """What still waits can be taken back; what is in flight cannot."""
    peer = connected(5, {"receive_maximum": 1})
    for token in range(5):
        peer.publish(token)
    assert peer.session.window.withdraw(lambda token: token % 2 == 0) == [2, 4]
    (first,) = peer.sent()
    assert isinstance(first, p.Publish)
    got = []
    for _ in range(3):
        got += peer.say(p.Puback(first.packet_id)).answers
        first = next((x for x in peer.sent() if isinstance(x, p.Publish)), first)
    assert [token for token, _ in got] == [0, 1, 3]


def test_keep_alive_pings_and_notices_silence() -> None:
    """With nothing to say a PINGREQ leaves in time; no answer for half the interval is an error."""
    peer = connected(keep_alive_s=40)
    session = peer.session
    assert session.tick_s == 10
    assert [session.tick(now) for now in (0.0, 10.0)] == [None, None]
    assert peer.sent() == []
    session.tick(20.0)
    assert peer.sent() == [p.Pingreq()]
    peer.say(p.Pingresp())
    assert [session.tick(now) for now in (30.0, 40.0)] == [None, None]
    assert peer.sent() == []
    session.tick(50.0)
    assert peer.sent() == [p.Pingreq()]
    assert session.tick(60.0) is None
    error = session.tick(70.0)
    assert error is not None
    assert error.reason_code == 0x8D
    assert session.state is State.CLOSED


def test_keep_alive_while_sending_but_hearing_nothing() -> None:
    """A peer that takes bytes and never says anything is found out as well."""
    peer = connected(keep_alive_s=40)
    for second in range(0, 45, 5):
        peer.publish(None, 0)
        peer.sent()
        peer.session.tick(float(second))
    assert peer.sent() == [p.Pingreq()]


def test_keep_alive_check_rests_while_nobody_reads() -> None:
    """While reading is paused pings go on and silence is not held against the peer."""
    peer = connected(keep_alive_s=40)
    for second in range(0, 400, 10):
        assert peer.session.tick(float(second), reading=False) is None
    assert p.Pingreq() in peer.sent()


def test_server_sets_keep_alive_and_identity() -> None:
    """Server Keep Alive and Assigned Client Identifier replace ours, also at the next connect."""
    peer = connected(5, {"server_keep_alive": 8, "assigned_client_identifier": "given"})
    assert peer.session.tick_s == 2
    peer.connect()
    assert peer.asked.client_id == "given"


def test_subscribe_and_unsubscribe() -> None:
    """Each asks with an identifier and its answer is news."""
    peer = connected()
    one = peer.session.subscribe((p.Subscription("a/#", 1),))
    two = peer.session.unsubscribe(("a/#",))
    assert peer.sent() == [p.Subscribe(one, (p.Subscription("a/#", 1),)), p.Unsubscribe(two, ("a/#",))]
    news = [p.Suback(one, (0x87,)), p.Unsuback(two, (0,))]
    assert peer.say(*news).news == news


def test_disconnect_both_ways() -> None:
    """The server's DISCONNECT is news and the end; ours says goodbye."""
    peer = connected()
    gone = p.Disconnect(0x8E, p.Properties(reason_string="taken over"))
    assert peer.say(gone).news == [gone]
    assert peer.session.state is State.CLOSED
    peer = connected()
    peer.session.disconnect(0x04)
    assert peer.sent() == [p.Disconnect(0x04)]


@pytest.mark.parametrize("seed", range(30))
def test_every_token_comes_back_exactly_once(seed: int) -> None:
    """Whatever the peer answers, refuses or drops, and however often the link breaks, no token is lost or doubled."""
    chance = random.Random(seed)
    peer = connected(5, {"receive_maximum": chance.randrange(1, 9)})
    session, wanted, got, heard = peer.session, [], [], []
    for step in range(400):
        action = chance.random()
        if action < 0.5:
            if peer.publish(step, chance.choice([1, 1, 2])) == 0:
                wanted.append(step)
        elif action < 0.9:
            heard += peer.sent()
            for packet in list(heard):
                if chance.random() < 0.5:
                    heard.remove(packet)
                    got += peer.say(*_answer(packet, chance)).answers
        else:
            got += session.lose()
            heard.clear()
            peer.connect()
            got += peer.accept(present=chance.random() < 0.5, receive_maximum=chance.randrange(1, 9)).answers
    while session.window.unanswered:
        heard = [*heard, *peer.sent()]
        for packet in heard:
            got += peer.say(*_answer(packet, None)).answers
        heard = []
    assert sorted(token for token, _ in got) == wanted


def _answer(packet: p.Packet, chance: random.Random | None) -> list[p.Packet]:
    refuse = 0x97 if chance and chance.random() < 0.2 else 0
    if isinstance(packet, p.Publish):
        return [p.Puback(packet.packet_id, refuse) if packet.qos == 1 else p.Pubrec(packet.packet_id, refuse)]
    return [p.Pubcomp(packet.packet_id)] if isinstance(packet, p.Pubrel) else []
