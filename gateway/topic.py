"""MQTT topic names and filters: validity and matching (MQTT 5 section 4.7; the same in 3.1.1)."""

from __future__ import annotations

TOPIC_BYTES_MAX = 65_535


def is_name(topic: str) -> bool:
    """Return whether `topic` may be published to: not empty, no wildcard, no NUL."""
    return bool(topic) and not any(c in topic for c in "+#\0") and len(topic.encode()) <= TOPIC_BYTES_MAX


def is_filter(topic_filter: str) -> bool:
    """Return whether `topic_filter` may be subscribed to; a ``$share/<group>/`` prefix is allowed."""
    if not topic_filter or "\0" in topic_filter or len(topic_filter.encode()) > TOPIC_BYTES_MAX:
        return False
    if topic_filter.startswith("$share/"):
        group, _, topic_filter = topic_filter[7:].partition("/")
        if not group or not topic_filter or "+" in group or "#" in group:
            return False
    levels = topic_filter.split("/")
    if any("#" in level and (level != "#" or i != len(levels) - 1) for i, level in enumerate(levels)):
        return False
    return not any("+" in level and level != "+" for level in levels)


def unshared(topic_filter: str) -> str:
    """Return the filter without its ``$share/<group>/`` prefix (MQTT 5 section 4.8.2)."""
    return topic_filter.split("/", 2)[2] if topic_filter.startswith("$share/") else topic_filter


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether a topic name matches a filter; wildcards at the start skip ``$`` topics."""
    if topic.startswith("$") and topic_filter[:1] in ("+", "#"):
        return False
    wanted, got = topic_filter.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(got) or (level not in ("+", got[i])):
            return False
    return len(wanted) == len(got)
