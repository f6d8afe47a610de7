"""Retained messages stay within their limits and their time."""

from __future__ import annotations

from gateway.mqtt.packet import Properties, Publish
from gateway.mqtt.retained import RetainedMessages


def kept(messages: RetainedMessages, topic_filter: str = "#", now: float = 0.0) -> dict[str, bytes]:
    """Return what a subscriber to a filter would get."""
    return {publish.topic: publish.payload for publish in messages.matching(topic_filter, now)}


def test_limit_refuses_new_topics_and_replaces_known_ones() -> None:
    """At the limit of topics a new one is refused and counted, a known one replaced, and deleting makes room."""
    messages = RetainedMessages(topics_max=2)
    assert messages.keep(Publish("a", b"1"), 0)
    assert messages.keep(Publish("b", b"1"), 0)
    assert not messages.keep(Publish("c", b"1"), 0)
    assert messages.keep(Publish("a", b"2"), 0)
    assert messages.refused == 1
    assert kept(messages) == {"a": b"2", "b": b"1"}
    assert messages.keep(Publish("b", b""), 0)
    assert messages.keep(Publish("c", b"1"), 0)


def test_limit_of_bytes() -> None:
    """The sum of topics and payloads is bounded, and counted right over replacing and deleting."""
    messages = RetainedMessages(bytes_max=100)
    assert messages.keep(Publish("a", bytes(99)), 0)
    assert not messages.keep(Publish("b", b"1"), 0)
    assert messages.keep(Publish("a", bytes(49)), 0)
    assert messages.keep(Publish("b", bytes(49)), 0)
    assert not messages.keep(Publish("a", bytes(50)), 0)
    assert messages.bytes == 100
    for topic in ("a", "b"):
        messages.keep(Publish(topic, b""), 0)
    assert messages.bytes == 0
    assert len(messages) == 0


def test_expiry() -> None:
    """A message with an expiry interval is given with what is left of it, then no more."""
    messages = RetainedMessages()
    messages.keep(Publish("a", b"1", properties=Properties(message_expiry_interval=60)), 1000.0)
    (publish,) = messages.matching("a", 1045.5)
    assert publish.properties.message_expiry_interval == 14
    assert kept(messages, "#", 1060.0) == {}
    assert len(messages) == 0


def test_filters() -> None:
    """An exact topic and a filter with wildcards find the same messages; $ topics hide from wildcards."""
    messages = RetainedMessages()
    for topic in ("house/door", "house/door/battery", "$SYS/uptime"):
        messages.keep(Publish(topic, b"1"), 0)
    assert set(kept(messages, "house/door")) == {"house/door"}
    assert set(kept(messages, "house/#")) == {"house/door", "house/door/battery"}
    assert set(kept(messages, "#")) == {"house/door", "house/door/battery"}
    assert set(kept(messages, "$SYS/#")) == {"$SYS/uptime"}
