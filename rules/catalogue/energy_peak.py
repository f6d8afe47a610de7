"""Energy peak: while the house takes too much power, what can wait is switched off.

Needs: a meter that reports power (kind "meter"); plugs with the label "can wait", such as the boiler's.
Change: the limits in watts, how long a peak may be. A meter of one device only: device="wallbox" in place of kind.
"""

from gateway.rules import Context, Device, above, when
from gateway.rules.testing import SimulatedHouse

PEAK, CALM = 8000, 6000  # W: from which on it is a peak, and at which it is over
AFTER = "2m"  # a kettle is no peak
LABEL = "can wait"  # of the plugs


@when(kind="meter", power=above(PEAK, clear=CALM), lasts=AFTER)
def energy_peak(meter: Device, ctx: Context) -> None:
    """Switch off what can wait. It comes back when the peak is over, if it was on before."""
    ctx.alert(f"{meter.name}: {meter.power:.0f} W")
    for plug in ctx.devices(label=LABEL):
        ctx.hold(plug, on=False)


def test_a_peak(house: SimulatedHouse) -> None:
    """What can wait is off until the power is well below the peak."""
    house.device("meter-main", kind="meter")
    house.device("plug-boiler", kind="plug", labels=["can wait"], on=True)
    house.device("plug-fridge", kind="plug", on=True)
    house.set("meter-main", power=8500)
    house.advance("3m")
    assert house.commands == [("plug-boiler", "set_on", False)]
    assert house.alert_texts == ["meter-main: 8500 W"]
    house.set("meter-main", power=7000)
    assert len(house.commands) == 1
    house.set("meter-main", power=5500)
    assert house.commands[-1] == ("plug-boiler", "set_on", True)
    assert house.alerts == []


def test_a_kettle_is_no_peak(house: SimulatedHouse) -> None:
    """A minute above the limit changes nothing."""
    house.device("meter-main", kind="meter")
    house.device("plug-boiler", kind="plug", labels=["can wait"], on=True)
    house.set("meter-main", power=9000)
    house.advance("1m")
    house.set("meter-main", power=3000)
    house.advance("1h")
    assert house.commands == []


def test_what_was_off_stays_off(house: SimulatedHouse) -> None:
    """The end of a peak switches nothing on that was off before it."""
    house.device("meter-main", kind="meter")
    house.device("plug-boiler", kind="plug", labels=["can wait"], on=False)
    house.set("meter-main", power=9000)
    house.advance("3m")
    house.set("meter-main", power=3000)
    assert ("plug-boiler", "set_on", True) not in house.commands


def test_over_a_power_cut(house: SimulatedHouse) -> None:
    """The boiler is not forgotten when the power fails within a peak."""
    house.device("meter-main", kind="meter")
    house.device("plug-boiler", kind="plug", labels=["can wait"], on=True)
    house.set("meter-main", power=9000)
    house.advance("3m")
    house.restart(off="30m")
    house.set("meter-main", power=500)
    assert house.commands[-1] == ("plug-boiler", "set_on", True)
