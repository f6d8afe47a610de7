"""The pytest plugin: rule files and tests beside them, run by a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOORBELL = """from gateway.rules import rule
@rule("button_pressed", cooldown="1m")
def doorbell(event, ctx):
    ctx.alert("somebody rings")
def test_rings(house):
    house.event("button_pressed", "bell-front", button="single")
    assert house.alerts == ["doorbell"]
def test_fails(house):
    assert house.alerts == ["doorbell"]
"""
BESIDE = """import pytest
from hypothesis import given, settings, strategies as st
@settings(deadline=None, max_examples=20, database=None)
@given(presses=st.lists(st.sampled_from(["single", "double"]), max_size=4))
def test_any_presses(houses, presses):
    house = houses("doorbell.py")
    for button in presses:
        house.event("button_pressed", "bell-front", button=button)
    assert house.alerts == (["doorbell"] if presses else [])
def test_all_rules(house):
    house.event("button_pressed", "bell-front")
    assert house.alerts == ["another", "doorbell"]
@pytest.mark.rules("another.py")
def test_one_file(house):
    house.event("button_pressed", "bell-front")
    assert house.alerts == ["another"]
"""
WITHIN = """from hypothesis import given, settings, strategies as st
from gateway.rules import rule
@rule("button_pressed")
def counts(event, ctx):
    ctx.state["n"] = ctx.state.get("n", 0) + 1
@settings(deadline=None, max_examples=20, database=None)
@given(presses=st.integers(0, 5))
def test_counts(house, presses):
    for _ in range(presses):
        house.event("button_pressed", "bell-front")
    assert house.state("counts").get("n", 0) == presses
@settings(deadline=None, max_examples=20, database=None)
@given(presses=st.integers(0, 9))
def test_never_three(house, presses):
    assert presses < 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write rules and tests beside them."""
    files = {
        "doorbell.py": DOORBELL,
        "another.py": DOORBELL.partition("def test_rings")[0].replace("doorbell", "another"),
        "_draft.py": "from gateway.rules import nothing\n",
        "lib/words.py": "from gateway.rules import rule\ndef test_nothing(): assert False\n",
        "tests/test_beside.py": BESIDE,
    }
    for name, text in files.items():
        path = tmp_path / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(folder: Path, *words: str, code: int = 0) -> str:
    """Run pytest in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "gateway.rules.pytest_plugin", "-p", "no:cacheprovider", "-v", *words],
        capture_output=True, timeout=240, check=False, cwd=folder, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_folder_of_rules(folder: Path) -> None:
    """Rule files and tests beside them, which know `house` and `houses`; no drafts, no lib; failures are explained."""
    said = run(folder, "rules", code=1)
    assert "rules/doorbell.py::test_rings PASSED" in said
    assert f'{folder / "rules" / "doorbell.py"}:9: assert house.alerts == ["doorbell"]' in said
    assert "  house.alerts: []" in said
    assert "1 failed, 4 passed" in said


def test_one_file_by_its_name(folder: Path) -> None:
    """A rule file that pytest is pointed at is collected once, as rules."""
    assert "1 passed, 1 deselected" in run(folder, "rules/doorbell.py", "-k", "rings")


def test_a_fault_is_said_with_its_line(folder: Path) -> None:
    """A file that cannot be loaded is an error of collection: file:line and what was probably meant."""
    (folder / "rules" / "bad.py").write_text(DOORBELL.replace("cooldown", "coldown"))
    assert "bad.py:2: @rule has no argument 'coldown' (did you mean 'cooldown'?)" in run(folder, "rules", code=2)


def test_modes_of_ones_own(folder: Path) -> None:
    """A house with other modes says so in pytest's configuration; a misspelt one is a fault."""
    source = DOORBELL.partition("def test_fails")[0].replace('cooldown="1m"', 'mode="work"')
    source = source.replace("    house.event", '    house.mode = "work"\n    house.event')
    (folder / "rules" / "doorbell.py").write_text(source)
    assert "1 passed" in run(folder, "rules/doorbell.py", "-o", "rules_modes=sleep work")
    assert "there is no mode 'work'" in run(folder, "rules/doorbell.py", "-o", "rules_modes=sleep play", code=2)


def test_hypothesis_within_a_rule_file(folder: Path) -> None:
    """A property test in a rule file gets a new house for each example; what fails is said with its example."""
    (folder / "rules" / "within.py").write_text(WITHIN)
    said = run(folder, "rules/within.py", code=1)
    assert "1 failed, 1 passed" in said
    assert "presses=3" in said
