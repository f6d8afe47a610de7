"""Freezer too warm: above -12 °C for twenty minutes, or silent for two hours, is an alarm.

Needs: a thermometer in the freezer, with kind = "freezer" in devices.toml.
Change: the temperatures, how long, whom to tell. A fridge: kind="fridge" and above(8, clear=6).
"""

from gateway.rules import Context, Device, above, when
from gateway.rules.testing import SimulatedHouse

WARM = -12.0  # °C above which it counts
COLD_AGAIN = -15.0  # °C at which the alarm ends
AFTER = "20m"  # a lid that is open for a moment is no alarm
SILENT = "true after 2h"  # a thermometer with an empty battery is as bad as a warm freezer
TELL = [("0m", "everyone")]  # nobody: []


@when(kind="freezer", temperature=above(WARM, clear=COLD_AGAIN), lasts=AFTER, unknown=SILENT)
def freezer_warm(freezer: Device, ctx: Context) -> None:
    """Tell when a freezer warms up. It has to be cold again for the alarm to end."""
    seen = "nothing heard of it" if freezer.temperature is None else f"{freezer.temperature} °C"
    ctx.alert(f"{freezer.name}: {seen}", lane="alarm", repeat="30m", escalate=TELL)


def test_freezer_warm(house: SimulatedHouse) -> None:
    """Warm for twenty minutes is an alarm; a lid opened for a moment is none."""
    house.device("freezer-cellar", kind="freezer")
    house.set("freezer-cellar", temperature=-18)
    house.set("freezer-cellar", temperature=-10)
    house.advance("10m")
    assert house.alerts == []
    house.advance("11m")
    assert house.alerts == ["freezer_warm"]


def test_cold_enough_again(house: SimulatedHouse) -> None:
    """Minus 13 is not cold enough to end the alarm, minus 16 is."""
    house.device("freezer-cellar", kind="freezer")
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


def test_warm_after_a_power_cut(house: SimulatedHouse) -> None:
    """The power cut that stopped the gateway stopped the freezer, too: the alarm comes after it."""
    house.device("freezer-cellar", kind="freezer")
    house.set("freezer-cellar", temperature=-18)
    house.restart(off="8h")
    house.set("freezer-cellar", temperature=-7)
    house.advance("21m")
    assert house.alert_texts == ["freezer-cellar: -7 °C"]
