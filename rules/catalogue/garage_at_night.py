"""Garage open at night: tells everybody when a garage or gate stands open after ten in the evening.

Needs: a contact with kind = "garage" or "gate" in devices.toml; `timezone` in gateway.toml if the machine's is another.
Change: the hours, how long it may be open, whom to tell.
"""

from gateway.rules import Context, Device, when
from gateway.rules.testing import SimulatedHouse

HOURS = "22:00-06:00"  # or "sunset+1h..sunrise"
AFTER = "10m"
TELL = [("0m", "everyone")]  # nobody: []; later others, too: [("0m", "anna"), ("30m", "everyone")]


@when(kind=("garage", "gate"), open=True, between=HOURS, lasts=AFTER)
def garage_at_night(door: Device, ctx: Context) -> None:
    """Tell when it is open at night: also when it was opened by day and nobody closed it."""
    ctx.alert(f"{door.name} is open", repeat="1h", escalate=TELL)


def test_forgotten(house: SimulatedHouse) -> None:
    """A garage that was opened in the afternoon is told of at ten past ten, and not by day."""
    house.device("garage-1", kind="garage")
    house.set("garage-1", open=True)
    house.until("22:00")
    assert house.notifications == []
    house.until("22:11")
    assert house.notifications == [("everyone", "garage-1 is open")]
    house.set("garage-1", open=False)
    assert house.alerts == []


def test_somebody_comes_home(house: SimulatedHouse) -> None:
    """Who comes home at midnight and closes it hears nothing."""
    house.device("garage-1", kind="garage")
    house.set("garage-1", open=False)
    house.until("00:00")
    house.set("garage-1", open=True)
    house.advance("5m")
    house.set("garage-1", open=False)
    house.advance("1h")
    assert house.alerts == []


def test_morning(house: SimulatedHouse) -> None:
    """In the morning it is over, open or not."""
    house.device("garage-1", kind="garage")
    house.set("garage-1", open=True)
    house.until("05:00")
    assert house.alerts == ["garage_at_night"]
    house.until("06:00")
    assert house.alerts == []


def test_power_cut_in_the_evening(house: SimulatedHouse) -> None:
    """It is told of after a power cut that began by day."""
    house.device("garage-1", kind="garage")
    house.set("garage-1", open=True)
    house.restart(off="12h")
    house.advance("11m")
    assert house.alerts == ["garage_at_night"]
