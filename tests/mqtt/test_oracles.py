"""Other people's MQTT as the judge: paho-mqtt's bytes, and live exchanges with paho, aiomqtt and Mosquitto."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.mqtt import packet as p
from gateway.mqtt import wire
from gateway.mqtt.codec import Decoder, encode
from tests.mqtt.broker import Broker
from tests.mqtt.packets import properties

WAIT_S = 60.0
CONTEXTS = [c for c in range(16) if c not in (wire.PINGREQ, wire.PINGRESP)]


def _paho_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_")).replace("Qos", "QoS")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(CONTEXTS).flatmap(lambda c: st.tuples(st.just(c), properties(c))))
def test_properties_same_bytes_as_paho(case: tuple[int, p.Properties]) -> None:
    """Paho reads every property that we write, and we read what paho writes, to the same values."""
    context, ours = case
    theirs = PahoProperties(PacketTypes.WILLMESSAGE if context == wire.WILL else context)
    for name in p.Properties.__struct_fields__:
        value = getattr(ours, name)
        many = value if isinstance(value, tuple) else (value,)
        for one in (one for one in many if one is not None):
            setattr(theirs, _paho_name(name), one)
    raw = theirs.pack()
    reader = wire.Reader(context, raw, 0, len(raw))
    assert reader.properties() == ours
    reader.end()
    back = PahoProperties(theirs.packetType)
    back.unpack(wire.properties(ours))
    assert back.json() == theirs.json()


class Link:
    """Our codec as the server end of one paho client, blocking."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(WAIT_S)
        self.decoder = Decoder()
        self.waiting: list[p.Packet] = []
        self.events: list[tuple[Any, ...]] = []
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            "paho",
            protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311,
            **({} if version == 5 else {"clean_session": False}),
        )

    def accept(self) -> None:
        """Take the connection of the client's thread."""
        self.socket, _ = self.listener.accept()
        self.socket.settimeout(WAIT_S)

    def receive(self) -> p.Packet:
        """Return the next packet from paho."""
        while not self.waiting:
            self.waiting = self.decoder.feed(self.socket.recv(65_536))
        return self.waiting.pop(0)

    def wait_for(self, event: tuple[Any, ...]) -> None:
        """Wait until paho has said something."""
        end = time.monotonic() + WAIT_S
        while event not in self.events:
            assert time.monotonic() < end, self.events
            time.sleep(0.005)

    def send(self, *packets: p.Packet) -> None:
        """Send packets to paho."""
        self.socket.sendall(b"".join(encode(packet, self.version) for packet in packets))

    def close(self) -> None:
        """End the client's thread, then the sockets."""
        self.client.loop_stop()
        self.socket.close()
        self.listener.close()


@pytest.fixture(params=[4, 5])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    """Connect paho to our codec."""
    link = Link(request.param)
    five = link.version == 5
    client, port = link.client, link.listener.getsockname()[1]
    client.username_pw_set("anna", "secret")
    will = PahoProperties(PacketTypes.WILLMESSAGE)
    will.WillDelayInterval = 7
    client.will_set("gone", b"bye", 1, True, will if five else None)
    connect = PahoProperties(PacketTypes.CONNECT)
    connect.SessionExpiryInterval = 3600
    client.on_connect = lambda _c, _u, flags, code, _p: link.events.append((flags.session_present, code.value))
    client.on_subscribe = lambda _c, _u, mid, codes, _p: link.events.append((mid, [c.value for c in codes]))
    client.on_publish = lambda _c, _u, mid, code, _p: link.events.append((mid, code.value))
    client.on_unsubscribe = lambda _c, _u, mid, _codes, _p: link.events.append((mid,))
    client.on_message = lambda _c, _u, m: link.events.append((m.topic, m.payload, m.qos, m.retain))
    kwargs = {"clean_start": False, "properties": connect} if five else {}
    client.connect_async("127.0.0.1", port, keepalive=600, **kwargs)
    client.loop_start()
    link.accept()
    yield link
    link.close()


def test_paho_as_client_of_our_codec(link: Link) -> None:
    """A whole conversation: each packet paho sends is read with its fields, each of ours is understood."""
    five = link.version == 5
    connect = link.receive()
    assert isinstance(connect, p.Connect)
    said = (connect.client_id, connect.version, connect.clean_start, connect.keep_alive)
    assert said == ("paho", link.version, False, 600)
    assert (connect.username, connect.password) == ("anna", b"secret")
    will_properties = p.Properties(will_delay_interval=7) if five else p.NO_PROPERTIES
    assert connect.will == p.Will("gone", b"bye", 1, True, will_properties)
    assert connect.properties.session_expiry_interval == (3600 if five else None)
    link.send(p.Connack(True, 0, p.Properties(receive_maximum=10, topic_alias_maximum=5)))

    options = SubscribeOptions(1, noLocal=True, retainAsPublished=True, retainHandling=2)
    link.client.subscribe([("a/#", options)] if five else [("a/#", 1)])
    subscribe = link.receive()
    wanted = p.Subscription("a/#", 1, True, True, 2) if five else p.Subscription("a/#", 1)
    assert isinstance(subscribe, p.Subscribe)
    assert subscribe.subscriptions == (wanted,)
    link.send(p.Suback(subscribe.packet_id, (1,)))

    sent = []
    for qos in (0, 1, 2):
        link.client.publish("up/ä", f"m{qos}", qos, retain=qos == 1)
        publish = link.receive()
        assert isinstance(publish, p.Publish)
        assert (publish.topic, publish.payload, publish.qos, publish.retain) == ("up/ä", b"m%d" % qos, qos, qos == 1)
        sent.append(publish.packet_id)
        if qos == 1:
            link.send(p.Puback(publish.packet_id, 0x10))
        if qos == 2:
            link.send(p.Pubrec(publish.packet_id))
            assert link.receive() == p.Pubrel(publish.packet_id)
            link.send(p.Pubcomp(publish.packet_id))

    down = [
        p.Publish("a/0", b"0"),
        p.Publish("a/1", b"1", 1, True, packet_id=5),
        p.Publish("a/2", b"2" * 200, 2, packet_id=6),
    ]
    link.send(*down)
    assert link.receive() == p.Puback(5)
    assert link.receive() == p.Pubrec(6)
    link.send(p.Pubrel(6))
    assert link.receive() == p.Pubcomp(6)
    link.client.unsubscribe("a/#")
    unsubscribe = link.receive()
    assert isinstance(unsubscribe, p.Unsubscribe)
    assert unsubscribe.topic_filters == ("a/#",)
    link.send(p.Unsuback(unsubscribe.packet_id, (0,) if five else ()), p.Pingresp())
    link.wait_for((unsubscribe.packet_id,))  # whoever disconnects reads no more
    link.client.disconnect()
    assert link.receive() == p.Disconnect()
    link.client.loop_stop()
    codes = {event for event in link.events if len(event) == 2 and isinstance(event[0], int) and event[0] in sent}
    assert (True, 0) in link.events
    assert (subscribe.packet_id, [1]) in link.events
    assert (sent[1], 0x10 if five else 0) in codes
    assert [event for event in link.events if len(event) == 4] == [
        ("a/0", b"0", 0, False),
        ("a/1", b"1", 1, True),
        ("a/2", b"2" * 200, 2, False),
    ]


def test_aiomqtt_and_mosquitto_understand_us(broker: Broker) -> None:
    """Through a real broker: aiomqtt gets our PUBLISH with its properties, and we get aiomqtt's."""
    asyncio.run(_exchange(broker))


async def _exchange(broker: Broker) -> None:
    reader, writer = await asyncio.open_connection(broker.host, broker.port)
    decoder = Decoder(5)

    async def receive() -> p.Packet:
        while not (packets := decoder.feed(await reader.read(65_536))):
            pass
        assert len(packets) == 1
        return packets[0]

    def send(packet: p.Packet) -> None:
        writer.write(encode(packet, 5))

    asked = p.Properties(
        session_expiry_interval=60, receive_maximum=30, topic_alias_maximum=9, user_property=(("k", "v"),)
    )
    send(p.Connect("ours", keep_alive=600, will=p.Will("w", b"", 1), properties=asked))
    connack = await receive()
    assert isinstance(connack, p.Connack)
    assert (connack.reason_code, connack.session_present) == (0, False)
    subscriptions = (p.Subscription("down/#", 2, True, True, 1), p.Subscription("$share/g/s/+", 1))
    send(p.Subscribe(9, subscriptions, p.Properties(subscription_identifier=(300,))))
    assert await receive() == p.Suback(9, (2, 1))
    async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5, timeout=WAIT_S) as other:
        await other.subscribe("up/#", qos=2)
        content = PahoProperties(PacketTypes.PUBLISH)
        content.ContentType, content.CorrelationData = "application/json", b"\x00\x01"
        content.UserProperty = [("a", "1"), ("a", "2")]
        await other.publish("down/1", b"{}", qos=1, properties=content)
        got = await receive()
        assert isinstance(got, p.Publish)
        assert (got.topic, got.payload, got.qos) == ("down/1", b"{}", 1)
        assert got.properties == p.Properties(
            content_type="application/json",
            correlation_data=b"\x00\x01",
            user_property=(("a", "1"), ("a", "2")),
            subscription_identifier=(300,),
        )
        send(p.Puback(got.packet_id))
        send(_up())
        pubrec = await receive()
        assert pubrec == p.Pubrec(77)
        send(p.Pubrel(77))
        assert await receive() == p.Pubcomp(77)
        message = await anext(aiter(other.messages))
        assert (str(message.topic), message.payload) == ("up/2", b"y" * 300)
        assert message.properties is not None
        assert message.properties.json() == {"ContentType": "text/plain", "UserProperty": [("id", "ü")]}
    send(p.Unsubscribe(10, ("down/#",)))
    assert await receive() == p.Unsuback(10, (0,))
    send(p.Disconnect())
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


def _up() -> p.Publish:
    properties = p.Properties(content_type="text/plain", user_property=(("id", "ü"),))
    return p.Publish("up/2", b"y" * 300, 2, packet_id=77, properties=properties)
