"""`send`: a command to a device, through the running gateway, recorded as any other command."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import say, say_json
from gateway.cli.verb import DEVICE_NAMES, OK, Verbs, add, completed


def add_verbs(verbs: Verbs) -> None:
    """Declare `send`."""
    parser = add(
        verbs,
        "send",
        "send a command to a device",
        send,
        examples=[
            "edge-gateway send house/z2m:bedroom/radiator set_setpoint 21.5",
            "edge-gateway send siren-hall set_on true",
        ],
        json=True,
    )
    completed(parser.add_argument("device", help="the device's id, or its name in devices.toml"), DEVICE_NAMES)
    parser.add_argument("command", help="a command of the device's profile")
    parser.add_argument("value", nargs="?", help="JSON, or a text")


def send(words: argparse.Namespace) -> int:
    """Ask the gateway to send; it answers when the command is on the disk."""
    answer = ask(words, "command", device=words.device, command=words.command, value=value_of(words.value))
    if words.json:
        say_json(answer)
    else:
        said = answer.get("id", "") if isinstance(answer, dict) else answer
        say(f"recorded as {said}; what became of it: edge-gateway explain {said}")
        if isinstance(answer, dict) and answer.get("claimed"):
            say(f"it wins over rules for a time; let go: edge-gateway devices release {words.device}", "dim")
    return OK


def value_of(text: str | None) -> Any:
    """Read a value from the command line: JSON if it is JSON, else the text itself."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
