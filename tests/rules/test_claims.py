"""ctx.hold and ctx.release: the strongest claim counts, and what follows from it is commanded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house

BUTTONS = """
@rule("button_pressed", where={"button": "rule"})
def by_rule(event, ctx): ctx.hold("light-hall", on=True, lasts="10m")
@rule("button_pressed", where={"button": "person"})
def by_person(event, ctx): ctx.hold("light-hall", on=False, priority="person", lasts="5m")
@rule("button_pressed", where={"button": "safety"})
def by_safety(event, ctx): ctx.hold("light-hall", on=True, priority="safety")
@rule("button_pressed", where={"button": "safe"})
def safe(event, ctx): ctx.emit("safe_noted")
@rule("button_pressed", where={"button": "release"})
def releases(event, ctx):
    ctx.hold("light-hall", on=True, brightness=5)
    ctx.release("light-hall", "brightness")
"""


@pytest.fixture
def here(tmp_path: Path) -> SimulatedHouse:
    """Return a house with a light that is off."""
    made = house(tmp_path, BUTTONS)
    made.device("light-hall", kind="light", on=False)
    return made


def press(here: SimulatedHouse, button: str) -> None:
    """Press a button."""
    here.event("button_pressed", "button-hall", button=button)


def switched(here: SimulatedHouse) -> list[object]:
    """Return the values the light was commanded to."""
    return [value for _, _, value in here.commands]


def test_a_hold_ends_after_its_time_and_what_was_before_returns(here: SimulatedHouse) -> None:
    """On, and after ten minutes off as it was before."""
    press(here, "rule")
    here.set("light-hall", on=True)
    here.advance("9m")
    assert switched(here) == [True]
    here.advance("2m")
    assert switched(here) == [True, False]


def test_holding_again_extends_without_a_second_command(here: SimulatedHouse) -> None:
    """Each new claim of a rule replaces its own; nothing is sent for what is so already."""
    for _ in range(3):
        press(here, "rule")
        here.advance("8m")
    assert switched(here) == [True]
    here.advance("3m")
    assert switched(here) == [True, False]


def test_the_strongest_claim_counts_and_exposes_the_next(here: SimulatedHouse) -> None:
    """Safety over person over rule; the end of one exposes the next, not a stale value."""
    press(here, "rule")
    press(here, "person")
    assert switched(here) == [True, False]
    press(here, "safety")
    assert switched(here) == [True, False, True]
    here.advance("6m")
    assert switched(here) == [True, False, True]


def test_a_person_is_not_overruled_by_a_rule(here: SimulatedHouse) -> None:
    """A weaker claim changes nothing until the stronger one ends."""
    press(here, "person")
    press(here, "rule")
    assert switched(here) == [False]
    here.advance("6m")
    assert switched(here) == [False, True]


def test_commands_say_for_how_long_and_with_what_priority(here: SimulatedHouse) -> None:
    """A command is a record of the lane command with cause, actor, field, priority and the time it expires."""
    press(here, "rule")
    (command,) = [event for event in here.outputs if event.lane == "command"]
    assert command.type == "command_requested"
    assert command.subject == "house/test:light-hall"
    assert command.actor.startswith("rule:by_rule@")
    expires = "2026-01-05T12:10:00.000Z"
    wanted = {"command": "set_on", "value": True, "field": "on", "priority": "rule", "expires": expires}
    assert command.data == wanted


def test_one_field_can_be_released(here: SimulatedHouse) -> None:
    """ctx.release ends this rule's claims, on all fields or on those named."""
    here.set("light-hall", brightness=80)
    press(here, "release")
    assert here.commands == [
        ("light-hall", "set_on", True),
        ("light-hall", "set_brightness", 5),
        ("light-hall", "set_brightness", 80),
    ]


def test_what_never_reported_is_switched_back(tmp_path: Path) -> None:
    """A siren that never says how it is is off after its time."""
    here = house(tmp_path, '@rule("leak_detected")\ndef loud(e, ctx): ctx.hold("siren-hall", on=True, lasts="3m")\n')
    here.set("leak-bath", leak=True)
    here.advance("4m")
    assert here.commands == [("siren-hall", "set_on", True), ("siren-hall", "set_on", False)]


def test_claims_survive_a_restart_and_end_even_if_that_is_late(here: SimulatedHouse) -> None:
    """A hold whose end fell into a power cut ends at the start after it."""
    press(here, "rule")
    here.restart(off="1h")
    assert switched(here) == [True, False]
