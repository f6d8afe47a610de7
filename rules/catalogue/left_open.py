"""Door left open: an alert after half an hour, again every hour, until it is closed.

Needs: contacts on doors, gates or a garage.
Change: after how long, how often it is said again, on what. For one door only write device="front door" in place of
kind=...
"""

from gateway.rules import Context, Device, when
from gateway.rules.testing import SimulatedHouse

ON = ("door", "gate", "garage")  # kinds of contacts; also "window", "fridge", "freezer", "hatch"
AFTER = "30m"
AGAIN_EVERY = "1h"


@when(kind=ON, open=True, lasts=AFTER)
def left_open(door: Device, ctx: Context) -> None:
    """Tell when a door was left open. The alert clears itself when the door is closed."""
    ctx.alert(f"{door.name} has been open for {AFTER}", repeat=AGAIN_EVERY)


def test_left_open(house: SimulatedHouse) -> None:
    """A door open for half an hour is an alert, until it is closed."""
    house.device("door-front", kind="door")
    house.set("door-front", open=True)
    house.advance("29m")
    assert house.alerts == []
    house.advance("2m")
    assert house.alerts == ["left_open"]
    house.set("door-front", open=False)
    assert house.alerts == []


def test_closed_in_time(house: SimulatedHouse) -> None:
    """A door closed in between starts the half hour again."""
    house.device("door-front", kind="door")
    house.set("door-front", open=True)
    house.advance("20m")
    house.set("door-front", open=False)
    house.set("door-front", open=True)
    house.advance("20m")
    assert house.alerts == []


def test_over_a_power_cut(house: SimulatedHouse) -> None:
    """The half hour goes on over a restart of the gateway."""
    house.device("door-front", kind="door")
    house.set("door-front", open=True)
    house.advance("20m")
    house.restart()
    house.advance("10m")
    assert house.alerts == ["left_open"]


def test_each_door_for_itself(house: SimulatedHouse) -> None:
    """Two open doors are two alerts, and closing one leaves the other."""
    house.device("door-front", kind="door")
    house.device("gate-garden", kind="gate")
    house.set("door-front", open=True)
    house.set("gate-garden", open=True)
    house.advance("31m")
    house.set("door-front", open=False)
    assert house.alert_texts == ["gate-garden has been open for 30m"]
