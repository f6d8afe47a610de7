"""What `rules new` begins with: small rules with comments and a test that passes. ``$name`` is the rule's name."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import NamedTuple


class Draft(NamedTuple):
    """A template, and one line that says what for."""

    what_for: str
    text: Template


def _draft(what_for: str, text: str) -> Draft:
    return Draft(what_for, Template(text))


EVENT = '''\
"""$title: an alert when a button is pressed, at most one a minute."""

from gateway.rules import rule


# The event types and fields there are: edge-gateway events --follow
# Only some events: device="doorbell", room="hall", kind="button", where={"button": "double"}, mode="night"
@rule("button_pressed", cooldown="1m")
def $name(event, ctx):
    """Somebody pressed a button."""
    ctx.alert(f"{event.device.name} was pressed")


def test_$name(house):
    """Two presses in a minute are one alert."""
    house.event("button_pressed", "button-hall", button="single")
    house.event("button_pressed", "button-hall", button="single")
    assert house.alerts == ["$name"]
    assert len([event for event in house.outputs if event.type == "alert_raised"]) == 1
'''

DOOR = '''\
"""$title: an alert while a door has been open for half an hour."""

from gateway.rules import when


# A condition begins when it has been so for `lasts`, and ends by itself: its alerts clear, what it holds is released.
# Other kinds: "window", "gate", "freezer"; only some: room="hall", label="entry", device="door-front"
@when(kind="door", open=True, lasts="30m")
def $name(door, ctx):
    """A door was left open."""
    ctx.alert(f"{door.name} has been open for half an hour", repeat="1h")


def test_$name(house):
    """The alert comes after half an hour, and goes when the door is closed."""
    house.set("door-front", open=True)
    house.advance("29m")
    assert house.alerts == []
    house.advance("2m")
    assert house.alerts == ["$name"]
    house.set("door-front", open=False)
    assert house.alerts == []
'''

SCHEDULE = '''\
"""$title: heating up on working days, in the morning."""

from gateway.rules import at


# Also: at("sunset-15m"), at("07:00", "19:00"), at(cron="*/10 6-8 * * mon-fri"); and every("1h")
@at("06:30", days="mon-fri")
def $name(ctx):
    """Make it warm in the morning."""
    if ctx.mode == "vacation":
        return
    for thermostat in ctx.devices(kind="thermostat"):
        ctx.hold(thermostat, setpoint_heat=21, lasts="2h")


def test_$name(house):
    """It is warm on Tuesday at 6:30 for two hours; the test's house begins on Monday at noon."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=17)
    house.advance("18h")
    assert house.commands == []
    house.advance("1h")
    assert house.commands == [("trv-bath", "set_setpoint", 21)]
    house.advance("2h")
    assert house.commands[-1] == ("trv-bath", "set_setpoint", 17)


def test_${name}_not_on_vacation(house):
    """While everybody is away for days nothing is heated."""
    house.device("trv-bath", kind="thermostat", room="bath", setpoint_heat=17)
    house.mode = "vacation"
    house.advance("24h")
    assert house.commands == []
'''

LIGHT = '''\
"""$title: light for three minutes when something moves at night."""

from gateway.rules import rule


# hold() is a claim: the light goes back to what it was after `lasts`, and a stronger claim (safety, a person) wins.
@rule("motion_detected", room="hall", mode="night")
def $name(event, ctx):
    """Light the way at night."""
    for light in ctx.devices(kind="light", room=event.device.room):
        ctx.hold(light, on=True, lasts="3m")


def test_$name(house):
    """The light goes on at night, and off again after three minutes."""
    house.device("light-hall", kind="light", room="hall", on=False)
    house.event("motion_detected", "motion-hall", motion=True)
    assert house.commands == []
    house.mode = "night"
    house.event("motion_detected", "motion-hall", motion=True)
    assert house.commands == [("light-hall", "set_on", True)]
    house.advance("4m")
    assert house.commands[-1] == ("light-hall", "set_on", False)
'''

WARM = '''\
"""$title: an alert while a freezer has been too warm for twenty minutes."""

from gateway.rules import above, when


# `clear` keeps it from coming and going: true above -12, until it is at -15 or below.
# unknown="true after 2h": a freezer that says nothing for two hours is taken for warm.
@when(kind="freezer", temperature=above(-12, clear=-15), lasts="20m", unknown="true after 2h")
def $name(freezer, ctx):
    """A freezer is too warm."""
    ctx.alert(f"{freezer.name}: {freezer.temperature} °C", lane="alarm", repeat="30m")


def test_$name(house):
    """Ten minutes are nothing, twenty are an alarm; at -13 it is not over, at -16 it is."""
    house.set("freezer-cellar", temperature=-18)
    house.set("freezer-cellar", temperature=-10)
    house.advance("10m")
    assert house.alerts == []
    house.advance("11m")
    assert house.alerts == ["$name"]
    house.set("freezer-cellar", temperature=-13)
    assert house.alerts == ["$name"]
    house.set("freezer-cellar", temperature=-16)
    assert house.alerts == []
'''

DRAFTS: Mapping[str, Draft] = {
    "event": _draft("something happened: an alert, with a cooldown", EVENT),
    "door": _draft("something has been so for a time: left open", DOOR),
    "warm": _draft("a value is too high or not known: a freezer", WARM),
    "light": _draft("motion switches a light for a while, in one mode of the house", LIGHT),
    "schedule": _draft("at a time of day", SCHEDULE),
}
