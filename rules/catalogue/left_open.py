"""Door left open: an alert after half an hour, again every hour, until it is closed."""

from gateway.rules import Context, Device, when
from gateway.rules.testing import SimulatedHouse


@when(kind=("door", "gate", "garage"), open=True, lasts="30m")
def left_open(door: Device, ctx: Context) -> None:
    """Tell when a door was left open. The alert clears itself when the door is closed."""
    ctx.alert(f"{door.name} is open for 30 minutes", repeat="1h")


def test_left_open(house: SimulatedHouse) -> None:
    """A door open for half an hour is an alert, until it is closed."""
    house.set("door-front", open=True)
    house.advance("29m")
    assert house.alerts == []
    house.advance("2m")
    assert house.alerts == ["left_open"]
    house.set("door-front", open=False)
    assert house.alerts == []


def test_closed_in_time(house: SimulatedHouse) -> None:
    """A door closed in between starts the half hour again."""
    house.set("door-front", open=True)
    house.advance("20m")
    house.set("door-front", open=False)
    house.set("door-front", open=True)
    house.advance("20m")
    assert house.alerts == []


def test_over_a_power_cut(house: SimulatedHouse) -> None:
    """The half hour goes on over a restart of the gateway."""
    house.set("door-front", open=True)
    house.advance("20m")
    house.restart()
    house.advance("10m")
    assert house.alerts == ["left_open"]
