"""`rules debug`: one recorded event in the foreground."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rules.recorded import Recorder

DOOR = "house/z2m:front"
RULES = """from gateway.rules import rule
@rule("door_opened", kind="door", where={"loud": True})
def loud(event, ctx): pass
@rule("door_opened")
def counts(event, ctx):
    ctx.state["n"] = ctx.state.get("n", 0) + 1
    breakpoint()
    ctx.log(f"{event.device.name} number {ctx.state['n']}")
    ctx.command("front-door", "ring", ctx.state["n"])
"""


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, str]:
    """Write a gateway's folder whose rule has counted three events, and return the second one's id."""
    recorder = Recorder(tmp_path / "state" / "journal")
    events = []
    for number in range(1, 4):
        events.append(recorder.event(60 * number, "door_opened", DOOR, open=True))
        recorder.rows(60 * number, {"rule_state": {"counts|state|n": number}, "values": {DOOR: {"open": True}}})
    recorder.close()
    (tmp_path / "gateway.toml").write_text('gateway.state = "state"\n')
    (tmp_path / "devices.toml").write_text(f'[[device]]\nid = "{DOOR}"\nname = "front-door"\nkind = "door"\n')
    (tmp_path / "counts.py").write_text(RULES)
    return tmp_path, events[1].id


def run(site: Path, *words: str, code: int = 0, typed: str = "continue\n") -> str:
    """Run `rules debug` with something typed."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "rules", "debug", "counts.py", *words, "--config", "gateway.toml"],
        capture_output=True, timeout=240, check=False, cwd=site, text=True, input=typed,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_breakpoint_opens_the_debugger(site: tuple[Path, str]) -> None:
    """In the rule's frame, with its line, and what is typed is heard; then decision and outcome are told."""
    folder, event = site
    said = run(folder, "--event", event, typed="print('seen', event.type, ctx.state['n'])\ncontinue\n")
    assert "counts.py(8)counts()" in said
    assert "seen door_opened 2" in said
    assert "loud: where: loud was not known, not loud=True" in said
    assert "counts: ran in " in said
    assert "log      counts: front-door number 2" in said
    assert "did      2026-01-05T00:02:00.000Z  counts  command  front-door: ring 2" in said


@pytest.mark.parametrize(("state", "number"), [("then", 2), ("now", 4), ("empty", 1)])
def test_state_of_then_of_now_or_none(site: tuple[Path, str], state: str, number: int) -> None:
    """The rule goes on from what it knew before the event, from what it knows now, or from nothing."""
    folder, event = site
    (folder / "counts.py").write_text(RULES.replace("    breakpoint()\n", ""))
    said = json.loads(run(folder, "--event", event, "--state", state, "--json"))
    assert [(done["kind"], done["data"]["value"]) for done in said["did"]] == [("command", number)]
    assert [look["rule"] for look in said["rules"] if look.get("ran")] == ["counts"]


def test_there_is_no_limit_and_a_fault_has_its_stack(site: tuple[Path, str]) -> None:
    """What a rule raises is shown with its stack, and ends with 1."""
    folder, event = site
    (folder / "counts.py").write_text(RULES.replace("breakpoint()", "1 / 0"))
    said = run(folder, "--event", event, code=1)
    assert "counts.py:7: ZeroDivisionError" in said
    assert "    1 / 0" in said


def test_an_event_that_is_not_there(site: tuple[Path, str]) -> None:
    """Its id is named."""
    assert "no event 'ab-1-2' in the journal" in run(site[0], "--event", "ab-1-2", code=1)
