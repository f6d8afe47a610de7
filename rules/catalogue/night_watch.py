"""Night watch: a door or window opened at night or while nobody is home is loud.

Needs: contacts on doors and windows; sirens (kind "siren"), if it is to be loud; the house's mode set to "night" or
"away" by another rule, or by hand (`edge-gateway mode night`).
Change: when it watches, how long an entry door leaves you to set the house to "home", how long a siren is loud. A door
you come in by gets the label "entry" in devices.toml.
"""

from gateway.rules import Context, Event, rule, timer
from gateway.rules.testing import SimulatedHouse

WATCHED_IN = ("night", "away")  # modes of the house
ENTRY_DELAY = "30s"  # to come in by a door with the label "entry"
SIREN_TIME = "3m"
TELL = [("0m", "everyone")]  # later others, too: [("0m", "anna"), ("5m", "everyone")]; nobody: []


@rule("door_opened", "window_opened", mode=WATCHED_IN, cooldown="5m")
def night_watch(event: Event, ctx: Context) -> None:
    """Begin when something is opened at night or while nobody is home."""
    delay = ENTRY_DELAY if "entry" in event.device.labels else "0s"
    ctx.after(delay, night_watch_alarm, where=event.device.name)


@timer
def night_watch_alarm(ctx: Context, where: str) -> None:
    """Raise the alarm, unless somebody came home meanwhile."""
    if ctx.mode in WATCHED_IN:
        ctx.alert(f"{where} opened while {ctx.mode}", key="night_watch", lane="alarm", escalate=TELL)


@rule("alert_raised", "alert_repeated", "alert_acknowledged", "alert_cleared", where={"alert": "night_watch"})
def night_watch_siren(event: Event, ctx: Context) -> None:
    """Sound the sirens with the alarm; they are quiet when somebody has seen it, or it is over."""
    for siren in ctx.devices(kind="siren"):
        if event.type in ("alert_raised", "alert_repeated"):
            ctx.hold(siren, on=True, lasts=SIREN_TIME, priority="safety")
        else:
            ctx.release(siren)


@rule("mode_changed")
def night_watch_off(event: Event, ctx: Context) -> None:
    """End the alarm when the house is set to home."""
    if event["mode"] not in WATCHED_IN and not event.subject:  # a thermostat's mode has a subject
        ctx.clear("night_watch")


def test_window_at_night(house: SimulatedHouse) -> None:
    """A window at night is loud at once, the siren stops by itself, and opening it again is nothing new."""
    house.device("window-bath", kind="window")
    house.device("siren-hall", kind="siren")
    house.mode = "night"
    house.set("window-bath", open=True)
    house.advance("1s")
    assert house.alerts == ["night_watch"]
    assert house.notifications == [("everyone", "window-bath opened while night")]
    assert house.commands == [("siren-hall", "set_on", True)]
    house.advance("3m")
    house.set("window-bath", open=False)
    house.set("window-bath", open=True)
    house.advance("1m")
    assert house.commands[1:] == [("siren-hall", "set_on", False)]


def test_home_is_quiet(house: SimulatedHouse) -> None:
    """Setting the house to home ends the alarm and its noise; and then a door is just a door."""
    house.device("window-bath", kind="window")
    house.device("door-front", kind="door")
    house.device("siren-hall", kind="siren")
    house.mode = "night"
    house.set("window-bath", open=True)
    house.advance("1s")
    house.mode = "home"
    assert house.alerts == []
    assert house.commands == [("siren-hall", "set_on", True), ("siren-hall", "set_on", False)]
    house.set("door-front", open=True)
    house.event("alert_raised", "door-front", actor="rule:left_open", alert="left_open")
    house.advance("1h")
    assert (house.alerts, len(house.commands)) == ([], 2)


def test_entry_door_leaves_time(house: SimulatedHouse) -> None:
    """Who comes in by the entry door has half a minute to set the house to home."""
    house.device("door-front", kind="door", labels=["entry"])
    house.mode = "away"
    house.set("door-front", open=True)
    house.advance("20s")
    house.mode = "home"
    house.advance("1h")
    assert house.alerts == []


def test_the_delay_outlives_a_power_cut(house: SimulatedHouse) -> None:
    """Cutting the power in the half minute at the door does not help."""
    house.device("door-front", kind="door", labels=["entry"])
    house.mode = "away"
    house.set("door-front", open=True)
    house.restart(off="10s")
    assert house.alerts == []
    house.advance("20s")
    assert house.alerts == ["night_watch"]


def test_yesterday_is_not_now(house: SimulatedHouse) -> None:
    """A door that was opened an hour ago, while the gateway was off, sounds no siren now."""
    house.device("door-front", kind="door")
    house.device("siren-hall", kind="siren")
    house.mode = "night"
    house.set("door-front", open=True, ago="1h")
    house.advance("1s")
    assert house.alerts == ["night_watch"]
    assert house.commands == []
