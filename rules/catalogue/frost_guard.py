"""Frost guard: a room near freezing is heated, whatever else rules or people want.

Needs: thermostats that report the temperature of their room.
Change: the temperatures. It stands above an open window (airing) and above a person's change: that is what
priority="safety" is for.
"""

from gateway.rules import Context, Device, below, when
from gateway.rules.testing import SimulatedHouse

COLD = 5.0  # °C from which on it heats
ENOUGH = 7.0  # °C at which it stops
SETPOINT = 10.0
AFTER = "10m"  # a window tilted for a moment is no frost
TELL = [("0m", "everyone")]  # nobody: []


@when(kind="thermostat", temperature=below(COLD, clear=ENOUGH), lasts=AFTER)
def frost_guard(thermostat: Device, ctx: Context) -> None:
    """Heat a room that is near freezing, until it is warm enough again."""
    place = thermostat.room or thermostat.name
    ctx.alert(f"{place}: {thermostat.temperature} °C, heating", lane="alarm", repeat="6h", escalate=TELL)
    if "mode" in thermostat:  # it has modes
        ctx.hold(thermostat, mode="heat", priority="safety")
    ctx.hold(thermostat, setpoint_heat=SETPOINT, priority="safety")


def test_frost(house: SimulatedHouse) -> None:
    """It heats until it is warm enough, and then the thermostat is what it was."""
    house.device("trv-bath", kind="thermostat", room="bath", mode="off", setpoint_heat=5, temperature=9)
    house.set("trv-bath", temperature=4.5)
    house.advance("11m")
    assert house.commands == [("trv-bath", "set_mode", "heat"), ("trv-bath", "set_setpoint", 10)]
    assert house.alert_texts == ["bath: 4.5 °C, heating"]
    house.set("trv-bath", temperature=6)
    assert house.alerts == ["frost_guard"]
    house.set("trv-bath", temperature=7.5)
    assert house.alerts == []
    assert sorted(house.commands[2:]) == [("trv-bath", "set_mode", "off"), ("trv-bath", "set_setpoint", 5)]


def test_a_moment_is_no_frost(house: SimulatedHouse) -> None:
    """Cold air at the sensor for a few minutes is no alarm."""
    house.device("trv-bath", kind="thermostat", room="bath", temperature=18)
    house.set("trv-bath", temperature=4)
    house.advance("5m")
    house.set("trv-bath", temperature=15)
    house.advance("1h")
    assert house.commands == []


def test_a_thermostat_without_modes(house: SimulatedHouse) -> None:
    """One that only takes a setpoint gets no other command."""
    house.device("trv-bath", kind="thermostat", room="bath", temperature=18)
    house.set("trv-bath", temperature=4)
    house.advance("11m")
    assert house.commands == [("trv-bath", "set_setpoint", 10)]


def test_over_a_power_cut(house: SimulatedHouse) -> None:
    """It goes on heating after a power cut, without a second command, and ends when it is warm."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=5, temperature=9)
    house.set("trv-bath", temperature=4)
    house.advance("11m")
    house.restart(off="2h")
    assert house.alerts == ["frost_guard"]
    assert len(house.commands) == 1
    house.set("trv-bath", temperature=8)
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 5)
