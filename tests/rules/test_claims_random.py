"""Claims under anything: rules, hands, persons, observed rules, deaf devices and restarts in any order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.rules.files.loader import Loaded
from gateway.rules.language.acting import Acting
from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import loaded

RULES = """
@rule("button_pressed", where={"button": "long"})
def long(event, ctx): ctx.hold("trv", setpoint_heat=event["value"], lasts="2h")
@rule("button_pressed", where={"button": "short"})
def short(event, ctx): ctx.hold("trv", setpoint_heat=event["value"], on=True, lasts="3m", manual_hold="5m")
@rule("button_pressed", where={"button": "safe"})
def safe(event, ctx): ctx.hold("trv", setpoint_heat=event["value"], lasts="10m", priority="safety")
@rule("button_pressed", where={"button": "firm"})
def firm(event, ctx): ctx.hold("trv", setpoint_heat=event["value"], lasts="7m", manual_hold=0)
@rule("button_pressed", where={"button": "tried"}, commands="observe")
def tried(event, ctx): ctx.hold("trv", setpoint_heat=event["value"], lasts="20m")
@rule("button_pressed", where={"button": "free"})
def long_ends(event, ctx): ctx.release("trv")
@when(device="window", open=True, lasts="1m")
def airing(window, ctx): ctx.hold("trv", on=False, priority="safety")
"""
STEPS = 60
PRESSES = ("long", "short", "safe", "firm", "tried", "free")


def play(rules: Loaded, seed: int, *, restarts: bool) -> SimulatedHouse:
    """Let sixty random things happen; with `restarts` the power fails behind each of them."""
    chance = random.Random(seed)
    house = SimulatedHouse(rules, acting=Acting(manual_hold_s=1800.0))
    house.device("trv", kind="thermostat", setpoint_heat=19.0, on=True)
    house.device("window", kind="window", open=False)
    for _ in range(STEPS):
        what, value = chance.randrange(10), float(chance.randrange(15, 25))
        if what < 3:
            house.event("button_pressed", "button", button=chance.choice(PRESSES), value=value)
        elif what == 3 and house.commands:
            house.set("trv", setpoint_heat=house.commands[-1][2] if house.commands[-1][1] == "set_setpoint" else value)
        elif what == 4:
            house.set("trv", setpoint_heat=value)
        elif what == 5:
            house.send("trv", "set_setpoint", value)
        elif what == 6:
            house.let_go("trv")
        elif what == 7:
            house.set("window", open=chance.random() < 0.5)
        elif what == 8:
            house.deaf("trv", deaf=chance.random() < 0.5)
        house.advance(chance.choice((1, 5, 30, 120, 900)))
        if restarts:
            house.restart()
    return house


@pytest.mark.parametrize("seed", range(12))
def test_a_restart_anywhere_changes_nothing(tmp_path: Path, seed: int) -> None:
    """The same commands, real and observed, and the same claims, whether the power fails behind each step or never."""
    rules = loaded(tmp_path, RULES)
    assert rules.faults == []
    straight, broken = (play(rules, seed, restarts=restarts) for restarts in (False, True))
    assert broken.commands == straight.commands
    assert broken.observed == straight.observed
    assert broken.held("trv") == straight.held("trv")
    assert straight.commands


@pytest.mark.parametrize("seed", range(12, 24))
def test_in_the_end_nothing_is_held_and_nothing_is_left(tmp_path: Path, seed: int) -> None:
    """When every claim has ended no row and no timer is left."""
    rules = loaded(tmp_path, RULES)
    house = play(rules, seed, restarts=False)
    house.deaf("trv", deaf=False)
    house.set("window", open=False)
    house.advance("1d")
    assert house.rows("holds") == {}
    assert house.rows("timers") == {}
    assert house.held("trv") == {}
