"""The tree of topic filters finds what matching filter by filter finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.packet import Subscription
from gateway.mqtt.subscriptions import Receiver, Subscriptions, Wish
from gateway.topic import is_filter, matches

LEVELS = st.sampled_from(["a", "b", "", "+", "#", "$SYS"])
FILTERS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(is_filter)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$SYS"]), min_size=1, max_size=4).map("/".join).filter(bool)


@given(
    st.lists(st.tuples(st.integers(0, 3), FILTERS), max_size=12),
    st.lists(st.integers(0, 11), max_size=6),
    st.lists(TOPICS, min_size=1, max_size=4),
)
def test_tree_agrees_with_matches(added: list[tuple[int, str]], removed: list[int], topics: list[str]) -> None:
    """After any subscribing and unsubscribing, a topic reaches exactly the clients with a filter that matches it."""
    tree: Subscriptions[int] = Subscriptions()
    plain: set[tuple[int, str]] = set()
    for key, topic_filter in added:
        assert tree.add(key, Wish(Subscription(topic_filter))) == ((key, topic_filter) not in plain)
        plain.add((key, topic_filter))
        for topic in topics:
            tree.receivers(topic)  # what is remembered must not outlive a change
    for index in removed:
        if index < len(added):
            assert tree.remove(*added[index]) == (added[index] in plain)
            plain.discard(added[index])
    assert tree.count == len(plain)
    for topic in topics:
        found = [receiver.key for receiver in tree.receivers(topic)]
        assert sorted(found) == sorted({key for key, topic_filter in plain if matches(topic_filter, topic)})


def test_empty_tree_keeps_nothing() -> None:
    """Levels that nobody needs any more are gone."""
    tree: Subscriptions[int] = Subscriptions()
    for topic_filter in ("a/b/c", "a/b", "a/#"):
        tree.add(1, Wish(Subscription(topic_filter)))
    for topic_filter in ("a/b/c", "a/b", "a/#"):
        assert tree.remove(1, topic_filter)
    assert not tree._root.below


def test_same_filter_replaces() -> None:
    """Subscribing to the same filter again changes its options."""
    tree: Subscriptions[int] = Subscriptions()
    assert tree.add(1, Wish(Subscription("a", 0)))
    assert not tree.add(1, Wish(Subscription("a", 1, no_local=True), 5))
    assert tree.receivers("a") == (Receiver(1, 1, True, False, (5,)),)
