"""`rules test`: the tests that rule files carry, on a virtual clock, wherever Python runs; no gateway is needed.

The files run in this process, on the desk of whoever types it; only the gateway runs rules in a process of their own.
Exit codes: 0 all pass, 1 a test failed or a file has a fault, 2 there is no such file, or no such test.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec

from gateway.cli.rules.place import Place
from gateway.cli.terminal.printing import complain, fault_json, say, say_json
from gateway.cli.terminal.progress import Progress
from gateway.cli.verb import BAD, OK, USAGE
from gateway.errors import Fault
from gateway.quantity import counted
from gateway.rules.desk.coverage import Covered
from gateway.rules.desk.trials import Suite, Trial
from gateway.rules.files.loader import rule_files


def test(words: argparse.Namespace) -> int:
    """Run the tests that rule files carry, each in a house of its own on a virtual clock."""
    place = Place(words)
    files: list[Path] = list(words.files) or rule_files(place.folder)
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        complain(f"there is no file {missing[0]}" if missing else f"there are no rule files in {place.folder}")
        return USAGE
    for folder in {file.parent for file in files}:
        place.prepare(folder)
    chosen = chooser(words.chosen)
    progress, results = Progress(), []
    for number, file in enumerate(files):
        result = _File(Suite(file, place.entries, place.modes, acting=place.acting), chosen)
        for name in result.names:
            progress.draw(number / len(files), f"{file.name} {name}")
            result.trials.append(result.suite.trial(name))
        progress.clear()
        results.append(result)
        if not words.json and (result.names or result.suite.faults or not words.chosen):
            result.say(coverage=words.coverage)
    trials = [trial for result in results for trial in result.trials]
    faults = [fault for result in results for fault in result.suite.faults]
    if not trials and not faults and words.chosen:
        complain(f"no test has {words.chosen!r} in its name")
        return USAGE
    if words.junit is not None:
        words.junit.write_bytes(junit(results))
    if words.json:
        say_json(_report(results, coverage=words.coverage))
    else:
        _summary(trials, faults, sum(not result.suite.faults and not result.suite.tests for result in results))
    return BAD if faults or not all(trial.ok for trial in trials) else OK


def chooser(words: str) -> Callable[[str], bool]:
    """Read ``door and not night``, ``bath or kitchen``: parts of names, in any case; nothing is every test."""
    ways = [[word.split() for word in way.split(" and ")] for way in words.lower().split(" or ")]

    def fits(word: list[str], name: str) -> bool:
        wanted = word[0] != "not" if word else True
        return all((part in name) == wanted for part in (word if wanted else word[1:]))

    return lambda name: any(all(fits(word, name.lower()) for word in way) for way in ways)


class _File:
    """A rule file, its chosen tests, and how they went."""

    def __init__(self, suite: Suite, chosen: Callable[[str], bool]) -> None:
        self.suite = suite
        about = suite.file.stem
        self.names = [] if suite.faults else [name for name in suite.tests if chosen(f"{about}::{name}")]
        self.trials: list[Trial] = []

    def say(self, *, coverage: bool) -> None:
        """Print how it went."""
        say(str(self.suite.file), "bold")
        for fault in self.suite.faults:
            say(f"  {fault}", "red")
        for trial in self.trials:
            text = f"  {'ok    ' if trial.ok else 'failed'}  {trial.name}  ({trial.seconds * 1000:.0f} ms)"
            say(text, None if trial.ok else "red")
            for line in trial.message.splitlines():
                say(f"          {line}")
        if not self.suite.tests and not self.suite.faults:
            say("  no tests: functions test_...(house) would be some", "dim")
        if coverage and not self.suite.faults:
            for covered in self.suite.coverage.report():
                say(*_covered(covered))


def _covered(covered: Covered) -> tuple[str, Any]:
    if not covered.missed:
        return f"  covered {covered.rule}: ran {covered.ran:,} times", "dim"
    return f"  missed  {covered.rule}, line {covered.line}: {'; '.join(covered.missed)}", "yellow"


def _report(results: Sequence[_File], *, coverage: bool) -> dict[str, Any]:
    trials = [trial for result in results for trial in result.trials]
    faults = [fault_json(fault) for result in results for fault in result.suite.faults]
    found: dict[str, Any] = {
        "ok": not faults and all(trial.ok for trial in trials),
        "tests": [msgspec.structs.asdict(trial) for trial in trials],
        "faults": faults,
    }
    if coverage:
        found["coverage"] = [
            {"file": str(result.suite.file), **msgspec.structs.asdict(covered)}
            for result in results
            for covered in result.suite.coverage.report()
        ]
    return found


def _summary(trials: Sequence[Trial], faults: Sequence[Fault], untested: int) -> None:
    bad = sum(not trial.ok for trial in trials)
    parts = [f"{len(trials) - bad} passed"]
    parts += [f"{bad} failed"] if bad else []
    parts += [counted(len(faults), "fault")] if faults else []
    parts += [f"{untested} without tests"] if untested else []
    seconds = sum(trial.seconds for trial in trials)
    say(f"{', '.join(parts)} in {seconds:.2f} s", "red" if bad or faults else "green")


def junit(results: Sequence[_File]) -> bytes:
    """Return the results as JUnit XML: a suite a file; a file's own faults are errors."""
    root = ElementTree.Element("testsuites")
    for result in results:
        file, trials, faults = str(result.suite.file), result.trials, result.suite.faults
        failures = str(sum(not trial.ok for trial in trials))
        total = str(len(trials) + len(faults))
        seconds = f"{sum(trial.seconds for trial in trials):.3f}"
        suite = ElementTree.SubElement(
            root, "testsuite", name=file, tests=total, failures=failures, errors=str(len(faults)), time=seconds
        )
        for fault in faults:
            case = ElementTree.SubElement(suite, "testcase", classname=file, name="loads", time="0")
            ElementTree.SubElement(case, "error", message=_printable(fault.what)).text = _printable(str(fault))
        for trial in trials:
            about = {"classname": file, "name": trial.name, "file": file, "line": str(trial.line)}
            case = ElementTree.SubElement(suite, "testcase", about, time=f"{trial.seconds:.3f}")
            if not trial.ok:
                first = trial.message.partition("\n")[0]
                failure = ElementTree.SubElement(case, "failure", message=_printable(first))
                failure.text = _printable(trial.message)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _printable(text: str) -> str:
    """Return a text without characters that XML has no place for."""
    return "".join(char for char in text if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"))
