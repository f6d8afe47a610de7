"""Hypothesis strategies for every MQTT packet, and one example of each for exhaustive cutting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from gateway.mqtt import packet as p
from gateway.mqtt import wire

ids = st.integers(1, p.PACKET_ID_MAX)
qos = st.integers(0, 2)
codes = st.integers(0, 255)
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
binaries = st.binary(max_size=40)
topics = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0+#"), min_size=1, max_size=30)
filters = st.one_of(
    topics.filter(lambda t: not t.startswith("$share/")),
    st.sampled_from(["#", "+", "a/+/b", "house/#", "$share/gateway/zigbee2mqtt/#"]),
)


def _value(kind: str, least: int, greatest: int) -> st.SearchStrategy[Any]:
    tops = {"u8": 255, "u16": 65_535, "u32": 0xFFFFFFFF, "varint": p.REMAINING_LENGTH_MAX}
    if kind == "u32" and least:
        greatest = p.REMAINING_LENGTH_MAX  # maximum packet size: paho takes no more, though the field does
    if kind in tops:
        return st.integers(least, min(greatest, tops[kind]))
    return {"text": texts, "binary": binaries, "pair": st.tuples(texts, texts)}[kind]


def properties(context: int) -> st.SearchStrategy[p.Properties]:
    """Make properties allowed in a packet type, each present or not."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for spec in wire.SPECS.values():
        if context not in spec.allowed or spec.name == "authentication_data":
            continue
        value = topics if spec.name == "response_topic" else _value(spec.kind, spec.least, spec.greatest)
        if spec.name == "user_property":
            fields[spec.name] = st.lists(value, max_size=3).map(tuple)
        elif spec.name == "subscription_identifier":
            fields[spec.name] = st.lists(value, max_size=3 if context == wire.PUBLISH else 1).map(tuple)
        else:
            fields[spec.name] = value
    return st.fixed_dictionaries({}, optional=fields).map(_properties)


def _properties(values: dict[str, Any]) -> p.Properties:
    made = p.Properties(**values)
    return p.NO_PROPERTIES if made == p.NO_PROPERTIES else made


def _publish(version: int) -> st.SearchStrategy[p.Publish]:
    def make(topic: str, payload: bytes, q: int, retain: bool, dup: bool, pid: int, pr: p.Properties) -> p.Publish:
        return p.Publish(topic, payload, q, retain, dup and q > 0, pid if q else 0, pr)

    pr = properties(wire.PUBLISH) if version == 5 else st.just(p.NO_PROPERTIES)
    return st.builds(make, topics, st.binary(max_size=300), qos, st.booleans(), st.booleans(), ids, pr)


def packets(version: int) -> st.SearchStrategy[p.Packet]:
    """Make any packet that a peer of this version may send."""
    five = version == 5

    def pr(context: int) -> st.SearchStrategy[p.Properties]:
        return properties(context) if five else st.just(p.NO_PROPERTIES)

    def ack(make: Callable[..., p.Packet], context: int) -> st.SearchStrategy[p.Packet]:
        return st.builds(make, ids, codes if five else st.just(0), pr(context))

    def connack(present: bool, code: int, props: p.Properties) -> p.Connack:
        return p.Connack(present and not code, code, props)

    will = st.builds(p.Will, topics, binaries, qos, st.booleans(), pr(wire.WILL))

    def connect(
        client_id: str,
        clean: bool,
        keep: int,
        user: str | None,
        word: bytes | None,
        last: p.Will | None,
        props: p.Properties,
    ) -> p.Connect:
        return p.Connect(client_id, version, clean, keep, user, word if five or user is not None else None, last, props)

    options = (
        st.builds(
            p.Subscription, filters.filter(lambda f: f[0] != "$"), qos, st.booleans(), st.booleans(), st.integers(0, 2)
        )
        if five
        else st.builds(p.Subscription, filters, qos)
    )
    many = st.lists(codes if five else st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=4).map(tuple)
    kinds: list[st.SearchStrategy[Any]] = [
        _publish(version),
        ack(p.Puback, wire.PUBACK),
        ack(p.Pubrec, wire.PUBREC),
        ack(p.Pubrel, wire.PUBREL),
        ack(p.Pubcomp, wire.PUBCOMP),
        st.builds(
            connect,
            texts,
            st.booleans(),
            st.integers(0, 65_535),
            st.none() | texts,
            st.none() | binaries,
            st.none() | will,
            pr(wire.CONNECT),
        ),
        st.builds(connack, st.booleans(), codes, pr(wire.CONNACK)),
        st.builds(p.Subscribe, ids, st.lists(options, min_size=1, max_size=3).map(tuple), pr(wire.SUBSCRIBE)),
        st.builds(p.Suback, ids, many, pr(wire.SUBACK)),
        st.builds(p.Unsubscribe, ids, st.lists(filters, min_size=1, max_size=3).map(tuple), pr(wire.UNSUBSCRIBE)),
        st.builds(p.Unsuback, ids, many if five else st.just(()), pr(wire.UNSUBACK)),
        st.builds(p.Pingreq),
        st.builds(p.Pingresp),
        st.builds(p.Disconnect, codes if five else st.just(0), pr(wire.DISCONNECT)),
    ]
    if five:
        kinds.append(st.builds(p.Auth, codes, pr(wire.AUTH)))
    return st.one_of(kinds)


_USER = p.Properties(user_property=(("a", "1"), ("a", "2")), reason_string="why")
EXAMPLES_311: tuple[p.Packet, ...] = (
    p.Connect("gw", 4, False, 60, "anna", b"secret", p.Will("gone", b"x", 1, True)),
    p.Connack(True, 0),
    p.Publish("house/hall/motion", b"on"),
    p.Publish("house/hall/motion", b"x" * 200, 1, True, True, 7),
    p.Publish("t", b"x" * 20_000, 2, packet_id=65_535),
    p.Puback(1),
    p.Pubrec(258),
    p.Pubrel(3),
    p.Pubcomp(4),
    p.Subscribe(5, (p.Subscription("a/#", 1), p.Subscription("+", 2))),
    p.Suback(5, (1, 0x80)),
    p.Unsubscribe(6, ("a/#", "b")),
    p.Unsuback(6),
    p.Pingreq(),
    p.Pingresp(),
    p.Disconnect(),
)
EXAMPLES_5: tuple[p.Packet, ...] = (
    p.Connect(
        "gw",
        5,
        False,
        60,
        "anna",
        b"secret",
        p.Will("gone", b"x", 1, True, p.Properties(will_delay_interval=5, content_type="text/plain")),
        p.Properties(session_expiry_interval=3600, receive_maximum=1000, authentication_method="m"),
    ),
    p.Connack(False, 0, p.Properties(receive_maximum=20, maximum_qos=1, server_keep_alive=30)),
    p.Publish("house/hall/motion", b"on", properties=p.Properties(topic_alias=3, subscription_identifier=(1, 300))),
    p.Publish("t", b"x" * 200, 1, True, True, 7),
    p.Publish("", b"x", 2, packet_id=9, properties=p.Properties(topic_alias=3)),
    p.Puback(1, 0x10),
    p.Puback(2, 0x87, _USER),
    p.Pubrec(258, 0x97),
    p.Pubrel(3, 0x92),
    p.Pubcomp(4, 0, _USER),
    p.Subscribe(5, (p.Subscription("a/#", 1, True, True, 2),), p.Properties(subscription_identifier=(9,))),
    p.Suback(5, (1, 0x87), _USER),
    p.Unsubscribe(6, ("a/#", "b")),
    p.Unsuback(6, (0, 0x11)),
    p.Pingreq(),
    p.Pingresp(),
    p.Disconnect(),
    p.Disconnect(0x8E, p.Properties(server_reference="other", reason_string="moved")),
    p.Auth(0x18, p.Properties(authentication_method="m", authentication_data=b"\0\1")),
)
EXAMPLES = [(4, packet) for packet in EXAMPLES_311] + [(5, packet) for packet in EXAMPLES_5]
