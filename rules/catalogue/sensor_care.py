"""Sensor care: tells when a battery runs low and when a device falls silent."""

from gateway.rules import Context, Device, below, when
from gateway.rules.testing import SimulatedHouse


@when(battery=below(15, clear=30))
def battery_low(device: Device, ctx: Context) -> None:
    """Tell when a battery is nearly empty. A new battery ends the alert."""
    ctx.alert(f"{device.name}: battery at {device.battery} %")


@when(online=False, lasts="1h")
def device_silent(device: Device, ctx: Context) -> None:
    """Tell when a device was not heard of for an hour."""
    ctx.alert(f"{device.name} is silent", repeat="24h")


def test_battery(house: SimulatedHouse) -> None:
    """A low battery is told once, and forgotten when it is replaced."""
    house.set("door-front", battery=14)
    house.set("door-front", battery=13)
    assert house.alert_texts == ["door-front: battery at 14 %"]
    house.set("door-front", battery=100)
    assert house.alerts == []


def test_silent(house: SimulatedHouse) -> None:
    """A device that comes back within the hour is not worth an alert."""
    house.offline("door-front")
    house.advance("30m")
    house.set("door-front", online=True)
    house.advance("2h")
    assert house.alerts == []
    house.offline("door-front")
    house.advance("61m")
    assert house.alerts == ["device_silent"]
