"""Leak: water where it should not be is an alarm, and closes the main valves.

Needs: water sensors (kind "leak"); a motor valve (kind "valve"), if it is to be closed.
Change: how often the alarm is repeated, whom to tell. Only one valve: device=... in place of the loop.
"""

from gateway.rules import Context, Device, when
from gateway.rules.testing import SimulatedHouse

AGAIN_EVERY = "10m"
TELL = [("0m", "everyone")]  # nobody: []


@when(kind="leak", leak=True)
def leak_shutoff(sensor: Device, ctx: Context) -> None:
    """Close all valves. They stay closed until every leak is dry: then the claims are released."""
    ctx.alert(f"water at {sensor.name}", lane="alarm", repeat=AGAIN_EVERY, escalate=TELL)
    for valve in ctx.devices(kind="valve"):
        ctx.hold(valve, open=False, priority="safety")


def test_leak(house: SimulatedHouse) -> None:
    """A leak closes the valve; it opens again when the last sensor is dry."""
    house.device("leak-kitchen", kind="leak")
    house.device("leak-bath", kind="leak")
    house.device("valve-main", kind="valve", open=True)
    house.set("leak-kitchen", leak=True)
    house.set("leak-bath", leak=True)
    assert house.alerts == ["leak_shutoff", "leak_shutoff"]
    assert house.commands == [("valve-main", "set_open", False)]
    house.set("leak-kitchen", leak=False)
    assert len(house.commands) == 1
    house.set("leak-bath", leak=False)
    assert house.commands[-1] == ("valve-main", "set_open", True)
    assert house.alerts == []


def test_said_until_somebody_has_seen_it(house: SimulatedHouse) -> None:
    """The alarm is repeated until somebody acknowledges it; the valve stays closed."""
    house.device("leak-kitchen", kind="leak")
    house.device("valve-main", kind="valve", open=True)
    house.set("leak-kitchen", leak=True)
    house.advance("25m")
    said = [event for event in house.outputs if event.type in ("alert_raised", "alert_repeated")]
    assert [event.data["count"] for event in said] == [1, 2, 3]
    assert {event.lane for event in said} == {"alarm"}
    house.acknowledge("leak_shutoff")
    told = len(house.notifications)
    house.advance("1h")
    assert len(house.notifications) == told
    assert len(house.commands) == 1


def test_wet_over_a_power_cut(house: SimulatedHouse) -> None:
    """The valve stays closed over a power cut, without a second command."""
    house.device("leak-kitchen", kind="leak")
    house.device("valve-main", kind="valve", open=True)
    house.set("leak-kitchen", leak=True)
    house.restart(off="1h")
    assert house.commands == [("valve-main", "set_open", False)]
    house.set("leak-kitchen", leak=False)
    assert house.commands[-1] == ("valve-main", "set_open", True)


def test_no_valve(house: SimulatedHouse) -> None:
    """Without a valve it is still an alarm."""
    house.device("leak-kitchen", kind="leak")
    house.set("leak-kitchen", leak=True)
    assert (house.alerts, house.commands) == (["leak_shutoff"], [])
