"""`serial list`: the serial ports of this machine, as a config names them, and what keeps one from being opened."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gateway.cli.terminal.printing import printable, say, say_json, table
from gateway.cli.verb import OK, Verbs, add, group

if TYPE_CHECKING:
    from gateway.sources.ports import Found, Ports


def add_verbs(verbs: Verbs) -> None:
    """Declare `serial list`."""
    words = group(verbs, "serial", "serial ports: list")
    add(
        words,
        "list",
        "the serial ports of this machine, with the identity to write in the config",
        listing,
        examples=["edge-gateway serial list", "edge-gateway serial list --json"],
        json=True,
        config=False,
    )


def listing(words: argparse.Namespace, ports: Ports | None = None) -> int:
    """List ports, those of USB first."""
    from gateway.sources.ports import Ports

    looking = ports or Ports()
    found = [_row(port, looking) for port in looking.all()]
    if words.json:
        say_json(found)
        return OK
    if not found:
        say("no serial port. Is it plugged in? The kernel says so in: sudo dmesg | tail")
        return OK
    rows = [[f'"{port["identity"]}"', port["path"], port["title"], _state(port)] for port in found]
    table(["serial =", "now", "device", ""], rows)
    first = printable(found[0]["identity"])
    say(
        f'\nIn gateway.toml, under [sources.NAME]: serial = "{first}" and profile = "...": edge-gateway profiles list',
        "dim",
    )
    return OK


def _row(port: Found, ports: Ports) -> dict[str, Any]:
    from gateway.sources.ports import refusal

    return {
        "identity": port.identity,
        "path": str(port.path),
        "by_id": str(port.by_id) if port.by_id else None,
        "title": port.title,
        "vendor": port.vendor,
        "product": port.product,
        "serial_number": port.serial,
        "place": port.place,
        "interface": port.interface,
        "refused": refusal(port.path) or None,
        "held_by": ports.holders(port.path),
    }


def _state(port: dict[str, Any]) -> str:
    """Say in words whether it can be opened."""
    if port["refused"]:
        return str(port["refused"])
    return f"open in {', '.join(port['held_by'])}" if port["held_by"] else ""
