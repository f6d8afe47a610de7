"""Leak: water where it should not be is an alarm, and closes the main valves."""

from gateway.rules import Context, Device, when
from gateway.rules.testing import SimulatedHouse


@when(kind="leak", leak=True)
def leak_shutoff(sensor: Device, ctx: Context) -> None:
    """Close all valves. They stay closed until every leak is dry: then the claims are released."""
    ctx.alert(f"water at {sensor.name}", lane="alarm", repeat="10m")
    for valve in ctx.devices(kind="valve"):
        ctx.hold(valve, open=False, priority="safety")


def test_leak(house: SimulatedHouse) -> None:
    """A leak closes the valve; it opens again when the last sensor is dry."""
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


def test_repeats(house: SimulatedHouse) -> None:
    """The alarm is repeated until somebody has looked after it."""
    house.set("leak-kitchen", leak=True)
    house.advance("35m")
    raised = [event for event in house.outputs if event.type == "alert_raised"]
    assert [event.data["count"] for event in raised] == [1, 2, 3, 4]
    assert {event.lane for event in raised} == {"alarm"}
