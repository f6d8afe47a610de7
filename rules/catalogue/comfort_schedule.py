"""Comfort schedule: warm by day, cooler at night and while nobody is home.

Needs: thermostats that take a setpoint; `timezone` in gateway.toml if the machine's is another; the house's mode, if
it is to be cooler while you are away.
Change: the temperatures and times. What somebody sets by hand counts for an hour, then the schedule again
(`manual_hold`). A thermostat with the label "own schedule" in devices.toml is left alone.
"""

from datetime import datetime

from gateway.rules import Context, Event, at, rule
from gateway.rules.testing import SimulatedHouse

DAY, NIGHT = 21.0, 17.0  # °C
IN_MODE = {"away": 17.0, "vacation": 14.0}  # °C, whatever time it is
WORKDAY = ("06:30", "22:30")  # when the day begins and ends
WEEKEND = ("08:00", "23:30")
LEFT_ALONE = "own schedule"  # label


@at(*WORKDAY, *WEEKEND, missed="run")
def comfort_schedule(ctx: Context) -> None:
    """Set what the hour wants."""
    set_all(ctx)


@rule("mode_changed")
def comfort_schedule_mode(event: Event, ctx: Context) -> None:
    """Set what the house's mode wants."""
    if not event.subject:  # of the house, not of a thermostat
        set_all(ctx)


def set_all(ctx: Context) -> None:
    """Hold all thermostats at what is wanted now. Of two claims of rules the later one counts."""
    for thermostat in ctx.devices(kind="thermostat"):
        if LEFT_ALONE not in thermostat.labels:
            ctx.hold(thermostat, setpoint_heat=wanted(ctx.mode, ctx.now))


def wanted(mode: str, now: datetime) -> float:
    """Return the setpoint of a mode and a time."""
    if mode in IN_MODE:
        return IN_MODE[mode]
    begin, end = WEEKEND if now.weekday() >= 5 else WORKDAY
    return DAY if begin <= f"{now:%H:%M}" < end else NIGHT


def test_a_day(house: SimulatedHouse) -> None:
    """It is cool at night and warm in the morning."""
    house.mode = "home"
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=19)
    house.until("23:00")
    assert house.commands == [("trv-bath", "set_setpoint", 17.0)]
    house.until("07:00")
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 21.0)


def test_weekend(house: SimulatedHouse) -> None:
    """On Saturday it stays cool until eight."""
    house.mode = "home"
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=19)
    house.until("2026-01-10 07:30")
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 17.0)
    house.until("08:00")
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 21.0)


def test_away(house: SimulatedHouse) -> None:
    """It is cooler while nobody is home, at once, and warm again when somebody comes."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=21)
    house.mode = "away"
    assert house.commands == [("trv-bath", "set_setpoint", 17.0)]
    house.advance("20h")
    assert len(house.commands) == 1
    house.mode = "home"
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 21.0)


def test_power_was_off_in_the_morning(house: SimulatedHouse) -> None:
    """What was missed is made up for at the start, by what is wanted then."""
    house.mode = "home"
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=19)
    house.until("23:00")
    house.restart(off="9h")
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 21.0)


def test_left_alone(house: SimulatedHouse) -> None:
    """A thermostat with the label is left alone."""
    house.device("trv-attic", kind="thermostat", room="attic", labels=["own schedule"], setpoint_heat=19)
    house.advance("2d")
    assert house.commands == []
