"""Rules that are removed, renamed or disabled: what they hold ends, what they know is kept until the name is back."""

from __future__ import annotations

from pathlib import Path

from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house, loaded

LEFT_OPEN = """
@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx):
    ctx.state["times"] = ctx.state.get("times", 0) + 1
    ctx.alert(f"{door.name} is open")
    ctx.hold("siren-hall", on=True)
@timer
def later(ctx, number): ctx.emit("later_done", {"number": number})
@rule("button_pressed")
def pressed(event, ctx): ctx.after("1h", later, number=7)
"""
NOTHING = "x = 1\n"


def removed(folder: Path, here: SimulatedHouse) -> None:
    """Remove the rules."""
    here.reload(loaded(folder, NOTHING))


def restored(folder: Path, here: SimulatedHouse) -> None:
    """Bring them back."""
    here.reload(loaded(folder, LEFT_OPEN))


def switch(here: SimulatedHouse, event_type: str, rule: str, **data: str) -> None:
    """Let a person switch a rule."""
    here.event(event_type, lane="timer", actor="person:test", rule=rule, **data)


def test_a_removed_rule_lets_go_and_finds_its_state_again(tmp_path: Path) -> None:
    """Its alert and its hold end; when the name comes back its state is there and what is still so begins again."""
    here = house(tmp_path, LEFT_OPEN)
    here.set("door-front", open=True)
    here.advance("31m")
    assert here.alerts == ["left_open"]
    removed(tmp_path, here)
    assert here.alerts == []
    assert here.commands == [("siren-hall", "set_on", True), ("siren-hall", "set_on", False)]
    here.advance("6d")
    restored(tmp_path, here)
    assert here.state("left_open") == {"times": 2}
    assert here.alerts == ["left_open"]
    here.advance("8d")
    assert here.state("left_open") == {"times": 2}, "it is no longer removed"


def test_timers_of_a_removed_rule_wait_for_it(tmp_path: Path) -> None:
    """One that is not due goes on to its time, one that was due fires once when the rule is back."""
    here = house(tmp_path, LEFT_OPEN)
    here.event("button_pressed", "button-hall")
    here.set("door-front", open=True)
    here.advance("10m")
    removed(tmp_path, here)
    here.advance("10m")
    restored(tmp_path, here)
    here.advance("9m")
    assert here.alerts == []
    here.advance("2m")
    assert here.alerts == ["left_open"]
    removed(tmp_path, here)
    here.advance("2d")
    here.restart()
    assert here.emitted == []
    assert here.faults == []
    restored(tmp_path, here)
    here.advance("1s")
    assert [event.data["number"] for event in here.emitted] == [7]
    here.advance("2d")
    assert len(here.emitted) == 1


def test_what_nobody_brings_back_is_forgotten(tmp_path: Path) -> None:
    """After seven days nothing of a removed rule is left; a name that comes back then is a new rule."""
    here = house(tmp_path, LEFT_OPEN)
    here.event("button_pressed", "button-hall")
    here.set("door-front", open=True)
    here.advance("31m")
    removed(tmp_path, here)
    here.advance("7d")
    here.advance("1m")
    assert here.rows("rule_state") == {}
    assert here.rows("timers") == {}
    restored(tmp_path, here)
    here.advance("31m")
    assert here.state("left_open") == {"times": 1}


def test_a_disabled_rule_does_nothing_until_it_is_enabled(tmp_path: Path) -> None:
    """It lets go, sees nothing, is still disabled after an edit and a restart; enabled, it looks at what is so."""
    here = house(tmp_path, LEFT_OPEN)
    here.set("door-front", open=True)
    here.advance("31m")
    switch(here, "rule_disabled", "left_open")
    switch(here, "rule_disabled", "pressed")
    assert here.alerts == []
    assert here.commands[-1] == ("siren-hall", "set_on", False)
    here.event("button_pressed", "button-hall")
    restored(tmp_path, here)
    here.restart(off="1h")
    here.advance("1h")
    assert (here.alerts, here.emitted) == ([], [])
    switch(here, "rule_enabled", "left_open")
    assert here.alerts == ["left_open"]
    switch(here, "rule_enabled", "pressed")
    here.event("button_pressed", "button-hall")
    here.advance("1h")
    assert len(here.emitted) == 1


def test_disabled_for_a_time(tmp_path: Path) -> None:
    """`until` enables it again by itself, once; disabled anew, the new time counts."""
    here = house(tmp_path, LEFT_OPEN)
    switch(here, "rule_disabled", "left_open", until="2026-01-05T14:00:00Z")
    switch(here, "rule_disabled", "left_open", until="2026-01-05T13:00:00Z")
    here.set("door-front", open=True)
    here.advance("59m")
    assert here.alerts == []
    here.advance("2m")
    assert list(here.rows("rule_state")) != ["left_open|disabled"]
    here.advance("31m")
    assert here.alerts == ["left_open"]
    here.set("door-front", open=False)
    here.advance("2h")
    assert here.state("left_open") == {"times": 1}
