"""`dead-letters`: what could not be decoded or was refused, and what to do with it."""

from __future__ import annotations

import argparse
import base64
import binascii
from collections.abc import Iterator
from typing import Any

from gateway.cli.terminal import complain, printable, say, say_json, table
from gateway.cli.verb import Verbs, add, group

BAD = 1
HEAD_CHARS = 60  # of a payload, in the list


def add_verbs(verbs: Verbs) -> None:
    """Declare `dead-letters list|show|retry|drop`."""
    words = group(verbs, "dead-letters", "messages and events that were set aside: list, show, retry, drop")
    parser = add(
        words,
        "list",
        "dead letters, oldest first, with their reason",
        listing,
        examples=["edge-gateway dead-letters list", "edge-gateway dead-letters list --all --json"],
        json=True,
    )
    parser.add_argument("--all", action="store_true", help="those retried or dropped, too")
    for name, title, run in (
        ("show", "one dead letter, with the message or event in it", show),
        ("retry", "try again: decode the message once more, or queue the event for its routes", retry),
        ("drop", "mark as seen: it is not listed any more", drop),
    ):
        parser = add(
            words, name, title, run, examples=[f"edge-gateway dead-letters {name} 0a1b2c3d4e5f-1-2f"], json=True
        )
        parser.add_argument("id", help="the dead letter's id, as `list` shows it")


def listing(words: argparse.Namespace) -> int:
    """List dead letters."""
    found = list(_letters(words, words.all))
    if words.json:
        say_json(found)
        return 0
    if not found:
        say("no dead letters", "green")
        return 0
    rows = [[e["id"], e.get("time"), e["type"], _about(e), e["data"].get("reason"), e.get("state")] for e in found]
    table(["id", "time", "what", "about", "reason", "state"], rows)
    return 0


def show(words: argparse.Namespace) -> int:
    """Show one dead letter with its content."""
    found = next((event for event in _letters(words, True) if event["id"] == words.id), None)
    if found is None:
        complain(f"no dead letter {words.id!r}. Type: edge-gateway dead-letters list")
        return BAD
    if words.json:
        say_json(found)
        return 0
    for key in ("id", "time", "type", "source", "subject", "state"):
        if found.get(key):
            say(f"{key:<10} {printable(str(found[key]))}")
    for key, value in found["data"].items():
        text = _payload(value) if key in ("payload_b64", "payload_head_b64") else str(value)
        say(f"{key.removesuffix('_b64'):<10} {printable(text)}")
    return 0


def retry(words: argparse.Namespace) -> int:
    """Ask the gateway to try again."""
    return _ask(words, "dead_letter_retry")


def drop(words: argparse.Namespace) -> int:
    """Ask the gateway to mark as seen."""
    return _ask(words, "dead_letter_drop")


def _ask(words: argparse.Namespace, what: str) -> int:
    from gateway.api.client import ApiClient
    from gateway.config.places import places

    with ApiClient(places(words.config).socket) as client:
        answer = client.ask(what, id=words.id)
    if words.json:
        say_json(answer)
    else:
        say(answer["state"])
    return 0


def _letters(words: argparse.Namespace, everything: bool) -> Iterator[dict[str, Any]]:
    from gateway.cli.records import opened
    from gateway.history.query import EventFilter

    with opened(words.config) as records:
        states = records.table("dead_letters")
        for event in records.events(EventFilter(lanes=("dead_letter",))):
            state = states.get(event["id"], {}).get("state", "")
            if everything or not state:
                yield {**event, "state": state}


def _about(event: dict[str, Any]) -> str:
    data = event["data"]
    if "topic" in data:
        return f"{data['topic']} {printable(_payload(data.get('payload_b64', '')))[:HEAD_CHARS]}"
    inner = data.get("event", {})
    return f"{inner.get('type', '')} {event.get('subject', '')}".strip()


def _payload(text: str) -> str:
    """Show a payload as text where it is one."""
    try:
        return base64.b64decode(text).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
