"""`rules list` and `rules test`, as a person runs them, and what a failed test says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_server import served

GOOD = '''from gateway.rules import rule
@rule("door_opened", kind="door")
def greets(event, ctx):
    """Say hello. And more."""
    ctx.alert("hello")
def test_hello(house):
    house.set("door-front", open=True)
    assert house.alerts == ["greets"]
'''
FAILING = GOOD.replace('["greets"]', '["greets", "waves"]').replace("greets(", "waves(")
RAISING = GOOD.replace('ctx.alert("hello")', "ctx.alert(1 / 0)").replace("greets(", "raises(")
BROKEN = '@rule("door_opened")\ndef broken(event, ctx): pass\n'
CONFIG = '[rules]\nfolder = "mine"\nmodes = ["work", "sleep"]\n'
DEVICES = '[[device]]\nid = "house/z2m:0x1"\nname = "door-front"\nkind = "door"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one good rule file."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "good.py").write_text(GOOD)
    return tmp_path


def run(folder: Path, *words: str, code: int = 0) -> str:
    """Run the command in a process of its own, in `folder`; return what it says."""
    config = [] if "--config" in words else ["--config", "nowhere.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "rules", *words, *config],
        capture_output=True, timeout=240, check=False, cwd=folder, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_list_shows_name_trigger_title_and_place(folder: Path) -> None:
    """One line a rule."""
    said = run(folder, "list")
    assert "greets" in said
    assert "door_opened (kind=door)" in said
    assert "Say hello" in said
    assert "rules/good.py:2" in said


def test_list_as_json_with_faults_and_hints(folder: Path) -> None:
    """Faults make the exit code 1; the good rules are listed all the same."""
    (folder / "rules" / "bad.py").write_text(BROKEN)
    (folder / "rules" / "hint.py").write_text(GOOD.replace("door_opened", "dor_opened").replace("greets", "hints"))
    said: dict[str, Any] = json.loads(run(folder, "list", "--json", code=1))
    assert [rule["name"] for rule in said["rules"]] == ["greets", "hints"]
    (fault,) = said["faults"]
    assert (fault["file"].endswith("bad.py"), fault["line"], "NameError" in fault["what"]) == (True, 1, True)
    assert [hint["hint"] for hint in said["hints"]] == ["did you mean 'door_opened'?"]


def test_test_runs_the_files_own_tests(folder: Path) -> None:
    """All pass: 0, and the last line says how many."""
    said = run(folder, "test")
    assert "ok      test_hello" in said
    assert "1 passed" in said.splitlines()[-1]


def test_a_failed_test_shows_its_line_and_both_sides(folder: Path) -> None:
    """What was and what was wanted, without a test runner; the exit code is 1."""
    file = folder / "rules" / "failing.py"
    file.write_text(FAILING)
    said = run(folder, "test", str(file), code=1)
    assert f"{file}:8: assert house.alerts ==" in said
    assert "house.alerts: ['waves']" in said
    assert "1 failed" in said


def test_a_rule_that_raises_fails_its_test_with_the_rules_line(folder: Path) -> None:
    """The message names the line of the rule, not of the engine."""
    file = folder / "rules" / "raising.py"
    file.write_text(RAISING)
    said = run(folder, "test", str(file), code=1)
    assert f"{file}:5: ZeroDivisionError" in said
    assert "gateway/rules/engine/runner.py" not in said


def test_test_as_json(folder: Path) -> None:
    """One object with every test and fault."""
    (folder / "rules" / "failing.py").write_text(FAILING)
    (folder / "rules" / "bad.py").write_text(BROKEN)
    said = json.loads(run(folder, "test", "--json", code=1))
    assert said["ok"] is False
    assert {(Path(test["file"]).name, test["ok"]) for test in said["tests"]} == {
        ("good.py", True),
        ("failing.py", False),
    }
    assert len(said["faults"]) == 1


@pytest.mark.parametrize(
    "words", [("test", "rules/nothing.py"), ("test", "--rules", "nowhere"), ("list", "--rules", "x")]
)
def test_what_is_not_there_is_usage(folder: Path, words: tuple[str, ...]) -> None:
    """A file or folder that does not exist is the caller's mistake: 2."""
    assert "there " in run(folder, *words, code=2)


def test_folder_devices_and_modes_come_from_the_config(folder: Path) -> None:
    """With a config the installation's names are judged: a misspelt device is a fault with what was meant."""
    (folder / "mine").mkdir()
    (folder / "gateway.toml").write_text(CONFIG)
    (folder / "devices.toml").write_text(DEVICES)
    source = GOOD.replace('kind="door"', 'device="door-frnt", mode="slep"')
    (folder / "mine" / "x.py").write_text(source)
    said = json.loads(run(folder, "list", "--json", "--config", "gateway.toml", code=1))
    hints = {(fault["line"], fault["hint"]) for fault in said["faults"]}
    assert hints == {(2, "did you mean 'door-front'?"), (2, "did you mean 'sleep'?")}


def test_list_says_what_the_running_gateway_has_stopped(folder: Path) -> None:
    """`status` sends people here for a rule in quarantine: its name, the reason, and what ends it."""
    (folder / "gateway.toml").write_text('gateway.state = "state"\n')
    (folder / "state").mkdir()
    why = "did not return within 1 s"
    bad = {"name": "greets", "state": "quarantined", "reason": why, "fired": 7, "call_us_median": 1250.0}
    words = ("list", "--config", "gateway.toml")

    def look(_server: object) -> tuple[str, dict[str, Any]]:
        return run(folder, *words), json.loads(run(folder, *words, "--json"))

    text, said = served(folder / "state" / "api.sock", {"rules_list": lambda: {"rules": [bad]}}, look)
    assert f"greets is in quarantine: {why}; editing its file ends that; see: edge-gateway rules why greets" in text
    assert re.search(r"greets +quarantined .* 7 +1\.25 ", text), text
    assert said["stopped"] == {"greets": why}
    assert (said["rules"][0]["title"], said["rules"][0]["fired"]) == ("Say hello", 7)
