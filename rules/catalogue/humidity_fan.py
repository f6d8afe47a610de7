"""Humidity fan: after a shower the fan of the room runs until the air is dry again.

Needs: a sensor that reports humidity, and a plug or relay with the label "fan", both with the same room in
devices.toml.
Change: the percentages, after how long, and how long a fan may run at most.
"""

from gateway.rules import Context, Room, above, when
from gateway.rules.testing import SimulatedHouse

DAMP, DRY = 70, 60  # %
AFTER = "3m"
LONGEST = "2h"  # on a damp day the air does not get dry
LABEL = "fan"


@when(kind=("hygrometer", "thermometer", "air", "thermostat"), humidity=above(DAMP, clear=DRY), lasts=AFTER, per="room")
def humidity_fan(room: Room, ctx: Context) -> None:
    """Let the fans of a room run. Somebody who switches one off by hand has the last word for an hour."""
    for fan in room.devices(label=LABEL):
        ctx.hold(fan, on=True, lasts=LONGEST)


def bath(house: SimulatedHouse) -> None:
    """Have a bath with a fan."""
    house.device("fan-bath", kind="plug", room="bath", labels=["fan"], on=False)
    house.device("hygrometer-bath", kind="hygrometer", room="bath", humidity=50)


def test_a_shower(house: SimulatedHouse) -> None:
    """The fan runs until the air is dry."""
    bath(house)
    house.set("hygrometer-bath", humidity=85)
    house.advance("4m")
    assert house.commands == [("fan-bath", "set_on", True)]
    house.set("hygrometer-bath", humidity=65)
    assert len(house.commands) == 1
    house.set("hygrometer-bath", humidity=58)
    assert house.commands[-1] == ("fan-bath", "set_on", False)


def test_a_damp_day(house: SimulatedHouse) -> None:
    """It does not run for more than two hours, and not again before the air was dry."""
    bath(house)
    house.set("hygrometer-bath", humidity=85)
    house.advance("5h")
    assert house.commands == [("fan-bath", "set_on", True), ("fan-bath", "set_on", False)]


def test_another_room(house: SimulatedHouse) -> None:
    """Steam in the kitchen is no matter of the bath's fan."""
    house.device("hygrometer-kitchen", kind="hygrometer", room="kitchen")
    bath(house)
    house.set("hygrometer-kitchen", humidity=90)
    house.advance("1h")
    assert house.commands == []


def test_over_a_power_cut(house: SimulatedHouse) -> None:
    """A fan that ran when the power failed stops when its time is over."""
    bath(house)
    house.set("hygrometer-bath", humidity=85)
    house.advance("4m")
    house.restart(off="3h")
    house.advance("1s")
    assert house.commands[-1] == ("fan-bath", "set_on", False)
