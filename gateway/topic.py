"""MQTT topic names and filters: validity and matching (MQTT 5 section 4.7; the same in 3.1.1); templates of names."""

from __future__ import annotations

import re
from collections.abc import Mapping

TOPIC_BYTES_MAX = 65_535
TEMPLATE_FIELDS = ("gateway", "source", "device", "type", "lane")  # what the topic of an event may be made of
_FIELD = re.compile(r"\{([^{}]*)\}")
_FORBIDDEN = re.compile("[+#\0-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")


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


def check_template(template: str) -> None:
    """Raise ValueError when a template such as ``site/{device}/{type}`` cannot make topics to publish to."""
    for field in _FIELD.findall(template):
        if field not in TEMPLATE_FIELDS:
            known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
            raise ValueError(f"{{{field}}} in topic: use {known}")
    if not is_name(_FIELD.sub("x", template)):
        raise ValueError(f"{template!r} does not make a topic to publish to")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Fill in the fields; characters that a topic may not have become ``_``, what is too long is cut."""
    filled = _FIELD.sub(lambda found: _FORBIDDEN.sub("_", values[found[1]]), template)
    return filled.encode()[:TOPIC_BYTES_MAX].decode(errors="ignore")
