"""`alerts list` and `alerts ack`: what is raised now, and that somebody has seen it."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import say, say_json, table
from gateway.cli.verb import OK, Verbs, add, group


def add_verbs(verbs: Verbs) -> None:
    """Declare the group."""
    inner = group(verbs, "alerts", "what is raised now, and acknowledging it")
    add(
        inner,
        "list",
        "what is raised now: since when, by which rule, who was told, what comes next",
        listing,
        examples=["edge-gateway alerts list", "edge-gateway alerts list --json | jq '.[].text'"],
        json=True,
    )
    parser = add(
        inner,
        "ack",
        "say that somebody has seen an alert: nobody is told again, escalation stops",
        acknowledge,
        examples=["edge-gateway alerts ack freezer_warm", "edge-gateway alerts ack 3f9a12c0"],
        json=True,
    )
    parser.add_argument("alert", help="its key (then all with that key), or the beginning of its id")


def listing(words: argparse.Namespace) -> int:
    """Print the alerts that are raised now."""
    found = ask(words, "alerts")
    if words.json:
        say_json(found)
    elif found:
        headers = ("id", "key", "since", "state", "text", "device", "rule", "told", "next")
        table(headers, [_row(each) for each in found], ["red" if _loud(each) else None for each in found])
    else:
        say("nothing is raised", "green")
    return OK


def acknowledge(words: argparse.Namespace) -> int:
    """Acknowledge alerts, and say which."""
    found = ask(words, "alerts_acknowledge", alert=words.alert)
    if words.json:
        say_json(found)
    for each in [] if words.json else found:
        if each["state"] == "acknowledged":
            say(f"acknowledged by {each['acknowledged_by']}: {each['text']}")
        else:
            say(f"recorded: {each['text']}; the rules have not looked at it yet, see: edge-gateway status", "yellow")
    return OK


def _row(each: dict[str, Any]) -> tuple[Any, ...]:
    state = each["state"] + (f" by {each['acknowledged_by']}" if each["acknowledged_by"] else "")
    state += f", {each['count']} times" if each["count"] > 1 else ""
    told = ", ".join([*each["told"], *(f"{device} on" for device in each["held"])])
    told += f" (waits for {'; '.join(each['waiting'])})" if each["waiting"] else ""
    after = f"{each['next_to']} at {each['next_at']}" if each["next_to"] else ""
    return each["short"], each["key"], each["since"], state, each["text"], each["device"], each["rule"], told, after


def _loud(each: dict[str, Any]) -> bool:
    return (each["state"], each["lane"]) == ("raised", "alarm")
