"""Each dead letter of a run against the messages that were damaged on purpose: which explains it, or that none does.

A letter over MQTT is explained by a damaged message of the same topic and bytes.  A broker delivers such a message once
more when the gateway comes back and it is retained, or when it was sent again for want of an answer: more letters than
messages of the same bytes are `again`, and no fault.  A serial line has no topics: there a letter is explained by a
damaged message of the same port whose bytes hold the letter's, or are held by them: framing takes some off, and what is
left of a line that was cut runs into the next one.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

EXAMPLES_MAX = 10
EXAMPLE_CHARS = 200
REJECTED = "message_rejected"  # the only letters that damage explains


class Damaged(NamedTuple):
    """A message that was damaged on its way."""

    source: str  # of the gateway
    topic: str  # empty on a serial line
    payload: bytes


@dataclass(slots=True)
class Letters:
    """What the dead letters of a run come from."""

    explained: int = 0
    again: int = 0  # of bytes that were explained already
    unexplained: int = 0
    examples: list[str] = field(default_factory=list)


def explain(letters: Iterable[Mapping[str, Any]], damaged: Sequence[Damaged]) -> Letters:
    """Set each letter, as JSON, against what was damaged."""
    sent = Counter((each.topic, _hash(each.payload)) for each in damaged if each.topic)
    lines = [each for each in damaged if not each.topic]
    found = Letters()
    seen: Counter[tuple[str, str]] = Counter()
    for letter in letters:
        data = letter["data"]
        payload = base64.b64decode(data.get("payload_b64", ""))
        key = (str(data.get("topic", "")), data.get("payload_sha256") or _hash(payload))
        if letter["type"] == REJECTED and key in sent:
            seen[key] += 1
            found.explained += seen[key] <= sent[key]
            found.again += seen[key] > sent[key]
        elif letter["type"] == REJECTED and (line := _line_of(letter, payload, lines)) is not None:
            lines.remove(line)
            found.explained += 1
        else:
            found.unexplained += 1
            if len(found.examples) < EXAMPLES_MAX:
                found.examples.append(f"{letter['id']} {letter['type']}: {data}"[:EXAMPLE_CHARS])
    return found


def letters_of(config: Path) -> Iterator[dict[str, Any]]:
    """Yield the dead letters of a gateway that has stopped, oldest first."""
    from gateway.cli.asking.records import opened
    from gateway.history.query import EventFilter

    with opened(config) as records:
        yield from records.events(EventFilter(lanes=("dead_letter",)))


def _line_of(letter: Mapping[str, Any], payload: bytes, lines: Sequence[Damaged]) -> Damaged | None:
    source = str(letter.get("source", "")).rpartition("/")[2]
    fit = [each for each in lines if each.source == source and (payload in each.payload or each.payload in payload)]
    return max(fit, key=lambda each: len(each.payload)) if payload and fit else None


def _hash(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
