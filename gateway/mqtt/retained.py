"""Retained messages: the last one of each topic, kept within a number and a size (sans-io).

At a limit a new topic is refused and counted, a known one is still replaced: a device that publishes to ever
new topics cannot push out what others rely on. A message with an expiry interval is gone when it has passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.mqtt.packet import NO_PROPERTIES, Properties, Publish
from gateway.topic import matches

TOPICS_MAX: Final = 10_000
BYTES_MAX: Final = 16 * 1024 * 1024


class Retained(msgspec.Struct, frozen=True, gc=False):
    """One retained message. `expires` is a time of the caller's clock in seconds; None = never."""

    publish: Publish
    expires: float | None = None

    @property
    def size(self) -> int:
        """Return the bytes counted against the limit."""
        return len(self.publish.topic) + len(self.publish.payload)


class RetainedMessages:
    """What a new subscriber gets at once (MQTT 5 section 3.3.1.3)."""

    def __init__(self, topics_max: int = TOPICS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._topics_max = topics_max
        self._bytes_max = bytes_max
        self._by_topic: dict[str, Retained] = {}
        self.bytes = 0
        self.refused = 0  # messages not kept because of a limit

    def __len__(self) -> int:
        return len(self._by_topic)

    def keep(self, publish: Publish, now: float) -> bool:
        """Keep, replace, or with an empty payload delete; return False where a limit forbids it."""
        topic = publish.topic
        before = self._by_topic.get(topic)
        if not publish.payload:
            if before is not None:
                self._forget(topic)
            return True
        interval = publish.properties.message_expiry_interval
        one = Retained(publish, None if interval is None else now + interval)
        size = self.bytes - (before.size if before else 0) + one.size
        if size > self._bytes_max or (before is None and len(self._by_topic) >= self._topics_max):
            self.refused += 1
            return False
        self._by_topic[topic] = one
        self.bytes = size
        return True

    def matching(self, topic_filter: str, now: float) -> Iterator[Publish]:
        """Yield what matches a filter and has not expired, with the expiry interval that is left."""
        exact = self._by_topic.get(topic_filter)
        wild = "+" in topic_filter or "#" in topic_filter
        found = [one for topic, one in self._by_topic.items() if matches(topic_filter, topic)] if wild else [exact]
        for one in found:
            if one is None:
                continue
            left = fresh(one.publish, one.expires, now)
            if left is None:
                self._forget(one.publish.topic)
            else:
                yield left

    def _forget(self, topic: str) -> None:
        self.bytes -= self._by_topic.pop(topic).size

    @staticmethod
    def as_row(publish: Publish) -> dict[str, Any] | None:
        """Return what is kept over a restart, as plain values; None deletes the topic's row."""
        if not publish.payload:
            return None
        row: dict[str, Any] = {"payload": publish.payload, "qos": publish.qos}
        if publish.properties is not NO_PROPERTIES:
            row["properties"] = msgspec.to_builtins(publish.properties, builtin_types=(bytes,))
        return row

    def restore(self, rows: Mapping[str, Mapping[str, Any]], now: float) -> None:
        """Take rows back; an expiry interval counts from now (late, never early)."""
        for topic, row in rows.items():
            properties = msgspec.convert(row["properties"], Properties) if "properties" in row else NO_PROPERTIES
            self.keep(Publish(topic, row["payload"], row["qos"], retain=True, properties=properties), now)


def fresh(publish: Publish, expires: float | None, now: float) -> Publish | None:
    """Return the message with the expiry interval that is left (section 3.3.2.3.3), None if it has passed."""
    if expires is None:
        return publish
    if expires <= now:
        return None
    left = msgspec.structs.replace(publish.properties, message_expiry_interval=max(1, int(expires - now)))
    return msgspec.structs.replace(publish, properties=left)
