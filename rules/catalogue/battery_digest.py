"""Battery digest: once a week, one message with all batteries that are nearly empty.

Needs: devices that report their battery, in percent or as "low".
Change: the day and hour, from how many percent on, whom to tell.
"""

from gateway.rules import Context, Device, at
from gateway.rules.testing import SimulatedHouse

ON, TIME = "sun", "18:00"
LOW = 20  # %
TELL = "everyone"  # a recipient or a group of [notify] in gateway.toml


@at(TIME, days=ON, missed="within 12h")
def battery_digest(ctx: Context) -> None:
    """Tell which batteries to buy. The alert goes when, at the next digest, none is low."""
    low = [f"{device.name} ({left(device)})" for device in ctx.devices() if is_low(device)]
    if not low:
        ctx.clear()
        return
    text = "batteries to change: " + ", ".join(low)
    ctx.alert(text)
    ctx.notify(text, to=TELL, key="battery_digest", ttl="2d")


def is_low(device: Device) -> bool:
    """Return whether a battery is nearly empty: what the device says itself, or by its percentage."""
    return bool(device.battery_low) or (device.battery is not None and device.battery < LOW)


def left(device: Device) -> str:
    """Say how much is left."""
    return "low" if device.battery is None else f"{device.battery:g} %"


def test_one_message_a_week(house: SimulatedHouse) -> None:
    """On Sunday evening one message names all low batteries, and no other day has one."""
    house.device("door-front", kind="door")
    house.device("door-back", kind="door")
    house.device("leak-bath", kind="leak")
    house.set("door-front", battery=14)
    house.set("door-back", battery=80)
    house.set("leak-bath", battery_low=True)
    house.until("2026-01-11 17:59")  # the house of a test begins on Monday, 2026-01-05, at noon
    assert house.notifications == []
    house.until("18:00")
    assert house.notifications == [("everyone", "batteries to change: door-front (14 %), leak-bath (low)")]
    assert house.alerts == ["battery_digest"]


def test_changed_by_next_week(house: SimulatedHouse) -> None:
    """When nothing is low any more the alert goes, without a message."""
    house.device("door-front", kind="door")
    house.set("door-front", battery=14)
    house.advance("7d")
    house.set("door-front", battery=100)
    house.advance("7d")
    assert house.alerts == []
    assert len(house.notifications) == 1


def test_power_was_off_on_sunday(house: SimulatedHouse) -> None:
    """A digest that was due while the power was off comes with the start."""
    house.device("door-front", kind="door")
    house.set("door-front", battery=14)
    house.advance("6d")
    house.restart(off="10h")
    assert len(house.notifications) == 1
