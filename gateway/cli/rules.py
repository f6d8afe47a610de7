"""`rules list` and `rules test`: what the rule files declare, and whether their own tests pass.

Both run the files in this process, on the desk of whoever types it; only the gateway runs rules in a process of
their own.  Exit codes: 0 all well, 1 a fault or a failed test, 2 there is no such file or folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from gateway.api.line import ApiError
from gateway.cli.terminal import complain, say, say_json, table
from gateway.config.load import read
from gateway.config.places import places
from gateway.errors import Fault
from gateway.rules.loader import entries, inspect, rule_files
from gateway.rules.protocol import DeviceEntry, RuleInfo
from gateway.rules.trials import Suite, Trial

OK, BAD, USAGE = 0, 1, 2
FOLDER = Path("rules")  # where there is neither --rules nor a config


class _Place:
    """Where the rules are, and what the installation says of devices and modes."""

    def __init__(self, words: argparse.Namespace) -> None:
        self.folder: Path = words.rules or FOLDER
        self.devices: Sequence[Any] = ()
        self.modes: tuple[str, ...] = ()
        config = read(words.config)[0] if words.config.exists() else None
        if config is not None:
            self.folder = words.rules or config.rules.folder
            self.devices = list(config.devices)
            self.modes = config.rules.modes

    @property
    def entries(self) -> list[DeviceEntry]:
        """The devices of devices.toml as rules get them."""
        return entries(self.devices)


def listing(words: argparse.Namespace) -> int:
    """Print the rules with their triggers and titles, every fault, and what the running gateway has stopped."""
    place = _Place(words)
    if not place.folder.is_dir():
        complain(f"there is no folder {place.folder}: name one with --rules")
        return USAGE
    loaded = inspect(place.folder, place.devices, place.modes)
    stopped = _stopped(words.config)
    if words.json:
        faults = [_fault(fault) for fault in loaded.faults]
        hints = [_fault(hint) for hint in loaded.hints]
        rules = [_rule(rule) for rule in loaded.rules]
        say_json({"rules": rules, "faults": faults, "hints": hints, "stopped": stopped})
        return BAD if faults else OK
    rows = [(rule.name, rule.trigger, rule.title, _where(rule.file, rule.line)) for rule in loaded.rules]
    if rows:
        table(("rule", "runs on", "title", "file"), rows)
    else:
        say(f"no rules in {place.folder}; docs/guides/write-a-rule.md shows how to write one", "dim")
    for name, why in stopped.items():
        say(f"{name} is stopped in the running gateway: {why}; mend its file and restart the gateway", "red")
    for hint in loaded.hints:
        say(f"hint: {hint}", "yellow")
    for fault in loaded.faults:
        say(str(fault), "red")
    return BAD if loaded.faults else OK


def _stopped(config: Path) -> dict[str, str]:
    """Return the rules that a running gateway keeps in quarantine, with the reason; none when none runs."""
    try:
        with ApiClient(places(config).socket) as client:
            status: dict[str, Any] = client.ask("status")
    except ApiError:
        return {}
    return {rule["name"]: rule["reason"] for rule in status.get("rules", {}).get("quarantined", ())}


def test(words: argparse.Namespace) -> int:
    """Run the tests that rule files carry, each in a house of its own on a virtual clock."""
    place = _Place(words)
    files: list[Path] = list(words.files) or rule_files(place.folder)
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        complain(f"there is no file {missing[0]}" if missing else f"there are no rule files in {place.folder}")
        return USAGE
    faults: list[Fault] = []
    trials: list[Trial] = []
    untested: list[str] = []
    for file in files:
        suite = Suite(file, place.entries, place.modes)
        faults += suite.faults
        if not suite.faults and not suite.tests:
            untested.append(str(file))
        found = [] if suite.faults else list(suite.run())
        trials += found
        if not words.json:
            _say(file, suite, found)
    bad = [trial for trial in trials if not trial.ok]
    if words.json:
        tests = [_trial(trial) for trial in trials]
        say_json({"ok": not bad and not faults, "tests": tests, "faults": [_fault(f) for f in faults]})
    else:
        _summary(trials, bad, faults, untested)
    return BAD if bad or faults else OK


def _say(file: Path, suite: Suite, trials: Sequence[Trial]) -> None:
    say(str(file), "bold")
    for fault in suite.faults:
        say(f"  {fault}", "red")
    for trial in trials:
        say(f"  {'ok    ' if trial.ok else 'failed'}  {trial.name}", None if trial.ok else "red")
        for line in trial.message.splitlines():
            say(f"          {line}")
    if not trials and not suite.faults:
        say("  no tests: functions test_...(house) would be some", "dim")


def _summary(trials: Sequence[Trial], bad: Sequence[Trial], faults: Sequence[Fault], untested: Sequence[str]) -> None:
    seconds = sum(trial.seconds for trial in trials)
    parts = [f"{len(trials) - len(bad)} passed"]
    parts += [f"{len(bad)} failed"] if bad else []
    parts += [f"{len(faults)} fault{'' if len(faults) == 1 else 's'}"] if faults else []
    parts += [f"{len(untested)} without tests"] if untested else []
    say(f"{', '.join(parts)} in {seconds:.2f} s", "red" if bad or faults else "green")


def _where(file: str, line: int) -> str:
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{line}"


def _rule(rule: RuleInfo) -> dict[str, object]:
    return {field: getattr(rule, field) for field in rule.__struct_fields__}


def _trial(trial: Trial) -> dict[str, object]:
    return {field: getattr(trial, field) for field in trial.__struct_fields__}


def _fault(fault: Fault) -> dict[str, object]:
    return {"file": str(fault.file), "line": fault.line, "what": fault.what, "hint": fault.hint}
