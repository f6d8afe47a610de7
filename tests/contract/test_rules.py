"""Every shipped rule file: it loads without a fault or hint, it carries tests, and they pass."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gateway.rules.loader import inspect, rule_files
from gateway.rules.trials import Suite, explain

FOLDER = Path(__file__).parents[2] / "rules" / "catalogue"
FILES = rule_files(FOLDER)
SUITES = {file.name: Suite(file) for file in FILES}
TESTS = [(name, test) for name, suite in SUITES.items() for test in suite.tests]


def test_there_are_six() -> None:
    """A house gets at least six rules to begin with."""
    assert len(FILES) >= 6


def test_all_load_together() -> None:
    """No file has a fault, none uses the name of another's rule or an event type nobody raises."""
    loaded = inspect(FOLDER)
    assert [*map(str, loaded.faults), *map(str, loaded.hints)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_carries_a_title_and_tests(file: Path) -> None:
    """The first line says what the file is for; each rule has a title, and there are tests."""
    assert ast.get_docstring(ast.parse(file.read_text())), "no docstring"
    assert SUITES[file.name].tests, "no tests"
    for rule in SUITES[file.name].loaded.definitions:
        assert rule.title != rule.name.replace("_", " "), f"{rule.name} has no docstring"


@pytest.mark.parametrize(("file", "test"), TESTS, ids=[f"{file}:{test}" for file, test in TESTS])
def test_own_tests_pass(file: str, test: str) -> None:
    """What the rule file promises with its own tests holds."""
    try:
        SUITES[file].call(test)
    except AssertionError as error:
        raise AssertionError(explain(error, str(FOLDER / file))) from error
