"""Who wants a topic: topic filters in a tree, and a bounded memory of topics looked up before (sans-io).

A topic is looked up level by level, so that the cost depends on its depth and not on how many clients subscribe.
A client whose filters overlap gets one copy, at the greatest QoS of those that match (section 3.3.4 allows it).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from gateway.mqtt.packet import Subscription

TOPICS_CACHED_MAX: Final = 4096

Key = TypeVar("Key", bound=Hashable)


class Wish(msgspec.Struct, frozen=True, gc=False):
    """One granted subscription: its options and the identifier the client gave it (0 = none)."""

    subscription: Subscription
    identifier: int = 0


class Receiver(msgspec.Struct, Generic[Key], frozen=True):
    """One client that gets a topic, with its overlapping subscriptions merged."""

    key: Key
    qos: int
    no_local: bool  # not to the client that published it
    retain_as_published: bool
    identifiers: tuple[int, ...] = ()


class _Level(Generic[Key]):
    """One level of the tree; `wishes` are the filters that end here."""

    __slots__ = ("below", "wishes")

    def __init__(self) -> None:
        self.below: dict[str, _Level[Key]] = {}
        self.wishes: dict[Key, Wish] = {}


class Subscriptions(Generic[Key]):
    """All subscriptions of all clients."""

    def __init__(self) -> None:
        self._root: _Level[Key] = _Level()
        self._known: dict[str, tuple[Receiver[Key], ...]] = {}
        self.count = 0

    def add(self, key: Key, wish: Wish) -> bool:
        """Subscribe `key`, replacing the same filter; return whether it is new."""
        level = self._root
        for name in wish.subscription.topic_filter.split("/"):
            below = level.below.get(name)
            if below is None:
                below = level.below[name] = _Level()
            level = below
        new = key not in level.wishes
        level.wishes[key] = wish
        self.count += new
        self._known.clear()
        return new

    def remove(self, key: Key, topic_filter: str) -> bool:
        """Unsubscribe; return whether there was such a subscription. Levels nobody needs go too."""
        path: list[tuple[_Level[Key], str]] = []
        level = self._root
        for name in topic_filter.split("/"):
            below = level.below.get(name)
            if below is None:
                return False
            path.append((level, name))
            level = below
        if level.wishes.pop(key, None) is None:
            return False
        self.count -= 1
        self._known.clear()
        for above, name in reversed(path):
            if level.wishes or level.below:
                break
            del above.below[name]
            level = above
        return True

    def receivers(self, topic: str) -> tuple[Receiver[Key], ...]:
        """Return who gets `topic`, each client once."""
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= TOPICS_CACHED_MAX:
                self._known.clear()
            known = self._known[topic] = self._look_up(topic)
        return known

    def _look_up(self, topic: str) -> tuple[Receiver[Key], ...]:
        found: dict[Key, list[Wish]] = {}
        for level in self._matching(topic.split("/"), wildcards=not topic.startswith("$")):
            for key, wish in level.wishes.items():
                found.setdefault(key, []).append(wish)
        return tuple(_merged(key, wishes) for key, wishes in found.items())

    def _matching(self, names: list[str], *, wildcards: bool) -> Iterator[_Level[Key]]:
        """Walk down all branches at once; `wildcards` False: not on the first level (section 4.7.2)."""
        levels = [self._root]
        for depth, name in enumerate(names):
            below = []
            for level in levels:
                if wildcards or depth:
                    if (rest := level.below.get("#")) is not None:
                        yield rest
                    if (one := level.below.get("+")) is not None:
                        below.append(one)
                if (same := level.below.get(name)) is not None:
                    below.append(same)
            levels = below
        for level in levels:
            yield level
            if (rest := level.below.get("#")) is not None:  # "a/#" matches "a" too (section 4.7.1.2)
                yield rest


def _merged(key: Key, wishes: list[Wish]) -> Receiver[Key]:
    subscriptions = [wish.subscription for wish in wishes]
    return Receiver(
        key,
        max(subscription.qos for subscription in subscriptions),
        all(subscription.no_local for subscription in subscriptions),
        any(subscription.retain_as_published for subscription in subscriptions),
        tuple(wish.identifier for wish in wishes if wish.identifier),
    )
