"""Claims of persons: a change by hand and a command sent by a person count for a time; safety counts more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.rules.language.acting import Acting
from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import loaded

RULES = """
@rule("button_pressed", where={"button": "on"})
def turns_on(event, ctx): ctx.hold("light-hall", on=True, lasts="8h")
@rule("button_pressed", where={"button": "safe"})
def safety(event, ctx): ctx.hold("light-hall", on=True, priority="safety", lasts="30m")
@rule("button_pressed", where={"button": "firm"})
def firm(event, ctx): ctx.hold("light-hall", on=True, manual_hold=0)
@rule("button_pressed", where={"button": "brief"})
def brief(event, ctx): ctx.hold("light-hall", on=True, manual_hold="5m")
@rule("button_pressed", where={"button": "boost"})
def boost(event, ctx): ctx.hold("trv-hall", setpoint_heat=24, lasts="10m")
@rule("button_pressed", where={"button": "warm"})
def warm(event, ctx): ctx.hold("trv-hall", setpoint_heat=21.3)
@rule("device_overridden")
def tells(event, ctx): ctx.log(f"{event.device.name} {event['field']}={event['value']} {event['reason']}")
"""


@pytest.fixture
def here(tmp_path: Path) -> SimulatedHouse:
    """Return a house with a light that is off and a thermostat."""
    found = loaded(tmp_path, RULES)
    assert found.faults == []
    made = SimulatedHouse(found, acting=Acting(manual_hold_of={"thermostat": 7200.0, "house/test:light-wc": 60.0}))
    made.device("light-hall", kind="light", on=False)
    made.device("trv-hall", kind="thermostat", setpoint_heat=19.0)
    return made


def press(here: SimulatedHouse, button: str) -> None:
    """Press a button."""
    here.event("button_pressed", "button-hall", button=button)


def on_and_taken(here: SimulatedHouse, button: str = "on") -> None:
    """Have the light switched on by a rule, and let it say so, a while ago."""
    press(here, button)
    here.set("light-hall", on=True)
    here.advance("1m")


def switched(here: SimulatedHouse) -> list[object]:
    """Return the values that devices were commanded to."""
    return [value for _, _, value in here.commands]


def test_a_change_by_hand_wins_for_its_time(here: SimulatedHouse) -> None:
    """Switched off by hand it stays off for an hour, whatever rules ask meanwhile; then the rule's claim counts."""
    on_and_taken(here)
    here.set("light-hall", on=False)
    assert here.held("light-hall") == {"on": (False, "person:hand")}
    press(here, "on")
    here.advance("59m")
    assert switched(here) == [True]
    here.advance("2m")
    assert switched(here) == [True, True]
    assert here.held("light-hall") == {"on": (True, "turns_on")}
    assert here.logs == ["light-hall on=False changed by hand"]


def test_what_a_person_chose_stays_when_nobody_claims_anything_else(here: SimulatedHouse) -> None:
    """When the rule's claim ends before the person's, the device is left as the person wanted it."""
    press(here, "boost")
    here.set("trv-hall", setpoint_heat=24.0)
    here.advance("1m")
    here.set("trv-hall", setpoint_heat=22.0)
    here.restart()
    here.advance("5h")
    assert switched(here) == [24.0]
    assert here.rows("holds") == {}


def test_the_event_says_who_and_until_when(here: SimulatedHouse) -> None:
    """device_overridden carries field, value, what it was told, over whom, until when; its actor is a person."""
    on_and_taken(here)
    here.set("light-hall", on=False)
    (event,) = [event for event in here.outputs if event.type == "device_overridden"]
    until = "2026-01-05T13:01:00.000Z"
    wanted = {"field": "on", "value": False, "was": True, "reason": "changed by hand", "until": until}
    assert (event.actor, event.subject, event.data) == (
        "person:hand", "house/test:light-hall", wanted | {"over": "turns_on"},
    )  # fmt: skip


def test_safety_counts_more_than_a_person(here: SimulatedHouse) -> None:
    """What safety holds is told again at once; when safety lets go the person's choice counts."""
    on_and_taken(here, "safe")
    here.set("light-hall", on=False)
    assert switched(here) == [True, True]
    here.set("light-hall", on=True)
    here.advance("30m")
    assert switched(here) == [True, True, False]


def test_a_rule_can_insist_or_give_way_for_less(here: SimulatedHouse) -> None:
    """With manual_hold=0 a change by hand is set right at once, with "5m" after five minutes."""
    on_and_taken(here, "firm")
    here.set("light-hall", on=False)
    assert switched(here) == [True, True]
    here.set("light-hall", on=True)
    press(here, "brief")
    here.advance("1m")
    here.set("light-hall", on=False)
    here.advance("4m")
    assert switched(here) == [True, True]
    here.advance("2m")
    assert switched(here) == [True, True, True]


def test_old_copies_and_refusals_are_no_hands(here: SimulatedHouse) -> None:
    """A report of what was before, at any time until the device has taken the command, is not a person's doing."""
    here.deaf("light-hall")
    press(here, "on")
    here.advance("1h")
    here.set("light-hall", on=None)
    here.set("light-hall", on=False)
    here.advance("1h")
    assert here.held("light-hall") == {"on": (True, "turns_on")}
    assert here.logs == []


def test_what_happens_in_the_echo_time_is_judged_when_it_is_over(here: SimulatedHouse) -> None:
    """Switched off again within seconds: nothing at once, a change by hand when the echo time is over."""
    press(here, "on")
    here.set("light-hall", on=True)
    here.advance("2s")
    here.set("light-hall", on=False)
    assert here.held("light-hall") == {"on": (True, "turns_on")}
    here.restart()
    here.advance("9s")
    assert here.held("light-hall") == {"on": (False, "person:hand")}


def test_a_device_on_its_way_is_no_hand(here: SimulatedHouse) -> None:
    """Values between the old and the wanted one within the echo time leave no claim behind."""
    press(here, "warm")
    for value in (20.0, 21.0, 21.3):
        here.set("trv-hall", setpoint_heat=value)
    here.advance("1m")
    assert here.held("trv-hall") == {"setpoint.heat": (21.3, "warm")}


def test_a_hand_ends_what_was_not_taken_yet(here: SimulatedHouse) -> None:
    """Changed by hand while the device has not taken the command: that is not told again behind the person's back."""
    here.deaf("trv-hall")
    press(here, "boost")
    here.advance("12s")
    here.set("trv-hall", setpoint_heat=22.0)
    assert here.held("trv-hall") == {"setpoint.heat": (22.0, "person:hand")}
    withdrawn = [event for event in here.outputs if event.lane == "command"][1]
    assert (withdrawn.type, withdrawn.data) == ("command_withdrawn", {"field": "setpoint.heat"})
    here.advance("5m")
    (row,) = here.rows("holds").values()
    assert "failed" not in row["told"]["setpoint.heat"]


def test_a_rounded_value_is_what_it_was_told(here: SimulatedHouse) -> None:
    """What the device confirmed, rounded to its step, is no change by hand, then or later."""
    press(here, "warm")
    here.set("trv-hall", setpoint_heat=21.5)
    data: dict[str, Any] = {"command": "set_setpoint", "field": "setpoint.heat", "value": 21.3, "reported": 21.5}
    here.event("command_confirmed", "trv-hall", actor="gateway", **data)
    here.advance("1h")
    here.set("trv-hall", setpoint_heat=None)
    here.set("trv-hall", setpoint_heat=21.5)
    assert here.held("trv-hall") == {"setpoint.heat": (21.3, "warm")}
    here.set("trv-hall", setpoint_heat=23.0)
    assert here.held("trv-hall") == {"setpoint.heat": (23.0, "person:hand")}
    here.advance("119m")
    assert here.held("trv-hall") == {"setpoint.heat": (23.0, "person:hand")}
    here.advance("2m")
    assert here.held("trv-hall") == {"setpoint.heat": (21.3, "warm")}
    assert here.commands[-1] == ("trv-hall", "set_setpoint", 21.3)


def test_what_a_person_sends_is_a_claim_too(here: SimulatedHouse) -> None:
    """A command sent by a person counts for the same time, whether a rule holds the field or not, and can be let go."""
    here.send("light-hall", "set_on", False)
    assert here.held("light-hall") == {"on": (False, "person:test")}
    press(here, "on")
    assert switched(here) == []
    here.let_go("light-hall")
    assert switched(here) == [True]
    here.send("light-hall", "set_on", False)
    here.advance("61m")
    assert switched(here) == [True, True]


def test_a_person_s_command_leaves_nothing_behind(here: SimulatedHouse) -> None:
    """When its time is over and no rule holds anything, nothing is switched and no row is kept."""
    here.send("light-hall", "set_on", True)
    here.set("light-hall", on=True)
    here.advance("2h")
    assert here.commands == []
    assert here.rows("holds") == {}
    assert here.rows("timers") == {}


def test_fields_claimed_together_end_together(here: SimulatedHouse, tmp_path: Path) -> None:
    """Releasing one of two fields leaves the end of the other as it was."""
    text = """
    @rule("button_pressed")
    def both(event, ctx):
        ctx.hold("light-wc", on=True, brightness=5, lasts="5m")
        ctx.release("light-wc", "brightness")
    """
    (tmp_path / "b").mkdir()
    there = SimulatedHouse(loaded(tmp_path / "b", text))
    there.device("light-wc", on=False, brightness=80)
    there.event("button_pressed", "button-wc")
    there.advance("6m")
    assert there.commands[-1] == ("light-wc", "set_on", False)


def test_observed_rules_claim_nothing_real(tmp_path: Path) -> None:
    """What an observed rule would switch is recorded as such; what another rule holds is not touched by it."""
    text = """
    @rule("button_pressed", where={"button": "a"}, commands="observe")
    def tried(event, ctx): ctx.hold("light-wc", on=False, lasts="10m", priority="safety")
    @rule("button_pressed", where={"button": "b"})
    def real(event, ctx): ctx.hold("light-wc", on=True)
    @rule("button_pressed", where={"button": "c"})
    def named(event, ctx): ctx.command("light-wc", "toggle")
    """
    house = SimulatedHouse(loaded(tmp_path, text), acting=Acting(observed=("named",)))
    house.device("light-wc", on=False)
    for button in ("b", "a", "c"):
        house.event("button_pressed", "button-wc", button=button)
    assert house.commands == [("light-wc", "set_on", True)]
    assert house.observed == [("light-wc", "set_on", False), ("light-wc", "toggle", None)]
    house.advance("11m")
    assert house.observed[-1] == ("light-wc", "set_on", True)
    assert house.commands == [("light-wc", "set_on", True)]


def test_a_rule_on_trial_goes_live_and_back(tmp_path: Path) -> None:
    """When a rule is not only observed any more what it holds counts at once, and the other way round."""
    text = """
    @rule("button_pressed")
    def lights(event, ctx): ctx.hold("light-wc", on=True)
    """
    tried = Acting(observed=("lights",))
    house = SimulatedHouse(loaded(tmp_path, text), acting=tried)
    house.device("light-wc", on=False)
    house.event("button_pressed", "button-wc")
    assert (house.commands, house.observed) == ([], [("light-wc", "set_on", True)])
    house._acting = Acting()
    house.restart()
    assert house.commands == [("light-wc", "set_on", True)]
    house.set("light-wc", on=True)
    house._acting = tried
    house.restart()
    assert house.commands == [("light-wc", "set_on", True), ("light-wc", "set_on", False)]


def test_a_device_on_trial_goes_live(tmp_path: Path) -> None:
    """When a device is not only observed any more it is told what is held, once."""
    text = """
    @rule("button_pressed")
    def lights(event, ctx): ctx.hold("light-wc", on=True)
    """
    device = "house/test:light-wc"
    house = SimulatedHouse(loaded(tmp_path, text), acting=Acting(observed_devices=(device,)))
    house.device("light-wc", on=False)
    house.event("button_pressed", "button-wc")
    told: dict[str, Any] = {
        "command": "set_on",
        "value": True,
        "field": "on",
        "reason": "commands to this device are only observed",
    }
    house.event("command_observed", "light-wc", actor="gateway", lane="telemetry", **told)
    house.set("light-wc", on=True)
    house.advance("1m")
    house.set("light-wc", on=False)
    house.restart()
    assert (len(house.commands), house.logs) == (1, [])
    house._acting = Acting()
    house.restart()
    house.restart()
    assert len(house.commands) == 2
