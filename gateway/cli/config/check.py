"""`check`: config, devices, profiles and rules, every fault at once with file and line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.terminal.printing import complain, fault_json, say, say_json
from gateway.cli.verb import CONFIG_FAULT, OK, USAGE, Verbs, add
from gateway.errors import ConfigError, Fault, probably_meant
from gateway.quantity import counted

if TYPE_CHECKING:
    from gateway.cli.asking.heard import Values
    from gateway.config.load import Config


def add_verbs(verbs: Verbs) -> None:
    """Declare `check`."""
    parser = add(
        verbs,
        "check",
        "check config, devices, profiles and rules: file:line and the likely fix for each fault",
        check,
        examples=[
            "edge-gateway check",
            "edge-gateway check --config ./gateway.toml --effective",
            "edge-gateway check --json | jq -r '.faults[] | .file'",
            "edge-gateway check --bundle ./fleet",
            "edge-gateway check --bundle fleet.tar.zst --site berlin-3 --json",
        ],
        json=True,
    )
    parser.add_argument("--effective", action="store_true", help="print every value in force, and where it is from")
    parser.add_argument(
        "--bundle", type=Path, metavar="PATH", help="check a folder or archive that is meant for other machines"
    )
    parser.add_argument(
        "--site", action="append", default=[], metavar="NAME", help="of the bundle's sites only this one; default: all"
    )


def check(words: argparse.Namespace) -> int:
    """Print faults and warnings; 78 when there is a fault."""
    if words.bundle is not None:
        from gateway.cli.bundles.check import check_bundle

        return check_bundle(words)
    from gateway.cli.asking.heard import heard
    from gateway.config.load import read
    from gateway.config.recipients import missing_extra

    if words.site:
        complain("--site goes with --bundle")
        return USAGE
    if words.config != words.base:
        complain(f"checked is what was applied; {words.base} is not read, see: edge-gateway apply --status")
    config, faults = read(words.config)
    counts: dict[str, int] = {}
    warnings: list[Fault] = []
    if config is not None:
        warnings += config.warnings
        values = heard(config.file)
        counts = {**_counts(config), **_profiles(config, faults), **_rules(config, values, faults, warnings)}
        faults += missing_extra(config)
    faults.sort(key=lambda fault: (str(fault.file), fault.line or 0))
    if words.json:
        _print_json(words, config, faults, warnings, counts)
    else:
        _print(words, config, faults, warnings, counts)
    return CONFIG_FAULT if faults else OK


def _counts(config: Config) -> dict[str, int]:
    parts: dict[str, Any] = {
        "source": config.sources,
        "target": config.targets,
        "route": config.routes,
        "device": config.devices,
    }
    return {name: len(part) for name, part in parts.items()}


def _profiles(config: Config, faults: list[Fault]) -> dict[str, int]:
    from gateway.config.crosscheck import unknown_prefixes, unknown_profiles
    from gateway.profiles.catalogue import Catalogue

    try:
        catalogue = Catalogue.load(config.profiles)
    except ConfigError as error:
        faults += error.faults
        return {}
    faults += [*unknown_prefixes(config, catalogue.prefixes), *unknown_profiles(config, catalogue)]
    return {"profile": len(catalogue.profiles)}


def _rules(config: Config, values: Values | None, faults: list[Fault], warnings: list[Fault]) -> dict[str, int]:
    """Load the rules as the worker does; a file that hangs is a fault at the line where it hangs."""
    from gateway.cli.rules.loading import never_observed, rules_with

    loaded = rules_with(config, config.devices, values or {})
    faults += loaded.faults
    warnings += loaded.hints
    names = [definition.name for definition in loaded.definitions]
    faults += [*never_observed(config, loaded), *_never_heard(config, values or {})]
    if names and not values and not len(config.devices):
        why = "nothing was heard yet" if values is not None else "no gateway runs and there is no journal"
        what = f"no device is listed and {why}: whether rules name the right ones cannot be known"
        warnings.append(Fault(config.gateway.devices, None, what, "edge-gateway devices list, then: devices adopt"))
    return {"rule": len(loaded.definitions)}


def _never_heard(config: Config, values: Values) -> Iterator[Fault]:
    """Find ids in routes that nobody listed and that were never heard, where anything was."""
    from gateway.routes import GLOB_CHARS

    known = {*values, *(device.id for device in config.devices), *(device.name for device in config.devices)}
    for name, table in config.document.section("routes").items() if values else ():
        words = table.get("devices", ()) if isinstance(table, dict) else ()
        for place, word in enumerate(words):
            device = str(word).removeprefix("!")
            if device not in known and ":" in device and not GLOB_CHARS & set(device):
                at = ("routes", name, "devices", place)
                yield config.document.fault(at, f"no device {device!r} was ever heard", probably_meant(device, known))


def _print(
    words: argparse.Namespace, config: Config | None, faults: list[Fault], warnings: list[Fault], counts: dict[str, int]
) -> None:
    if words.effective and config is not None:
        for line in effective_lines(config):
            say(line)
        say()
    for fault in faults:
        say(str(fault), "red")
    for warning in warnings:
        say(f"warning: {warning}", "yellow")
    summary = ", ".join(counted(number, name) for name, number in counts.items())
    if faults:
        say(f"{counted(len(faults), 'fault')} in {words.config} and what it names", "bold")
    else:
        say(f"{words.config} is good: {summary}", "green")


def _print_json(
    words: argparse.Namespace, config: Config | None, faults: list[Fault], warnings: list[Fault], counts: dict[str, int]
) -> None:
    answer: dict[str, Any] = {"ok": not faults, "faults": list(map(fault_json, faults))}
    answer |= {"warnings": list(map(fault_json, warnings)), "counts": counts}
    if words.effective and config is not None:
        from gateway.config.effective import values

        answer["effective"] = [value._asdict() for value in values(config)]
    say_json(answer)


def effective_lines(config: Config) -> Iterator[str]:
    """Write every value in force as TOML, with its origin as a comment."""
    from gateway.config.effective import toml, values

    table = ""
    for value in values(config):
        if value.table != table:
            yield f"{'' if not table else chr(10)}[{value.table}]"
            table = value.table
        text = f"{value.key} = {toml(value.value)}" if value.value is not None else f"# {value.key} is not set"
        yield f"{text:<50} # {value.origin}"
