"""`notifications list` and `notify`: what waits, what went where and why not; and telling somebody by hand."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import Colour, say, say_json, table
from gateway.cli.verb import BAD, OK, Verbs, add, group

WAIT_S = 30.0
_COLOURS: dict[str, Colour] = {"sent": "green", "waits": "yellow"}


def add_verbs(verbs: Verbs) -> None:
    """Declare `notify` and the group."""
    parser = add(
        verbs,
        "notify",
        "tell somebody, to see that it works",
        notify,
        examples=["edge-gateway notify anna 'can you read this?'", "edge-gateway notify everyone fire --urgent"],
        json=True,
    )
    parser.add_argument("to", help="a recipient or a group of [notify]")
    parser.add_argument("text")
    parser.add_argument("--title", default="", help="the line above the text")
    parser.add_argument("--urgent", action="store_true", help="in quiet hours, too")
    inner = group(verbs, "notifications", "who was told what")
    parser = add(
        inner,
        "list",
        "what waits and why, and what became of the others",
        listing,
        examples=["edge-gateway notifications list", "edge-gateway notifications list --json | jq .waiting"],
        json=True,
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="the newest outcomes (default: 20)")


def notify(words: argparse.Namespace) -> int:
    """Tell somebody and wait for what becomes of it; 1 when it was not sent."""
    about = {"to": words.to, "text": words.text, "title": words.title, "urgent": words.urgent}
    found = ask(words, "notify", **about, wait_s=WAIT_S)
    if words.json:
        say_json(found)
    for each in [] if words.json else found:
        why = f": {each['why']}" if each.get("why") else ""
        say(f"{each['to']}: {each['outcome']}{why}", _COLOURS.get(each["outcome"], "red"))
    return OK if all(each["outcome"] == "sent" for each in found) else BAD


def listing(words: argparse.Namespace) -> int:
    """Print what waits, and the newest outcomes."""
    found = ask(words, "notifications", limit=words.limit)
    if words.json:
        say_json(found)
        return OK
    for each in found["recipients"]:
        if each["error"]:
            say(f"{each['name']} cannot be reached: {each['error']}", "red")
        if each["dropped"]:
            say(f"{each['dropped']} for {each['name']} were dropped: too many waited", "yellow")
    if found["waiting"]:
        say("waiting", "bold")
        rows = [(e["to"], e["asked"], e["text"], e["rule"], e["why"], e["expires"]) for e in found["waiting"]]
        table(("to", "asked", "text", "rule", "why", "until"), rows)
        say()
    if found["past"]:
        say("over", "bold")
        table(("to", "when", "outcome", "text", "rule", "reason"), [_row(each) for each in found["past"]])
    elif not found["waiting"]:
        say(
            "nobody was told anything"
            if found["recipients"]
            else "nobody can be told: add a [notify.NAME] to the config"
        )
    return OK


def _row(event: dict[str, Any]) -> tuple[Any, ...]:
    data, outcome = event["data"], event["type"].removeprefix("notification_")
    return data["to"], event["time"], outcome, data.get("text"), data.get("rule"), data.get("reason")
