"""`rules test`: choosing tests, results for programs, coverage, and machines without Linux parts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gateway.cli.main import main
from gateway.cli.rules.tests import chooser

RULES = """from gateway.rules import rule, timer, when
@rule("button_pressed", where={"button": "single"}, cooldown="1m")
def doorbell(event, ctx):
    ctx.after("5s", silence)
@timer
def silence(ctx):
    ctx.emit("silenced")
@when(kind="window", open=True)
def airing(window, ctx):
    ctx.alert("open")
@airing.end
def shut(window, ctx):
    ctx.emit("window_shut")
def test_rings(house):
    house.event("button_pressed", "bell-front", button="double")
    house.event("button_pressed", "bell-front", button="single")
    house.advance("5s")
    assert [event.type for event in house.emitted] == ["silenced"]
def test_window_bath(house):
    house.set("window-bath", open=True)
    assert house.alerts == ["shut"]
"""
LAPTOP = (
    "import sys\n"
    "for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios', 'systemd'): sys.modules[name] = None\n"
    "import signal\n"
    "del signal.setitimer\n"
    "from gateway.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write one file of rules, of which one test fails, and one with a fault."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "bell.py").write_text(RULES)
    return tmp_path


Run = Callable[..., str]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `rules test` in the folder."""
    monkeypatch.chdir(folder)

    def test(*words: str, code: int = 0) -> str:
        assert main(["rules", "test", *words, "--config", "nowhere.toml"]) == code
        said = capsys.readouterr()
        return said.out + said.err

    return test


@pytest.mark.parametrize(
    ("words", "name", "chosen"),
    [
        ("", "bell::test_rings", True),
        ("RINGS", "bell::test_rings", True),
        ("bell and not rings", "bell::test_rings", False),
        ("bath or rings", "bell::test_window_bath", True),
        ("not bell", "bell::test_rings", False),
    ],
)
def test_choosing(words: str, name: str, chosen: bool) -> None:
    """Words, `and`, `or`, `not`, over the names of file and test."""
    assert chooser(words)(name) is chosen


def test_only_the_chosen_are_run(run: Run) -> None:
    """The exit code is that of the chosen tests; when there is none, that is a mistake."""
    assert "1 passed in" in run("-k", "rings")
    assert "no test has 'kitchen'" in run("-k", "kitchen", code=2)


def test_junit(run: Run, folder: Path) -> None:
    """Failures and faults as other tools read them."""
    (folder / "rules" / "bad.py").write_text("from gateway.rules import rule\n@rule()\ndef bad(event, ctx): pass\n")
    run("--junit", "out.xml", code=1)
    suites = {Path(suite.get("name", "")).name: suite for suite in ElementTree.parse(folder / "out.xml").getroot()}
    counts = {name: (each.get("tests"), each.get("failures"), each.get("errors")) for name, each in suites.items()}
    assert counts == {"bell.py": ("2", "1", "0"), "bad.py": ("1", "0", "1")}
    assert "house.alerts: ['airing']" in (suites["bell.py"].findtext("testcase/failure") or "")
    assert "bad.py:2: @rule needs an event type" in (suites["bad.py"].findtext("testcase/error") or "")


def test_coverage_names_what_no_test_saw(run: Run) -> None:
    """Of rules, ends, timers and tests in arguments: what was never at work."""
    said = json.loads(run("--coverage", "--json", code=1))
    missed = {covered["rule"]: (covered["ran"], covered["missed"]) for covered in said["coverage"]}
    assert missed == {
        "doorbell": (1, ["cooldown= never held it back"]),
        "silence": (1, []),
        "airing": (1, ["its end never ran"]),
    }
    assert "missed  airing, line 8: its end never ran" in run("--coverage", code=1)


def test_it_runs_where_there_is_no_linux(folder: Path) -> None:
    """Neither the gateway's Unix parts nor a timer signal are needed."""
    (folder / "laptop.py").write_text(LAPTOP)
    words = [sys.executable, "laptop.py", "rules", "test", "-k", "rings", "--config", "nowhere.toml"]
    done = subprocess.run(words, capture_output=True, timeout=240, check=False, cwd=folder, text=True)
    assert (done.returncode, "1 passed in" in done.stdout) == (0, True), done.stdout + done.stderr
