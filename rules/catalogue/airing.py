"""Airing: while a window of a room is open, its thermostats are off."""

from gateway.rules import Context, Room, when
from gateway.rules.testing import SimulatedHouse


@when(kind="window", open=True, lasts="2m", per="room")
def airing(room: Room, ctx: Context) -> None:
    """Switch the heating of a room off. It is released when the last window of the room is closed."""
    for thermostat in room.devices(kind="thermostat"):
        ctx.hold(thermostat, mode="off")


def test_airing(house: SimulatedHouse) -> None:
    """The heating goes off after two minutes, and back to what it was when the last window is closed."""
    house.device("trv-bath", kind="thermostat", room="bath", mode="heat")
    house.set("window-bath", open=True)
    house.device("window-bath-2", kind="window", room="bath")
    house.set("window-bath-2", open=True)
    house.advance("1m")
    assert house.commands == []
    house.advance("2m")
    assert house.commands == [("trv-bath", "set_mode", "off")]
    house.set("window-bath", open=False)
    assert len(house.commands) == 1
    house.set("window-bath-2", open=False)
    assert house.commands[-1] == ("trv-bath", "set_mode", "heat")


def test_other_rooms_stay_warm(house: SimulatedHouse) -> None:
    """A window in the bath does not cool the kitchen."""
    house.device("trv-kitchen", kind="thermostat", room="kitchen", mode="heat")
    house.set("window-bath", open=True)
    house.advance("1h")
    assert house.commands == []
