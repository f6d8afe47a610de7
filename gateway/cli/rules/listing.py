"""`rules list`: what the rule files declare, and how the running gateway's rules do.

Exit codes: 0 all well, 1 a fault, 2 there is no such folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.api.line import ApiError, NotRunning
from gateway.cli.asking.running import connected
from gateway.cli.rules.names import declared
from gateway.cli.rules.place import Place
from gateway.cli.terminal.printing import complain, fault_json, say, say_json, table, where
from gateway.cli.verb import BAD, OK, USAGE
from gateway.errors import GatewayError
from gateway.rules.files.loader import Loaded
from gateway.rules.protocol import RuleInfo


def listing(words: argparse.Namespace) -> int:
    """Print the rules with their triggers and titles, how they do in the running gateway, and every fault."""
    place = Place(words)
    live, files = _live(words.config)
    if words.names:
        return _names(place, live)
    if not place.folder.is_dir():
        complain(f"there is no folder {place.folder}: name one with --rules")
        return USAGE
    loaded = place.inspect()
    otherwise = {"state": "not live"} if live else {}
    rules = {rule.name: {**_rule(rule), **live.pop(rule.name, otherwise)} for rule in loaded.rules} | live
    if words.device:
        wanted = looking_at(words, place, loaded)
        rules = {name: rule for name, rule in rules.items() if name in wanted}
    stopped = {name: rule["reason"] for name, rule in rules.items() if rule.get("state") == "quarantined"}
    if words.json:
        faults = [fault_json(fault) for fault in loaded.faults]
        hints = [fault_json(hint) for hint in loaded.hints]
        said = {"rules": list(rules.values()), "faults": faults, "hints": hints, "stopped": stopped}
        say_json(said | {"enforced": _enforced(words.config)})
        return BAD if faults else OK
    if rules:
        table(HEADERS, [_row(rule) for rule in rules.values()])
    elif words.device:
        say(f"no rule looks at {words.device}", "dim")
    else:
        say(f"no rules in {place.folder}: `edge-gateway rules catalogue` lists some to take", "dim")
    for name, reason in stopped.items():
        say(f"{name} is in quarantine: {reason}; editing its file ends that; see: edge-gateway rules why {name}", "red")
    for rule in rules.values():
        if rule.get("state") == "disabled":
            until = f" until {rule['until']}" if rule.get("until") else ""
            say(f"{rule['name']} is disabled{until}; to end that: edge-gateway rules enable {rule['name']}", "yellow")
    for hint in loaded.hints:
        say(f"hint: {hint}", "yellow")
    for fault in loaded.faults:
        say(str(fault), "red")
    for file in files:
        _say_file(file)
    return BAD if loaded.faults or not all(file["live"] for file in files) else OK


def _say_file(file: Mapping[str, Any]) -> None:
    """Say of a file that is not live as it is on the disk what runs instead, and why."""
    if file["live"]:
        return
    runs = f"version {file['version']} of {file['since']} runs" if file["version"] else "nothing of it runs"
    say(f"{file['file']} on the disk is not what runs in the gateway: {runs}", "red")
    for fault in file["faults"]:
        say(f"  {fault}", "red")


HEADERS = ("rule", "state", "runs on", "fired", "last", "ms", "longest", "faults", "title", "file")


def _row(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        rule["name"],
        rule.get("state"),
        rule["trigger"],
        rule.get("fired"),
        rule.get("fired_at"),
        _ms(rule.get("call_us_median")),
        _ms(rule.get("call_us_max")),
        rule.get("faults") or None,
        rule["title"],
        where(rule["file"], rule["line"]),
    )


def _ms(us: float | None) -> str | None:
    return None if us is None else f"{us / 1000:.2f}"


def _live(config: Path) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Return the rules of the running gateway by name, and how its files are; none when none runs."""
    try:
        with connected(config) as client:
            said = client.ask("rules_list")
            return {rule["name"]: rule for rule in said["rules"]}, said.get("files", [])
    except ApiError:
        return {}, []


def _enforced(config: Path) -> Mapping[str, Any] | None:
    """Return what keeps rules in where the gateway runs; None when none runs."""
    try:
        with connected(config) as client:
            found: Mapping[str, Any] = client.ask("status")["rules"]["enforced"]
            return found
    except ApiError:
        return None


def _names(place: Place, live: Mapping[str, object]) -> int:
    """Print names and nothing else, for completion."""
    for name in sorted({*live, *(declared(place.folder) if not live else ())}):
        say(name)
    return OK


def looking_at(words: argparse.Namespace, place: Place, loaded: Loaded | None = None) -> list[str]:
    """Return the names of the rules that look at a device: by the running gateway, else by its last values."""
    from gateway.cli.asking.records import opened
    from gateway.rules.desk.looks import looking_at as looking
    from gateway.rules.language.house import House

    values: Mapping[str, Any] = {}
    try:
        with opened(words.config) as records:
            try:
                found: list[str] = records.ask("rules_of_device", device=words.device)
            except NotRunning:
                values = records.table("values")
            else:
                return found
    except GatewayError as error:
        if isinstance(error, ApiError):
            raise
    if loaded is None:
        loaded = place.inspect()
    try:
        device = House(place.entries, values).device(words.device)
    except LookupError as error:
        raise GatewayError(str(error)) from None
    return [rule.name for rule in looking(loaded.definitions, device)]


def _rule(rule: RuleInfo) -> dict[str, object]:
    return {field: getattr(rule, field) for field in rule.__struct_fields__}
