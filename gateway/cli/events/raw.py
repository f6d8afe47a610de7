"""`events --raw`: messages as they come, with the profile that reads them, or why none does."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gateway.cli.asking.running import connected
from gateway.cli.terminal.printing import printable, say, say_json
from gateway.cli.verb import OK

SECONDS = 10.0  # without --follow


def raw(words: argparse.Namespace) -> int:
    """Print what comes until it has been long enough, or --limit messages came."""
    seconds = 0.0 if words.follow else SECONDS if words.seconds is None else words.seconds
    count = 0
    with connected(words.config) as client:
        for item in client.stream("raw", topic=words.topic, source=words.source, seconds=seconds):
            if words.json:
                say_json(item)
            else:
                show(item)
            sys.stdout.flush()
            count += "missed" not in item
            if count == words.limit:
                break
    if not count and not words.json:
        say(
            f"nothing came within {seconds:g} s: a broker brings what profiles ask for, a port what its device says",
            "dim",
        )
    return OK


def show(item: dict[str, Any]) -> None:
    """Print one message, or what was missed."""
    if "missed" in item:
        say(f"    … {item['missed']} messages more than could be shown", "yellow")
        return
    if "refused" in item:
        say(printable(f"{item['source']}  {item['bytes']} bytes  {item['payload']}"))
        for reason, count in item["refused"].items():
            say(
                printable(f"    refused by the framing: {reason}" + (f" ({count} times)" if count > 1 else "")),
                "yellow",
            )
        return
    marks = " retained" if item["retained"] else ""
    head = f"{item['time']}  {item['source']}  {item['topic']}  {item['bytes']} bytes, QoS {item['qos']}{marks}"
    say(printable(head), "bold")
    say(printable(f"    {item['payload'] or 'empty'}"))
    if item["profile"] and not item["why_not"]:
        fields = " ".join(f"{name}={value}" for name, value in item["fields"].items())
        say(printable(f"    claimed by {item['profile']}: {fields or 'no value'}"), "green")
    elif item["profile"]:
        say(printable(f"    claimed by {item['why_not']}"), "dim")
    else:
        say(printable(f"    not read: {item['why_not']}"), "yellow")
    for fault in item["faults"]:
        say(printable(f"    fault: {fault}"), "yellow")
    for event in item["events"]:
        pairs = " ".join(f"{name}={value}" for name, value in event["data"].items())
        say(printable(f"    -> {event['type']}  {event['subject']}  {pairs}  {event['id']}"), "blue")
    if not item["events"] and item["fields"]:
        say("    -> no event: nothing that counts has changed", "dim")
