"""`events`: what happened."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.terminal.printing import Colour, as_text, printable, say, say_json
from gateway.cli.times import add_range, seconds
from gateway.cli.verb import OK, Verbs, add
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.history.query import EventFilter

LIMIT = 20  # events shown when nothing is said
LANES = ("alarm", "telemetry", "dead_letter", "command", "timer")
_COLOURS: dict[str, Colour] = {"alarm": "red", "dead_letter": "yellow", "command": "blue", "timer": "dim"}


def add_verbs(verbs: Verbs) -> None:
    """Declare `events`."""
    parser = add(
        verbs,
        "events",
        "events of the running gateway, or of its journal when it does not run",
        events,
        examples=[
            "edge-gateway events --follow",
            "edge-gateway events --type 'door_*' --since 2h",
            "edge-gateway events --device '*radiator*' --limit 100 --json",
            "edge-gateway events --device 'hall/*' --since 2026-11-22T18:00:00Z --until 2026-11-23T06:00:00Z",
            "edge-gateway events --raw --follow --topic 'zigbee2mqtt/#'",
            "edge-gateway events --lane command --lane timer --since 2026-11-23T06:00:00Z",
        ],
        json=True,
    )
    parser.add_argument("--follow", "-f", action="store_true", help="go on with what happens from now on")
    parser.add_argument("--type", action="append", default=[], metavar="TYPE", help="event type, with * and ?")
    parser.add_argument("--device", action="append", default=[], metavar="ID", help="id or its name part, with * and ?")
    add_range(parser)
    parser.add_argument("--limit", type=int, metavar="N", help=f"the newest N (default: {LIMIT}, or all with --since)")
    parser.add_argument(
        "--raw", action="store_true", help="messages as they come, who reads them, and what they become"
    )
    parser.add_argument("--topic", default="", metavar="FILTER", help="with --raw: of these topics, as 'zigbee2mqtt/#'")
    parser.add_argument("--source", default="", metavar="NAME", help="with --raw: of this source")
    parser.add_argument(
        "--for", type=seconds, dest="seconds", metavar="TIME", help="with --raw: for so long (default: 10s)"
    )
    parser.add_argument("--lane", action="append", default=[], choices=LANES, help="default: alarm and telemetry")


def events(words: argparse.Namespace) -> int:
    """Print events, oldest first; each as one line that begins with its id, for `explain`."""
    from gateway.cli.asking.records import opened

    if words.raw:
        from gateway.cli.events.raw import raw

        return raw(words)
    wanted = _filter(words)
    with opened(words.config, follow=words.follow) as records:
        for event in records.events(wanted):
            if words.json:
                say_json(event)
            else:
                say(f"{printable(str(event.get('id', '')))}  {line(event)}", _COLOURS.get(event.get("lane", "")))
            if words.follow:
                sys.stdout.flush()
    return OK


def _filter(words: argparse.Namespace) -> EventFilter:
    from gateway.history.query import EventFilter

    limit = LIMIT if words.limit is None and words.since is None else words.limit
    lanes = {"lanes": words.lane} if words.lane else {}
    times = {"since": words.since, "until": words.until}
    table = {"types": words.type, "devices": words.device, "limit": limit, "follow": words.follow, **lanes}
    try:
        return msgspec.convert({**table, **times}, EventFilter)
    except msgspec.ValidationError as error:
        raise GatewayError(f"events: {error}") from None


def line(event: dict[str, Any], *, whole: str = "") -> str:
    """Write an event on one line for a person; long values are cut, but not that of the field `whole`."""
    data = event.get("data") or {}
    pairs = " ".join(f"{key}={value if key == whole else _short(value)}" for key, value in data.items())
    marks = " ".join(mark for mark in ("resync", "held", "replayed") if event.get(mark))
    unsynced = "~" if event.get("clock") == "unsynced" else " "
    parts = (event.get("time", ""), unsynced, event.get("type", ""), event.get("subject", ""), pairs, marks)
    return printable("  ".join(part for part in parts if part))


def _short(value: Any) -> str:
    text = as_text(value)
    return text if len(text) <= 60 else text[:59] + "…"
