"""Night watch: a door or window opened while we sleep or are away raises an alarm and sounds the sirens.

A door with the label "entry" leaves 30 seconds to change the mode before it gets loud.
"""

from gateway.rules import Context, Event, rule, timer
from gateway.rules.testing import SimulatedHouse

ENTRY_DELAY = "30s"
SIREN_TIME = "3m"


@rule("door_opened", "window_opened", mode=("night", "away"), cooldown="5m")
def intruder(event: Event, ctx: Context) -> None:
    """Sound the alarm when something is opened at night or while nobody is home."""
    delay = ENTRY_DELAY if "entry" in event.device.labels else "0s"
    ctx.after(delay, sound, where=event.device.name)


@timer
def sound(ctx: Context, where: str) -> None:
    """Raise the alarm, unless somebody came home meanwhile."""
    if ctx.mode not in ("night", "away"):
        return
    ctx.alert(f"{where} opened while {ctx.mode}", key="intruder", lane="alarm")
    for siren in ctx.devices(kind="siren"):
        ctx.hold(siren, on=True, lasts=SIREN_TIME, priority="safety")


@rule("mode_changed")
def disarmed(event: Event, ctx: Context) -> None:
    """Stop the alarm when the house is set to home."""
    if event["mode"] == "home" and not event.subject:
        ctx.clear("intruder")


def test_window_at_night(house: SimulatedHouse) -> None:
    """A window at night is loud at once, and the siren stops by itself."""
    house.device("siren-hall", kind="siren")
    house.mode = "night"
    house.set("window-bath", open=True)
    house.advance("1s")
    assert house.alerts == ["intruder"]
    assert house.commands == [("siren-hall", "set_on", True)]
    house.advance("3m")
    assert house.commands[-1] == ("siren-hall", "set_on", False)


def test_entry_door_leaves_time(house: SimulatedHouse) -> None:
    """Who comes in by the entry door has half a minute to set the house to home."""
    house.device("door-front", kind="door", labels=["entry"])
    house.mode = "away"
    house.set("door-front", open=True)
    house.advance("20s")
    house.mode = "home"
    house.advance("1h")
    assert house.alerts == []


def test_by_day_nothing(house: SimulatedHouse) -> None:
    """While we are at home a door is just a door."""
    house.set("door-front", open=True)
    house.advance("1h")
    assert house.alerts == []


def test_yesterday_is_not_now(house: SimulatedHouse) -> None:
    """A door that was opened an hour ago, while the gateway was off, sounds no siren now."""
    house.device("siren-hall", kind="siren")
    house.mode = "night"
    house.set("door-front", open=True, ago="1h")
    house.advance("1s")
    assert house.alerts == ["intruder"]
    assert house.commands == []
