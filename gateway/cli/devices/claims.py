"""`devices release`, and what `devices show` says of claims, commands that were not taken, and observed ones."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import json_text, say, say_json
from gateway.cli.verb import DEVICE_NAMES, OK, Verbs, add, completed


def add_release(words: Verbs) -> None:
    """Declare `devices release`."""
    parser = add(
        words,
        "release",
        "end what persons claim of a device, so that the next claim counts",
        release,
        examples=["edge-gateway devices release radiator-bath", "edge-gateway devices release light-hall on"],
        json=True,
    )
    completed(parser.add_argument("device", help="the device's id, or its name in devices.toml"), DEVICE_NAMES)
    parser.add_argument("field", nargs="?", help="only this field")


def release(words: argparse.Namespace) -> int:
    """Let go."""
    found = ask(words, "claims_release", device=words.device, field=words.field)
    if words.json:
        say_json(found)
    else:
        say(f"{found['device']}: {', '.join(found['fields'])} let go; what counts now: edge-gateway devices show")
    return OK


def acting(records: Any, device: str) -> dict[str, Any]:
    """Return what a device was told and did not take, and what it was not sent because it is only observed."""
    row, seen = records.table("holds").get(device) or {}, records.table("observed").get(device) or {}
    told = row.get("told", {})
    failed = {name: each["failed"] for name, each in told.items() if each.get("failed")}
    awaited = [each for each in records.table("confirming").values() if each.get("device") == device]
    return {
        "not_taken": failed,
        "awaited": [{key: each[key] for key in ("command", "value", "field", "sent", "by")} for each in awaited],
        "observed": {"count": seen.get("count", 0), "last": seen.get("last", [])},
    }


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Write that for a person."""
    for name, why in found["not_taken"].items():
        yield f"not taken  {name}: {why}"
    for each in found["awaited"]:
        yield f"awaited    {each['command']} {json_text(each['value'])}, sent {each['sent']} times, by {each['by']}"
    if found["observed"]["count"]:
        yield f"observed   {found['observed']['count']} commands were not sent, the last ones:"
    for each in found["observed"]["last"]:
        yield f"  {each['time']}  {each['command']} {json_text(each.get('value'))} by {each['by']}: {each['reason']}"
