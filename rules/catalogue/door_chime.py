"""Door chime: a message when somebody rings, and a chime that is quiet at night.

Needs: a button with kind = "doorbell" in devices.toml; a plug with the label "chime", if it is to be heard.
Change: when it is quiet, how long it chimes, whom to tell.
"""

from gateway.rules import Context, Event, rule
from gateway.rules.testing import SimulatedHouse

QUIET_IN = ("night",)  # modes of the house
CHIME_TIME = "5s"
LABEL = "chime"
TELL = "everyone"  # a recipient or a group of [notify] in gateway.toml


@rule("button_pressed", kind="doorbell", cooldown="10s")
def door_chime(event: Event, ctx: Context) -> None:
    """Tell that somebody is at the door. A message that can't be sent in ten minutes is not worth sending."""
    ctx.notify(f"somebody rings at {event.device.name}", to=TELL, key="door_chime", ttl="10m")
    if ctx.mode not in QUIET_IN:
        for chime in ctx.devices(label=LABEL):
            ctx.hold(chime, on=True, lasts=CHIME_TIME)


def front(house: SimulatedHouse) -> None:
    """Have a bell and a chime, and somebody at home."""
    house.mode = "home"
    house.device("doorbell-front", kind="doorbell")
    house.device("plug-chime", kind="plug", labels=["chime"], on=False)


def ring(house: SimulatedHouse, ago: str = "0s") -> None:
    """Press the button."""
    house.event("button_pressed", "doorbell-front", button="single", ago=ago)


def test_rings(house: SimulatedHouse) -> None:
    """Ringing twice within seconds is one message and one chime."""
    front(house)
    ring(house)
    ring(house)
    house.advance("6s")
    assert house.notifications == [("everyone", "somebody rings at doorbell-front")]
    assert house.commands == [("plug-chime", "set_on", True), ("plug-chime", "set_on", False)]


def test_quiet_at_night(house: SimulatedHouse) -> None:
    """At night there is a message and no chime."""
    front(house)
    house.mode = "night"
    ring(house)
    assert len(house.notifications) == 1
    assert house.commands == []


def test_yesterdays_ring(house: SimulatedHouse) -> None:
    """Who rang while the gateway was off is not at the door any more."""
    front(house)
    ring(house, ago="1h")
    assert (house.notifications, house.commands) == ([], [])
