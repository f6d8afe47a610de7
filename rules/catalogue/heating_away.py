"""Heating while away: thermostats are down while nobody is home, and then what they were.

Needs: thermostats that take a setpoint; the house's mode set to "away" or "vacation".
Change: the temperatures. With the comfort schedule this one is not needed: it looks at the mode itself.
"""

from gateway.rules import Context, Event, rule
from gateway.rules.testing import SimulatedHouse

SETPOINT = {"away": 17.0, "vacation": 12.0}  # °C by mode of the house; in other modes nothing is held


@rule("mode_changed")
def heating_away(event: Event, ctx: Context) -> None:
    """Hold the thermostats down, or let them go."""
    if event.subject:  # a thermostat's mode, not the house's
        return
    for thermostat in ctx.devices(kind="thermostat"):
        if ctx.mode in SETPOINT:
            ctx.hold(thermostat, setpoint_heat=SETPOINT[ctx.mode])
        else:
            ctx.release(thermostat)


def test_there_and_back(house: SimulatedHouse) -> None:
    """Each thermostat returns to its own setpoint."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=23)
    house.device("trv-hall", kind="thermostat", room="hall", setpoint_heat=18)
    house.mode = "away"
    assert sorted(house.commands) == [("trv-bath", "set_setpoint", 17.0), ("trv-hall", "set_setpoint", 17.0)]
    house.mode = "vacation"
    house.mode = "home"
    assert sorted(house.commands[4:]) == [("trv-bath", "set_setpoint", 23), ("trv-hall", "set_setpoint", 18)]


def test_night_is_not_away(house: SimulatedHouse) -> None:
    """Modes that are not named hold nothing."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=23)
    house.mode = "night"
    assert house.commands == []


def test_home_after_a_power_cut(house: SimulatedHouse) -> None:
    """What it was before is known after a power cut, too."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=23)
    house.mode = "vacation"
    house.restart(off="3d")
    house.mode = "home"
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 23)
