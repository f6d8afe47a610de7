"""`mode` and `input`: what people tell the house."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import as_text, complain, say, say_json, table
from gateway.cli.verb import BAD, OK, Verbs, add
from gateway.errors import GatewayError, probably_meant


def add_verbs(verbs: Verbs) -> None:
    """Declare `mode` and `input`."""
    parser = add(
        verbs,
        "mode",
        "the mode of the house: show it, or change it",
        mode,
        examples=["edge-gateway mode", "edge-gateway mode away"],
        json=True,
    )
    parser.add_argument("mode", nargs="?", help="one of [rules] modes")
    parser = add(
        verbs,
        "input",
        "declared inputs: list them, show one, or say what it is",
        inputs,
        examples=["edge-gateway input", "edge-gateway input guests true", "edge-gateway input target_night 17.5"],
        json=True,
    )
    parser.add_argument("name", nargs="?", help="an input of the config, [inputs.NAME]")
    parser.add_argument("value", nargs="?", help="true or false, a number, or one of its values")


def mode(words: argparse.Namespace) -> int:
    """Show or change the mode."""
    found = _read(words)["mode"] if words.mode is None else ask(words, "mode_set", mode=words.mode)
    if words.json:
        say_json(found)
        return OK
    if words.mode is None:
        others = [each for each in found["modes"] if each != found["mode"]]
        since = f" since {found['since']}" if found["since"] else ""
        say(f"{found['mode']}{since} (others: {', '.join(others)})")
    else:
        was = f", was {found['was']}" if found["was"] != found["mode"] else ""
        say(f"{found['mode']}{was}")
        _say_taken_over(found)
    return OK


def inputs(words: argparse.Namespace) -> int:
    """List inputs, show one or change it."""
    if words.value is not None:
        found = ask(words, "input_set", name=words.name, text=words.value)
        if words.json:
            say_json(found)
        else:
            say(f"{found['name']} = {_shown(found)}")
            _say_taken_over(found)
        return OK
    known = _read(words)["inputs"]
    if words.name is not None:
        known = [each for each in known if each["name"] == words.name]
        if not known:
            hint = probably_meant(words.name, [each["name"] for each in _read(words)["inputs"]])
            complain(f"there is no input {words.name!r}" + (f", {hint}" if hint else ""))
            return BAD
    if words.json:
        say_json(known[0] if words.name is not None else known)
    elif known:
        headers = ("input", "value", "takes", "since", "by", "title")
        rows = [[e["name"], _shown(e), e["takes"], e["since"] or "default", e["actor"], e["title"]] for e in known]
        table(headers, rows)
    else:
        say('no inputs are declared: write [inputs.guests] and type = "boolean" in gateway.toml', "dim")
    return OK


def _shown(found: Mapping[str, Any]) -> str:
    return f"{as_text(found['value'])} {found['unit']}".rstrip()


def _say_taken_over(found: Mapping[str, Any]) -> None:
    if not found["taken_over"]:
        say("recorded; the rules have not looked at it yet, see: edge-gateway status", "yellow")


def _read(words: argparse.Namespace) -> dict[str, Any]:
    """Return mode and inputs: from the running gateway, or as its journal has them."""
    from gateway.api.line import NotRunning

    try:
        return {"mode": ask(words, "mode"), "inputs": ask(words, "inputs")}
    except NotRunning:
        return _stored(words)


def _stored(words: argparse.Namespace) -> dict[str, Any]:
    from gateway.cli.asking.records import opened
    from gateway.clock import rfc3339
    from gateway.config.load import load
    from gateway.rules.engine.tables import INPUTS, MODE_KEY, MODES
    from gateway.rules.language.inputs import value_of

    config = load(words.config)
    tables: dict[str, Mapping[str, Any]] = {}
    try:
        with opened(words.config) as records:
            tables = {name: records.table(name) for name in (MODES, INPUTS)}
    except GatewayError:
        tables = {MODES: {}, INPUTS: {}}
    row = tables[MODES].get(MODE_KEY)
    modes = config.rules.modes
    since = rfc3339(row["since"]) if row else None
    found: list[dict[str, Any]] = []
    for name, options in sorted(config.inputs.items()):
        said = tables[INPUTS].get(name)
        about: dict[str, Any] = {"name": name, "type": options.type, "value": value_of(config.inputs, name, said)}
        about |= {"takes": options.takes, "unit": options.unit, "title": options.title}
        about |= {"since": rfc3339(said["since"]) if said else None, "actor": said["actor"] if said else None}
        found.append(about)
    return {"mode": {"mode": row["mode"] if row else modes[0], "modes": modes, "since": since}, "inputs": found}
