"""`dead-letters`: what could not be decoded or was refused, and what to do with it."""

from __future__ import annotations

import argparse
import base64
import binascii
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from gateway.cli.asking.running import connected
from gateway.cli.terminal.printing import Colour, complain, printable, say, say_json, table
from gateway.cli.times import add_since
from gateway.cli.verb import BAD, OK, USAGE, Verbs, add, group
from gateway.quantity import counted

HEAD_CHARS = 60  # of a payload, in the list
HEX_BYTES = 16  # of a payload that is no text, on a line
HEX_LINES_MAX = 64  # of these lines; --json has it whole
CHUNK = 200  # letters in one request
WAIT_S = 10.0
OVER = ("delivered", "decoded", "dropped", "retried")
_SAID = {
    "delivered": "delivered",
    "decoded": "decoded",
    "dropped": "dropped",
    "waiting": "under way",
    "refused": "refused again",
}
_COLOURS: dict[str, Colour] = {"delivered": "green", "decoded": "green", "refused": "red"}
Letter = dict[str, Any]


def add_verbs(verbs: Verbs) -> None:
    """Declare `dead-letters list|show|retry|drop`."""
    words = group(verbs, "dead-letters", "messages and events that were set aside: list, show, retry, drop")
    parser = add(
        words,
        "list",
        "dead letters, oldest first, with their reason",
        listing,
        examples=[
            "edge-gateway dead-letters list",
            "edge-gateway dead-letters list --reason 'Not authorized' --route cloud --since 1d",
            "edge-gateway dead-letters list --all --json",
        ],
        json=True,
    )
    _filters(parser)
    parser.add_argument("--all", action="store_true", help="those that are settled, too")
    parser = add(
        words,
        "show",
        "one dead letter, with the message or event in it",
        show,
        examples=["edge-gateway dead-letters show 0a1b2c3d4e5f-1-2f"],
        json=True,
    )
    parser.add_argument("id", help="the dead letter's id, as `list` shows it")
    retrying = add(
        words,
        "retry",
        "try again: decode messages once more, send events again; says what became of each",
        retry,
        examples=[
            "edge-gateway dead-letters retry 0a1b2c3d4e5f-1-2f",
            "edge-gateway dead-letters retry 0a1b2c3d4e5f-1-2f --route archive",
            "edge-gateway dead-letters retry --reason 'Not authorized*' --since 2h",
        ],
        json=True,
    )
    retrying.add_argument("--route", metavar="NAME", help="send events by this route, not by the one they were for")
    retrying.add_argument(
        "--wait", metavar="SECONDS", type=float, default=WAIT_S, help=f"for the outcome (default: {WAIT_S:g})"
    )
    dropping = add(
        words,
        "drop",
        "mark as seen: they are not listed any more",
        drop,
        examples=[
            "edge-gateway dead-letters drop 0a1b2c3d4e5f-1-2f",
            "edge-gateway dead-letters drop --device 'hall/*'",
        ],
        json=True,
    )
    for parser, route in ((retrying, "--of-route"), (dropping, "--route")):
        parser.add_argument("ids", metavar="ID", nargs="*", help="dead letters, as `list` shows them")
        parser.add_argument("--all", action="store_true", help="every open one that fits the filters")
        _filters(parser, route)


def _filters(parser: argparse.ArgumentParser, route: str = "--route") -> None:
    parser.add_argument("--reason", metavar="TEXT", help="part of the reason, or a pattern with * and ?")
    parser.add_argument("--device", metavar="ID", help="id or its name part, with * and ?; of a message its topic")
    parser.add_argument("--rule", metavar="NAME", help="of this rule")
    add_since(parser)
    parser.add_argument(route, dest="of_route", metavar="NAME", help="that this route could not deliver")


def listing(words: argparse.Namespace) -> int:
    """List dead letters."""
    found = list(_letters(words, everything=words.all))
    if words.json:
        say_json(found)
        return OK
    if not found:
        say("no dead letters" + (" like that" if _narrowed(words) else ""), "green")
        return OK
    rows = [
        [e["id"], e.get("time"), e["type"], _about(e), e["reason"], e["attempts"], _SAID.get(e["state"], e["state"])]
        for e in found
    ]
    table(["id", "time", "what", "about", "reason", "attempts", "state"], rows)
    return OK


def show(words: argparse.Namespace) -> int:
    """Show one dead letter with its content."""
    found = next((letter for letter in _every(words) if letter["id"] == words.id), None)
    if found is None:
        complain(f"no dead letter {words.id!r}. Type: edge-gateway dead-letters list")
        return BAD
    if words.json:
        say_json(found)
        return OK
    for key in ("id", "time", "type", "source", "subject", "state", "reason", "attempts"):
        if found.get(key):
            say(f"{key:<10} {printable(str(found[key]))}")
    for key, value in found["data"].items():
        if key in ("payload_b64", "payload_head_b64"):
            for number, line in enumerate(readable(value)):
                say(f"{'' if number else key.removesuffix('_b64'):<10} {line}")
        elif key not in ("reason", "attempts"):
            say(f"{key:<10} {printable(str(value))}")
    return OK


def retry(words: argparse.Namespace) -> int:
    """Ask the gateway to try again, and say what became of it."""
    return _ask(words, "dead_letters_retry", route=words.route, wait_s=words.wait)


def drop(words: argparse.Namespace) -> int:
    """Ask the gateway to mark as seen."""
    return _ask(words, "dead_letters_drop")


def _ask(words: argparse.Namespace, what: str, **more: Any) -> int:
    if bool(words.ids) == bool(words.all or _narrowed(words)):
        complain("name dead letters by their ids, or choose with --all, --reason, --device, --rule or --since")
        return USAGE
    ids = words.ids or [letter["id"] for letter in _letters(words, everything=False)]
    rows: list[dict[str, Any]] = []
    with connected(words.config) as client:
        for first in range(0, len(ids), CHUNK):
            rows += client.ask(what, ids=ids[first : first + CHUNK], **more)
    if words.json:
        say_json(rows[0] if len(words.ids) == 1 else rows)
    elif not rows:
        say("no dead letters like that", "green")
    for row in () if words.json else rows:
        said, colour = _outcome(row)
        say(f"{row['id']}  {said}" if len(rows) > 1 else said, colour)
    return BAD if any(row["state"] == "refused" or row.get("tried") is False for row in rows) else OK


def _outcome(row: dict[str, Any]) -> tuple[str, Colour | None]:
    """Say what became of a letter."""
    why = f": {printable(row['reason'])}" if row.get("reason") else ""
    if row.get("tried") is False:
        return f"not tried{why}", "red"
    said = _SAID[row["state"]]
    if row["state"] == "decoded":
        return f"{said}: {counted(row['events'], 'event')}", "green"
    return said + (why if row["state"] == "refused" else ""), _COLOURS.get(row["state"])


def _narrowed(words: argparse.Namespace) -> bool:
    return any((words.reason, words.device, words.rule, words.since, words.of_route))


def _letters(words: argparse.Namespace, *, everything: bool) -> Iterator[Letter]:
    """Yield the dead letters that fit the filters."""
    for letter in _every(words, words.since):
        if (everything or letter["state"] not in OVER) and _fits(words, letter):
            yield letter


def _every(words: argparse.Namespace, since: str | None = None) -> Iterator[Letter]:
    """Yield dead letters with what became of them: their state, newest reason and number of attempts."""
    from gateway.cli.asking.records import opened
    from gateway.history.query import EventFilter

    with opened(words.config) as records:
        rows = records.table("dead_letters")
        for event in records.events(EventFilter(lanes=("dead_letter",), since=since)):
            row, data = rows.get(event["id"], {}), event["data"]
            reason, attempts = row.get("reason", data.get("reason")), row.get("attempts", data.get("attempts", 1))
            yield {**event, "state": row.get("state", ""), "reason": reason, "attempts": attempts}


def _fits(words: argparse.Namespace, letter: Letter) -> bool:
    data = letter["data"]
    inner = data.get("event") or {}
    devices = [letter.get("subject", ""), inner.get("subject", ""), data.get("topic", "")]
    devices += [device.partition(":")[2] for device in devices]
    return (
        _like(words.reason, [str(letter["reason"])], part=True)
        and _like(words.device, devices)
        and _like(words.rule, [str(data.get("rule", ""))])
        and _like(words.of_route, [str(data.get("route", ""))])
    )


def _like(wanted: str | None, texts: Sequence[str], *, part: bool = False) -> bool:
    return wanted is None or any(fnmatchcase(text, wanted) or (part and wanted in text) for text in texts)


def _about(event: Letter) -> str:
    data = event["data"]
    if "topic" in data:
        first = next(iter(readable(data.get("payload_b64", ""))), "")
        return f"{data['topic']} {first[:HEAD_CHARS]}"
    inner = data.get("event", {})
    return f"{inner.get('type', '')} {event.get('subject', '')}".strip()


def readable(text: str) -> list[str]:
    """Show bytes in base64: as text where they are some, else in hexadecimal with what is printable beside it."""
    try:
        payload = base64.b64decode(text, validate=True)
    except binascii.Error:
        return [printable(text)]
    try:
        return [printable(line) for line in payload.decode().splitlines()]
    except UnicodeDecodeError:
        pass
    lines = []
    for at in range(0, min(len(payload), HEX_BYTES * HEX_LINES_MAX), HEX_BYTES):
        part = payload[at : at + HEX_BYTES]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{part.hex(' '):<{3 * HEX_BYTES}} {shown}")
    if len(payload) > HEX_BYTES * HEX_LINES_MAX:
        lines.append(f"… {len(payload):,} bytes in all")
    return lines
