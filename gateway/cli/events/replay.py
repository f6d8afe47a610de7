"""`replay`: send again what the journal still holds."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gateway.cli.asking.running import connected
from gateway.cli.terminal.printing import complain, say, say_json, table
from gateway.cli.times import add_range
from gateway.cli.verb import BAD, OK, USAGE, Verbs, add
from gateway.errors import GatewayError
from gateway.quantity import counted

if TYPE_CHECKING:
    from gateway.api.client import ApiClient

LOOK_S = 0.2  # between two looks at how far it is
UNDER_WAY = ("counting", "sending")


def add_verbs(verbs: Verbs) -> None:
    """Declare `replay`."""
    parser = add(
        verbs,
        "replay",
        "send a time range or query again by a route, behind its live events: replay, list, stop",
        replay,
        examples=[
            "edge-gateway replay --route archive --since 2026-11-22T18:00:00Z --until 2026-11-23T06:00:00Z --dry-run",
            "edge-gateway replay --route cloud --since 2d --device 'cellar/*' --type temperature_changed",
            "edge-gateway replay --route cloud --since 7d --background",
            "edge-gateway replay list",
            "edge-gateway replay stop 3",
        ],
        json=True,
    )
    parser.add_argument("what", nargs="?", choices=("list", "stop"), help="replays so far; end one that is under way")
    parser.add_argument("number", nargs="?", type=int, metavar="NUMBER", help="of the replay to stop")
    parser.add_argument("--route", metavar="NAME", help="by which route it is sent")
    add_range(parser)
    parser.add_argument("--device", action="append", default=[], metavar="ID", help="id or its name part, with * and ?")
    parser.add_argument("--type", action="append", default=[], metavar="TYPE", help="event type, with * and ?")
    parser.add_argument(
        "--lane", action="append", default=[], choices=("alarm", "telemetry"), help="default: the route's"
    )
    parser.add_argument(
        "--all", action="store_true", help="all that is kept, when no time, device, type or lane is given"
    )
    parser.add_argument("--unselected", action="store_true", help="also what the route does not carry by itself")
    parser.add_argument("--per-second", type=float, metavar="N", help="events a second at most (default: 500)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    parser.add_argument("--background", action="store_true", help="do not wait for its end")


def replay(words: argparse.Namespace) -> int:
    """Start, list or stop replays."""
    wrong = _wrong(words)
    if wrong:
        complain(f"edge-gateway replay: {wrong}")
        return USAGE
    with connected(words.config) as client:
        if words.what == "list":
            return _list(words, client.ask("replay_list"))
        if words.what == "stop":
            return _tell(words, client.ask("replay_stop", number=words.number))
        asked = _asked(words)
        if words.dry_run:
            return _found(words, client, asked)
        row = client.ask("replay_start", **asked)
        if words.background:
            return _tell(words, row)
        return _tell(words, _watch(words, client, row))


def _wrong(words: argparse.Namespace) -> str | None:
    if words.what == "stop":
        return None if words.number is not None else "which one? Type: edge-gateway replay list"
    if words.what == "list":
        return None
    if not words.route:
        return "--route says by which route it is to be sent"
    if not (words.all or words.since or words.until or words.device or words.type or words.lane):
        return "say what to send again: --since, --until, --device, --type, --lane, or --all"
    return None


def _asked(words: argparse.Namespace) -> dict[str, Any]:
    asked: dict[str, Any] = {"route": words.route, "types": words.type, "devices": words.device, "lanes": words.lane}
    asked |= {"since": words.since, "until": words.until, "unselected": words.unselected}
    if words.per_second is not None and not words.dry_run:
        asked["per_s"] = words.per_second
    return asked


def _found(words: argparse.Namespace, client: ApiClient, asked: Mapping[str, Any]) -> int:
    from gateway.cli.terminal.screen import Screen

    screen, found = Screen(quiet=words.json), {}
    for found in client.stream("replay_found", **asked):
        if not found["over"]:
            screen.show([f"{found['events']:,} events so far …"])
    if words.json:
        say_json({"route": words.route, **found})
        return OK
    span = f", {found['first']} to {found['last']}" if found["events"] else ""
    say(
        f"{counted(found['events'], 'event')} would be sent by route {words.route}{span}, {found['bytes']:,} bytes",
        "bold",
    )
    _tell_rest(found)
    return OK


def _watch(words: argparse.Namespace, client: ApiClient, row: dict[str, Any]) -> dict[str, Any]:
    """Show how far it is until it is over; Ctrl-C leaves it to the gateway."""
    from gateway.cli.terminal.screen import Screen

    screen = Screen(quiet=words.json)
    try:
        while row["state"] in UNDER_WAY:
            screen.show([_progress(row)])
            time.sleep(LOOK_S)
            rows = client.ask("replay_list")
            found = next((each for each in rows if each["number"] == row["number"]), None)
            if found is None:
                raise GatewayError(f"replay {row['number']} is over, and forgotten")
            row = found
    except KeyboardInterrupt:
        number = row["number"]
        complain(f"replay {number} goes on in the gateway. To end it: edge-gateway replay stop {number}")
        raise
    return row


def _progress(row: Mapping[str, Any]) -> str:
    if row["state"] == "counting":
        return f"replay {row['number']} by route {row['route']}: counting"
    sent, total = row["sent"] + row["refused"], row["total"]
    share = f"{100 * sent // total} %" if total else ""
    waits = ", waits for the route" if row["waits"] else ""
    return f"replay {row['number']} by route {row['route']}: {sent:,} of {total:,} events  {share}{waits}"


def _list(words: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    if words.json:
        say_json(rows)
        return OK
    if not rows:
        say("no replays")
        return OK
    headers = ["number", "route", "state", "sent", "of", "refused", "gone", "since", "until", "started", "by"]
    keys = ("number", "route", "state", "sent", "total", "refused", "gone")
    cells = [
        [
            *(row[key] for key in keys),
            row["wanted"].get("since"),
            row["wanted"].get("until"),
            row["started"],
            row["actor"],
        ]
        for row in rows
    ]
    table(headers, cells)
    return OK


def _tell(words: argparse.Namespace, row: dict[str, Any]) -> int:
    if words.json:
        say_json(row)
    else:
        state, number = row["state"], row["number"]
        if state in UNDER_WAY:
            say(f"replay {number} is under way. How far it is: edge-gateway replay list")
            return OK
        why = f": {row['why']}" if row["why"] else ""
        say(
            f"replay {number} is {state}{why}: {counted(row['sent'], 'event')} sent",
            "green" if state == "done" else "yellow",
        )
        if row["refused"]:
            say(f"{row['refused']:,} were refused: edge-gateway dead-letters list", "red")
        if row["gone"]:
            say(f"{row['gone']:,} made room for newer ones before they were sent", "yellow")
        _tell_rest(row)
    return BAD if row["state"] == "failed" or row["refused"] or row["gone"] else OK


def _tell_rest(said: Mapping[str, Any]) -> None:
    if said["passed_over"]:
        say(
            f"{said['passed_over']:,} more fit, which the route does not carry (--unselected sends them, too)", "yellow"
        )
    if said["kept_since"]:
        say(f"not all is there any more: before {said['kept_since']} only what had not been delivered then", "yellow")
