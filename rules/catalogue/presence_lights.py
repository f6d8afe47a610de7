"""Presence lights: after dark, lights go on where a camera sees a person.

Needs: a camera that says what it sees (Frigate), and lights or plugs with the label "presence" in the same room as the
camera (room = "drive" in devices.toml); [gateway.location] with latitude and longitude in gateway.toml.
Change: what is seen and how surely, the hours, how long.
"""

from gateway.rules import Context, Event, rule
from gateway.rules.testing import SimulatedHouse

SEEN = {"object.label": "person", "object.score": ">=0.7"}  # or ["person", "dog"]
DARK = "sunset-15m..sunrise+15m"
LABEL = "presence"  # of the lights
LASTS = "5m"


@rule("object_detected", "object_updated", kind="camera", where=SEEN, between=DARK)
def presence_lights(event: Event, ctx: Context) -> None:
    """Light the way. Who is still seen after some minutes keeps the light on."""
    for light in ctx.devices(label=LABEL, room=event.device.room):
        ctx.hold(light, on=True, lasts=LASTS)


def drive(house: SimulatedHouse) -> None:
    """Have a camera and a light at the drive."""
    house.device("cam-drive", kind="camera", room="drive")
    house.device("light-drive", kind="light", room="drive", labels=["presence"], on=False)


def person(house: SimulatedHouse, score: float = 0.8) -> None:
    """Let the camera see a person."""
    house.event("object_detected", "cam-drive", object={"label": "person", "score": score})


def test_after_dark(house: SimulatedHouse) -> None:
    """A person in the evening has light for five minutes."""
    drive(house)
    house.until("sunset")
    person(house)
    assert house.commands == [("light-drive", "set_on", True)]
    house.advance("4m")
    person(house)
    house.advance("4m")
    assert len(house.commands) == 1
    house.advance("2m")
    assert house.commands[-1] == ("light-drive", "set_on", False)


def test_by_day(house: SimulatedHouse) -> None:
    """At noon nobody needs light."""
    drive(house)
    person(house)
    assert house.commands == []


def test_a_cat(house: SimulatedHouse) -> None:
    """A cat, or what is hardly a person, has none either."""
    drive(house)
    house.until("22:00")
    house.event("object_detected", "cam-drive", object={"label": "cat", "score": 0.9})
    person(house, score=0.5)
    assert house.commands == []


def test_power_cut_while_it_is_on(house: SimulatedHouse) -> None:
    """A light that was on when the power failed goes off after it."""
    drive(house)
    house.until("22:00")
    person(house)
    house.restart(off="10m")
    house.advance("1s")
    assert house.commands[-1] == ("light-drive", "set_on", False)
