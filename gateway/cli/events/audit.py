"""`audit`: who changed what, and when."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.cli.terminal.printing import say, say_json, table
from gateway.cli.times import add_range
from gateway.cli.verb import OK, Verbs, add

LIMIT = 50  # changes shown when nothing is said


def add_verbs(verbs: Verbs) -> None:
    """Declare `audit`."""
    parser = add(
        verbs,
        "audit",
        "who changed what and when: config, rules, devices, modes, commands, dead letters",
        audit,
        examples=[
            "edge-gateway audit",
            "edge-gateway audit --since 7d --actor person:anna",
            "edge-gateway audit --since 2026-11-22T18:00:00Z --json | jq .data.what",
        ],
        json=True,
    )
    add_range(parser)
    parser.add_argument("--actor", metavar="WHO", help="only by person:NAME, file:NAME, cloud or gateway")
    parser.add_argument("--limit", type=int, metavar="N", help=f"the newest N (default: {LIMIT}, or all with --since)")


def audit(words: argparse.Namespace) -> int:
    """Print changes, oldest first; each begins with its time, `--json` has the events whole."""
    from gateway.audit import TYPES
    from gateway.cli.asking.records import opened
    from gateway.history.query import EVERY_LANE, EventFilter

    wanted = EventFilter(types=list(TYPES), since=words.since, until=words.until, lanes=EVERY_LANE)
    with opened(words.config) as records:
        found = [event for event in records.events(wanted) if _is_a_change(event, words.actor)]
    limit = LIMIT if words.limit is None and words.since is None else words.limit
    found = found[-limit:] if limit else found if limit is None else []
    if words.json:
        for event in found:
            say_json(event)
    elif found:
        table(("time", "actor", "what", "of", "event"), [_row(event) for event in found])
    else:
        say("nothing was changed, as far as the journal goes back")
    return OK


def _is_a_change(event: dict[str, Any], actor: str | None) -> bool:
    """Return whether a person or a program did it, not a rule or a device of itself."""
    by = str(event.get("actor", "device"))
    if by == "device" or by.startswith("rule:"):
        return False
    return actor is None or by == actor or by.partition(":")[2] == actor


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    data = dict(event.get("data") or {})
    what = str(data.pop("what", event["type"]))
    changed = " -> ".join(str(data.pop(name)) for name in ("before", "after") if name in data)
    rest = ", ".join(f"{name} {_short(value)}" for name, value in data.items())
    subject = str(event.get("subject", ""))
    about = "; ".join(part for part in (subject, rest, changed) if part)
    return str(event.get("time", "")), str(event["actor"]), what, about, str(event.get("id", ""))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
