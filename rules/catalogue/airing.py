"""Airing: while a window of a room is open, its thermostats are off.

Needs: contacts of kind "window" and thermostats that take a mode, each with its room in devices.toml.
Change: after how long, and what counts as open. A thermostat without modes: hold setpoint_heat=7 in place of mode.
"""

from gateway.rules import Context, Room, when
from gateway.rules.testing import SimulatedHouse

ON = ("window",)  # kinds of contacts; a terrace door, too: ("window", "door")
AFTER = "2m"


@when(kind=ON, open=True, lasts=AFTER, per="room")
def airing(room: Room, ctx: Context) -> None:
    """Switch the heating of a room off. It is released when the last window of the room is closed."""
    for thermostat in room.devices(kind="thermostat"):
        ctx.hold(thermostat, mode="off")


def test_airing(house: SimulatedHouse) -> None:
    """The heating goes off after two minutes, and back to what it was when the last window is closed."""
    house.device("window-bath", kind="window", room="bath")
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
    house.device("window-bath", kind="window", room="bath")
    house.device("trv-kitchen", kind="thermostat", room="kitchen", mode="heat")
    house.set("window-bath", open=True)
    house.advance("1h")
    assert house.commands == []


def test_closed_while_the_power_was_off(house: SimulatedHouse) -> None:
    """What was switched off before a power cut comes back after it."""
    house.device("window-bath", kind="window", room="bath")
    house.device("trv-bath", kind="thermostat", room="bath", mode="heat")
    house.set("window-bath", open=True)
    house.advance("3m")
    house.restart(off="1h")
    house.set("window-bath", open=False)
    assert house.commands == [("trv-bath", "set_mode", "off"), ("trv-bath", "set_mode", "heat")]
