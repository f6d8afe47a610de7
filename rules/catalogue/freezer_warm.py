"""Freezer too warm: above -12 °C for twenty minutes, or silent for two hours, is an alarm."""

from gateway.rules import Context, Device, above, when
from gateway.rules.testing import SimulatedHouse


@when(kind="freezer", temperature=above(-12, clear=-15), lasts="20m", unknown="true after 2h")
def freezer_warm(freezer: Device, ctx: Context) -> None:
    """Tell when a freezer warms up. It has to be below -15 °C again for the alarm to end."""
    seen = "nothing heard of it" if freezer.temperature is None else f"{freezer.temperature} °C"
    ctx.alert(f"{freezer.name}: {seen}", lane="alarm", repeat="30m")


def test_freezer_warm(house: SimulatedHouse) -> None:
    """Warm for twenty minutes is an alarm; a lid opened for a moment is none."""
    house.set("freezer-cellar", temperature=-18)
    house.set("freezer-cellar", temperature=-10)
    house.advance("10m")
    assert house.alerts == []
    house.advance("11m")
    assert house.alerts == ["freezer_warm"]


def test_cold_enough_again(house: SimulatedHouse) -> None:
    """Minus 13 is not cold enough to end the alarm, minus 16 is."""
    house.set("freezer-cellar", temperature=-10)
    house.advance("21m")
    house.set("freezer-cellar", temperature=-13)
    assert house.alerts == ["freezer_warm"]
    house.set("freezer-cellar", temperature=-16)
    assert house.alerts == []


def test_silent_freezer(house: SimulatedHouse) -> None:
    """A freezer that was never heard of for two hours is as bad as a warm one."""
    house.device("freezer-cellar", kind="freezer")
    house.advance("1h")
    assert house.alerts == []
    house.advance("1h")
    assert house.alert_texts == ["freezer-cellar: nothing heard of it"]
