"""@gate in the engine: what is asked, in which order, and what becomes of an event when a gate can't answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.protocol import GateInfo
from tests.rules.scene import house, loaded

PEOPLE = """
@gate("object_detected", kind="camera", where={"object.score": "<0.9"})
def people(event, ctx):
    ctx.state["asked"] = ctx.state.get("asked", 0) + 1
    return event["object.label"] == "person"
"""
SHORT = """
@gate("object_detected", mode="home")
def short(event, ctx):
    return {name: value for name, value in event.data.items() if name != "object.plate"}
"""
CAR = {"object.label": "car", "object.score": 0.5}
PERSON = {"object.label": "person", "object.score": 0.5, "object.plate": "B 1"}


def test_a_gate_lets_go_drops_or_changes(tmp_path: Path) -> None:
    """The first gate drops the car; the second takes a field from what the first let go; its state is kept."""
    here = house(tmp_path, PEOPLE, SHORT)
    here.device("cam", kind="camera")
    here.event("object_detected", "cam", **CAR)
    here.event("object_detected", "cam", **PERSON)
    assert here.gated == [False, {"object.label": "person", "object.score": 0.5}]
    assert here.state("people") == {"asked": 2}
    assert here.why("people")[-1] == "let it go"
    assert here.why("short")[-1] == "let it go with other data"


def test_what_speaks_against_a_gate_lets_the_event_go(tmp_path: Path) -> None:
    """Another mode, a test that fails, a device that is not meant: it goes as it is."""
    here = house(tmp_path, PEOPLE, SHORT)
    here.device("cam", kind="camera")
    here.mode = "away"
    here.event("object_detected", "cam", **{**CAR, "object.score": 0.95})
    here.event("object_detected", "door-hall", **CAR)
    assert here.gated == [True, True]


def test_rules_see_what_a_gate_drops(tmp_path: Path) -> None:
    """A rule runs for an event that leaves for nowhere."""
    here = house(tmp_path, PEOPLE, '@rule("object_detected")\ndef saw(event, ctx): ctx.emit("thing_seen")')
    here.device("cam", kind="camera")
    here.event("object_detected", "cam", **CAR)
    assert here.gated == [False]
    assert [event.type for event in here.emitted] == ["thing_seen"]


@pytest.mark.parametrize(("fail", "verdict"), [("open", True), ("closed", False)])
def test_a_gate_that_fails_is_passed_or_shut(tmp_path: Path, fail: str, verdict: bool) -> None:
    """It raises, answers nothing, is in quarantine: each time what `fail` says, and nothing waits to be tried again."""
    here = house(tmp_path, f'@gate("button_pressed", fail="{fail}")\ndef shut(event, ctx): return event["yes"]')
    here.raises = False
    for _ in range(7):
        here.event("button_pressed", "button-hall")
    assert here.gated == [verdict] * 7
    assert "a gate returns True (let it go), False (drop it) or a dict" in here.faults[0]
    assert "in quarantine" in here.why("shut")[-2]
    assert not [row for row in here.rows("rule_state") if "|parked|" in row]
    here.advance("10m")
    here.event("button_pressed", "button-hall", yes=True)
    assert here.gated[-1] is True, "one good answer ends the quarantine"


def test_a_gate_that_is_observed_lets_everything_go(tmp_path: Path) -> None:
    """It is asked, `why` says what it would have done, and the event goes as it is."""
    here = house(tmp_path, '@gate("button_pressed", commands="observe")\ndef shut(event, ctx): return False')
    here.event("button_pressed", "button-hall")
    assert here.gated == [True]
    assert here.why("shut")[-1] == "would have dropped it (only observed)"


def test_what_is_wrong_with_a_gate_is_said_at_its_line(tmp_path: Path) -> None:
    """No type, a word for `fail` that is none, an argument there is not."""
    found = loaded(
        tmp_path,
        "@gate()\ndef one(event, ctx): return True",
        '@gate("door_opened", fail="shut")\ndef two(event, ctx): return True',
        '@gate("door_opened", cooldwn="1s")\ndef three(event, ctx): return True',
    )
    assert [(Path(fault.file).name, fault.line) for fault in found.faults] == [("0.py", 2), ("1.py", 2), ("2.py", 2)]
    assert "@gate needs an event type" in found.faults[0].what
    assert 'write "open" or "closed"' in found.faults[1].what
    assert "@gate has no argument 'cooldwn'" in found.faults[2].what


def test_the_gateway_learns_which_events_to_hold(tmp_path: Path) -> None:
    """Types, selectors and `fail` of each gate are told, and the worker wants to see these events."""
    found = loaded(tmp_path, '@gate("door_opened", room="hall", fail="closed")\ndef shut(event, ctx): return False')
    assert found.gates == [GateInfo("shut", ("door_opened",), room=("hall",), closed=True, file="0.py")]
    assert "door_opened" in found.types
