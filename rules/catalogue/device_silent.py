"""Device silent: tells when a device was not heard of for an hour, until it is back.

Needs: devices whose bridge says whether they can be reached: Zigbee2MQTT with `availability`, Tasmota, Shelly, Frigate.
Change: after how long, how often it is said again. Lamps that are switched off at the wall get the label "may be off".
"""

from gateway.rules import Context, Device, when
from gateway.rules.testing import SimulatedHouse

AFTER = "1h"
AGAIN_EVERY = "24h"
LEFT_ALONE = "may be off"  # label of devices that nobody misses


@when(online=False, lasts=AFTER)
def device_silent(device: Device, ctx: Context) -> None:
    """Tell when a device has been silent for some time. The alert clears itself when it is back."""
    if LEFT_ALONE not in device.labels:
        ctx.alert(f"{device.name} is silent", repeat=AGAIN_EVERY)


def test_silent(house: SimulatedHouse) -> None:
    """A device that comes back within the hour is not worth an alert."""
    house.device("door-front", kind="door")
    house.offline("door-front")
    house.advance("30m")
    house.set("door-front", online=True)
    house.advance("2h")
    assert house.alerts == []
    house.offline("door-front")
    house.advance("61m")
    assert house.alert_texts == ["door-front is silent"]
    house.set("door-front", online=True)
    assert house.alerts == []


def test_said_again_every_day(house: SimulatedHouse) -> None:
    """Who forgets it is reminded a day later, a power cut between or not."""
    house.device("door-front", kind="door")
    house.offline("door-front")
    house.advance("2h")
    house.restart(off="5m")
    house.advance("24h")
    said = [event.type for event in house.outputs if event.type.startswith("alert_")]
    assert said == ["alert_raised", "alert_repeated"]


def test_a_lamp_may_be_off(house: SimulatedHouse) -> None:
    """A lamp with the label is missed by nobody."""
    house.device("light-hall", kind="light", labels=["may be off"])
    house.offline("light-hall")
    house.advance("1d")
    assert house.alerts == []
