"""Every shipped rule file: it loads without a fault or hint, it carries tests, and they pass."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gateway.rules.desk.trials import Suite, explain
from gateway.rules.files.loader import known_types, load, rule_files
from gateway.rules.protocol import DeviceEntry
from gateway.rules.testing import SimulatedHouse

FOLDER = Path(__file__).parents[2] / "rules" / "catalogue"
FILES = rule_files(FOLDER)
SUITES = {file.name: Suite(file) for file in FILES}
TESTS = [(name, test) for name, suite in SUITES.items() for test in suite.tests]


def test_there_are_twelve() -> None:
    """A house can choose from at least twelve rules."""
    assert len(FILES) >= 12


def test_all_load_together() -> None:
    """No file has a fault, none uses the name of another's rule or an event type nobody raises."""
    loaded = load(FOLDER, types=known_types())
    assert [*map(str, loaded.faults), *map(str, loaded.hints)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_carries_a_title_and_tests(file: Path) -> None:
    """The docstring is title, needs and what to change; each rule has a title, and there are two to five tests."""
    title, _, rest = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n\n")
    assert re.fullmatch(r"[A-Z].*: .*\.", title)
    assert re.match(r"Needs: .*\nChange: ", rest, re.DOTALL)
    assert 2 <= len(SUITES[file.name].tests) <= 5
    for rule in SUITES[file.name].loaded.definitions:
        assert rule.title != rule.name.replace("_", " "), f"{rule.name} has no docstring"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_its_tests_see_all_of_it(file: Path) -> None:
    """Each rule runs in some test, and each of its arguments holds it back in one."""
    suite = Suite(file)
    assert all(trial.ok for trial in suite.run())
    assert [(covered.rule, covered.missed) for covered in suite.coverage.report() if covered.missed] == []


@pytest.mark.parametrize("mode", ["night", "away", "vacation"])
def test_own_tests_pass_in_any_installation(mode: str) -> None:
    """They say which mode and which kinds of devices they mean, whatever a house begins with and calls its own."""
    modes = (mode, *(other for other in ("vacation", "night", "away", "home") if other != mode))
    for file in FILES:
        names = sorted(set(re.findall(r'"([a-z]+-[a-z0-9-]+)"', file.read_text())))
        labels = ("may be off", "private", "own schedule")
        installed = [DeviceEntry(f"house/z2m:{name}", name, "elsewhere", "gateway", labels) for name in names]
        assert [trial.message for trial in Suite(file, installed, modes).run() if not trial.ok] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_can_be_taken_under_another_name(file: Path) -> None:
    """Each rule's name begins with that of its file, so that a copy under another name has names of its own."""
    names = [rule.name for rule in SUITES[file.name].loaded.definitions]
    assert file.stem in names
    assert all(name.startswith(file.stem) for name in names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_silent_where_nothing_fits(file: Path) -> None:
    """In a house without the devices it is about a rule does nothing, for a week, in all modes."""
    house = SUITES[file.name].house()
    house.set("thermometer-attic", temperature=21)
    for mode in ("away", "night", "vacation", "home"):
        house.mode = mode
        house.advance("42h")
    assert [event.type for event in house.outputs] == []


@pytest.mark.parametrize(("file", "test"), TESTS, ids=[f"{file}:{test}" for file, test in TESTS])
def test_own_tests_pass(file: str, test: str) -> None:
    """What the rule file promises with its own tests holds."""
    try:
        SUITES[file].call(test)
    except AssertionError as error:
        raise AssertionError(explain(error, str(FOLDER / file))) from error


def test_they_live_together() -> None:
    """All of them in one house: airing, frost and the schedule agree on a thermostat, the alarm has its cameras."""
    house = SimulatedHouse(load(FOLDER))
    house.device("camera-hall", kind="camera", room="hall")
    house.device("trv-hall", kind="thermostat", room="hall", mode="heat", setpoint_heat=20, temperature=19)
    house.mode = "night"
    house.set("window-hall", open=True)
    house.advance("10m")
    assert house.alerts == ["night_watch"]
    assert ("camera-hall", "set_recordings", True) in house.commands
    assert house.held("trv-hall") == {
        "mode": ("off", "airing"), "setpoint.heat": (21.0, "comfort_schedule_mode"),
    }  # fmt: skip
    house.set("trv-hall", temperature=3)
    house.advance("20m")
    house.restart(off="1h")
    assert house.held("trv-hall") == {"mode": ("heat", "frost_guard"), "setpoint.heat": (10.0, "frost_guard")}
    house.set("trv-hall", temperature=9)
    assert house.commands[-1] == ("trv-hall", "set_mode", "off")
    house.set("window-hall", open=False)
    assert house.commands[-1] == ("trv-hall", "set_mode", "heat")
    house.mode = "home"
    assert house.alerts == []
