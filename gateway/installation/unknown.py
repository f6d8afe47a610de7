"""What no profile reads, by device: kept in memory so that a person can see it and be told what may fit.

A message that nobody claims costs one lookup. What is one device is guessed from the topic: up to the first level that
looks like an address or a number; else without the last level, which is then the name of a value.

Bounds: `TOPICS_MAX` topics of all sources, the one kept longest goes first; of each the last `PAYLOAD_BYTES_MAX` bytes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from gateway.profiles.context import Decoded
from gateway.sources.source import Delivery

TOPICS_MAX = 1000
PAYLOAD_BYTES_MAX = 2048  # of the last message of a topic
TOPICS_SHOWN_MAX = 12  # of a device
_ADDRESS = re.compile(r"(0x)?[0-9A-Fa-f:_-]*\d[0-9A-Fa-f:_-]*|[^/]*\d[^/]*")


class Topic(msgspec.Struct):
    """One topic that nobody reads."""

    source: str
    topic: str
    device: str  # what its messages are thought to be about
    first_ns: int
    last_ns: int
    messages: int
    payload: bytes  # the head of the last one
    bytes: int  # of the last one, whole
    reason: str


class Stranger(msgspec.Struct, frozen=True):
    """A device that no profile reads."""

    source: str
    device: str
    topics: Sequence[Topic]
    more: int  # topics beyond those

    @property
    def messages(self) -> int:
        """How many messages came on these topics."""
        return sum(topic.messages for topic in self.topics)


class Unknown:
    """Everything that nobody reads, since the start. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._topics: dict[tuple[str, str], Topic] = {}
        self._devices: Counter[tuple[str, str]] = Counter()  # topics of each

    def __len__(self) -> int:
        """Return the number of devices."""
        return len(self._devices)

    def note(self, delivery: Delivery, decoded: Decoded) -> None:
        """Take a message that no profile claims."""
        key = (delivery.source, delivery.topic)
        found = self._topics.get(key)
        if found is None:
            while len(self._topics) >= TOPICS_MAX:
                self._drop(next(iter(self._topics)))
            device, now_ns = device_of(delivery.topic), delivery.received_ns
            found = Topic(*key, device, now_ns, now_ns, 0, b"", 0, "")
            self._topics[key] = found
            self._devices[delivery.source, device] += 1
        found.messages += 1
        found.last_ns = delivery.received_ns
        found.payload, found.bytes = delivery.payload[:PAYLOAD_BYTES_MAX], len(delivery.payload)
        found.reason = decoded.rejected or ""

    def _drop(self, key: tuple[str, str]) -> None:
        device = (key[0], self._topics.pop(key).device)
        self._devices[device] -= 1
        if not self._devices[device]:
            del self._devices[device]

    def clear(self) -> None:
        """Begin anew: what is installed is another now, and may be read."""
        self._topics.clear()
        self._devices.clear()

    def strangers(self) -> Iterator[Stranger]:
        """Yield the devices, by source and name; each topic as it is now."""
        by_device: dict[tuple[str, str], list[Topic]] = {}
        for topic in self._topics.values():
            by_device.setdefault((topic.source, topic.device), []).append(msgspec.structs.replace(topic))
        for (source, device), topics in sorted(by_device.items()):
            topics.sort(key=lambda topic: topic.topic)
            yield Stranger(source, device, topics[:TOPICS_SHOWN_MAX], max(0, len(topics) - TOPICS_SHOWN_MAX))


def device_of(topic: str) -> str:
    """Return the levels of a topic that seem to name a device."""
    levels = topic.split("/")
    for number, level in enumerate(levels[1:], 2):
        if _ADDRESS.fullmatch(level):
            return "/".join(levels[:number])
    return "/".join(levels[:-1]) if len(levels) > 2 else topic
