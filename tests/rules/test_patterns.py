"""debounce=, after=, unless=: rules about more than one event, on the virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house, loaded

SAYS = """
@rule("{event}", {arguments})
def note(event, ctx): ctx.emit("noted", {{"who": event.device.name, "at": ctx.now.strftime("%M:%S")}})
"""


def said(here: SimulatedHouse) -> list[str]:
    """Return what the rule said, as ``door-front 00:02``."""
    return [f"{event.data['who']} {event.data['at']}" for event in here.emitted]


def debouncing(tmp_path: Path, more: str = "") -> SimulatedHouse:
    """Return a house with two buttons and a rule that waits for silence."""
    here = house(tmp_path, SAYS.format(event="button_pressed", arguments=f'debounce="10s"{more}'))
    here.device("button-a", kind="button")
    here.device("button-b", kind="button")
    return here


def test_debounce_waits_for_silence_of_each_device(tmp_path: Path) -> None:
    """The rule runs once, with the last event, when a device has been silent for long enough."""
    here = debouncing(tmp_path)
    for seconds, button in ((0, "a"), (6, "a"), (2, "b"), (6, "a"), (60, "a")):
        here.advance(seconds)
        here.event("button_pressed", f"button-{button}", button="single")
    here.advance("1m")
    assert said(here) == ["button-b 00:18", "button-a 00:24", "button-a 01:24"]
    assert here.rows("timers") == {}


def test_debounce_shows_the_event_as_it_was(tmp_path: Path) -> None:
    """The event has its own time and fields; the call's time is that of the silence."""
    text = """
    @rule("button_pressed", debounce="10s", where={"button": "double"})
    def note(event, ctx): ctx.emit("noted", {"event": event.time.second, "now": ctx.now.second, "b": event["button"]})
    """
    here = house(tmp_path, text)
    here.device("button-a", kind="button")
    here.event("button_pressed", "button-a", button="double")
    here.advance("5s")
    here.event("button_pressed", "button-a", button="single")
    here.advance("5s")
    assert here.emitted[0].data == {"event": 0, "now": 10, "b": "double"}


def test_debounce_survives_a_power_cut(tmp_path: Path) -> None:
    """What waited for silence runs after the cut, once."""
    here = debouncing(tmp_path)
    here.event("button_pressed", "button-a")
    here.restart(off="5s")
    here.restart(off="20s")
    here.advance("1m")
    assert len(said(here)) == 1


def test_a_late_event_stays_late_through_its_silence(tmp_path: Path) -> None:
    """Waiting makes nothing of the past present: commands of a late event are recorded only."""
    text = '@rule("button_pressed", debounce="10s")\ndef lamp(event, ctx): ctx.command("light-hall", "set_on", True)\n'
    here = house(tmp_path, text)
    for name in ("light-hall", "button-a"):
        here.device(name, kind=name.partition("-")[0])
    here.event("button_pressed", "button-a", ago="10m")
    here.advance("1m")
    assert here.commands == []
    here.event("button_pressed", "button-a")
    here.advance("1m")
    assert here.commands == [("light-hall", "set_on", True)]


AFTER = 'after="door_opened", within="30s", same="{same}"'


def following(tmp_path: Path, same: str, more: str = "") -> SimulatedHouse:
    """Return a house with doors and motion sensors in two rooms and a rule about one after the other."""
    here = house(tmp_path, SAYS.format(event="motion_detected", arguments=AFTER.format(same=same) + more))
    for name in ("door-hall", "motion-hall", "motion-bath"):
        here.device(name, kind=name.partition("-")[0], room=name.partition("-")[2])
    return here


@pytest.mark.parametrize(("same", "expected"), [("room", ["motion-hall 00:20"]), ("house", ["motion-bath 00:10"])])
def test_one_after_the_other(tmp_path: Path, same: str, expected: list[str]) -> None:
    """A rule runs for what follows in time and in the same place; what came before counts once."""
    here = following(tmp_path, same)
    here.event("motion_detected", "motion-hall")
    here.event("door_opened", "door-hall")
    here.advance("10s")
    here.event("motion_detected", "motion-bath")
    here.advance("10s")
    here.event("motion_detected", "motion-hall")
    here.event("motion_detected", "motion-hall")
    assert said(here) == expected


def test_too_late_and_the_wrong_way_round(tmp_path: Path) -> None:
    """After `within`, or with an earlier time of its own, it does not follow."""
    here = following(tmp_path, "room")
    here.event("door_opened", "door-hall")
    here.advance("31s")
    here.event("motion_detected", "motion-hall")
    here.event("door_opened", "door-hall")
    here.advance("20s")
    here.event("motion_detected", "motion-hall", ago="25s")
    assert said(here) == []
    here.event("motion_detected", "motion-hall", ago="5s")
    assert len(said(here)) == 1


def test_what_came_before_is_at_hand(tmp_path: Path) -> None:
    """event.earlier is the other event; it may be one of several, and chosen like any; a restart changes nothing."""
    text = """
    entry = happened("door_opened", "window_opened", label="entry", where={"open": True})
    @rule("motion_detected", after=entry, within="30s", same="house")
    def note(event, ctx): ctx.emit("noted", {"earlier": event.earlier.device.name, "at": event.earlier.time.second})
    """
    here = house(tmp_path, text)
    here.device("door-front", kind="door", labels=["entry"])
    here.device("door-bath", kind="door")
    here.device("motion-hall", kind="motion", room="hall")
    here.set("door-front", open=True)
    here.advance("5s")
    here.set("door-bath", open=True)
    here.restart(off="5s")
    here.event("motion_detected", "motion-hall")
    assert here.emitted[0].data == {"earlier": "door-front", "at": 0}


UNLESS = 'unless="door_closed", within="5m", same="{same}"'


def absent(tmp_path: Path, same: str = "device") -> SimulatedHouse:
    """Return a house with two doors and a rule about one without the other."""
    here = house(tmp_path, SAYS.format(event="door_opened", arguments=UNLESS.format(same=same)))
    for name in ("door-hall", "door-bath"):
        here.device(name, kind="door", room="ground")
    return here


@pytest.mark.parametrize(("same", "expected"), [("device", ["door-hall 05:00"]), ("room", []), ("house", [])])
def test_one_without_the_other(tmp_path: Path, same: str, expected: list[str]) -> None:
    """A rule runs when what speaks against it has not come in time, in the same place."""
    here = absent(tmp_path, same)
    here.event("door_opened", "door-hall")
    here.advance("1m")
    here.event("door_opened", "door-bath")
    here.advance("1m")
    here.event("door_closed", "door-bath")
    here.advance("10m")
    assert said(here) == expected
    assert here.rows("timers") == {}


def test_a_sign_of_life_that_does_not_come_again(tmp_path: Path) -> None:
    """An event may be the one that must come again: each begins a new wait, and the last one is missed."""
    here = house(tmp_path, SAYS.format(event="alive_said", arguments='unless="alive_said", within="5m", same="device"'))
    here.device("hub-hall", kind="hub")
    for _ in range(5):
        here.event("alive_said", "hub-hall")
        here.advance("4m")
    assert said(here) == []
    here.advance("1h")
    assert said(here) == ["hub-hall 21:00"]


def test_an_event_may_follow_one_of_its_own_sort(tmp_path: Path) -> None:
    """Two presses within the time are a pair, and the second may begin the next one."""
    here = house(
        tmp_path, SAYS.format(event="button_pressed", arguments='after="button_pressed", within="5s", same="device"')
    )
    here.device("button-a", kind="button")
    for seconds in (0, 3, 3, 20):
        here.advance(seconds)
        here.event("button_pressed", "button-a")
    assert said(here) == ["button-a 00:03", "button-a 00:06"]


def test_what_came_before_speaks_against_nothing(tmp_path: Path) -> None:
    """Only what happened within the time counts, by its own time."""
    here = absent(tmp_path)
    here.event("door_opened", "door-hall")
    here.advance("1m")
    here.event("door_closed", "door-hall", ago="2m")
    here.advance("10m")
    assert said(here) == ["door-hall 05:00"]


def test_absence_survives_a_power_cut(tmp_path: Path) -> None:
    """What waits is durable: it runs once, and can still be spoken against."""
    here = absent(tmp_path)
    here.event("door_opened", "door-hall")
    here.event("door_opened", "door-bath")
    here.restart(off="1m")
    here.event("door_closed", "door-bath")
    here.restart(off="1m")
    here.advance("1h")
    assert said(here) == ["door-hall 05:00"]


def test_cooldown_mode_and_hours_apply(tmp_path: Path) -> None:
    """The rule's other tests are those of its own event; cooldown is looked at when it would run."""
    here = following(tmp_path, "room", ', mode="night", cooldown="5m"')
    here.event("door_opened", "door-hall")
    here.event("motion_detected", "motion-hall")
    here.mode = "night"
    for _ in range(2):
        here.event("motion_detected", "motion-hall")
        here.event("door_opened", "door-hall")
    assert len(said(here)) == 1


def test_a_rule_that_is_changed_forgets_what_waited(tmp_path: Path) -> None:
    """An edit from one sort of waiting to another leaves no rows behind, and no call."""
    here = absent(tmp_path)
    here.event("door_opened", "door-hall")
    here.reload(loaded(tmp_path, SAYS.format(event="door_opened", arguments='debounce="1s"')))
    here.advance("1h")
    assert said(here) == []
    assert (here.rows("timers"), here.rows("rule_state")) == ({}, {})


WRONG = [
    ('after="door_opened"', "need within="),
    ('within="30s"', "need within="),
    ('unless="door_opened", after="door_closed", within="1m"', "in one rule"),
    ('debounce="2s", over="5m"', "in one rule"),
    ('after="door_opened", within="30s"', "where the other one has to be"),
    ('same="room"', "where the other one has to be"),
    ('after="Door", within="30s", same="room"', "is no event type"),
    ('after="door_opened", within="30s", same="floor"', '"device", "room" or "house"'),
    ("over=5", 'tumbling("15m")'),
    ('over=sliding("5m", cuont=3)', "did you mean 'count'?"),
    ('over=sliding("5m", mean=">25")', 'add field="temperature"'),
    ('over=sliding("0.5s")', "at least 1 s"),
    ('over=tumbling("2d")', "at most 24h"),
    ('debounce="soon"', "not a duration"),
    ('debonce="2s"', "did you mean 'debounce'?"),
    ("after=happened(), within=1", "needs an event type"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[arguments for arguments, _ in WRONG])
def test_mistakes_have_a_line_and_a_way_out(tmp_path: Path, arguments: str, words: str) -> None:
    """What can't be is a fault at the decorator's line that says what to write."""
    (fault,) = loaded(tmp_path, f'@rule("door_opened", {arguments})\ndef note(event, ctx): pass\n').faults
    assert fault.line == 2
    assert words in f"{fault.what} {fault.hint}"


def test_names_of_the_other_event_are_checked(tmp_path: Path) -> None:
    """A device that does not exist is a fault in happened(), too."""
    from gateway.rules.language.house import House
    from gateway.rules.protocol import DeviceEntry

    other = 'happened("window_opened", device="window-bad")'
    text = f'@rule("door_opened", after={other}, within=9, same="house")\ndef note(event, ctx): pass\n'
    known = House([DeviceEntry("house/z2m:1", "window-bath", "bath", "window")], {})
    (fault,) = loaded(tmp_path, text, house=known).faults
    assert "did you mean 'window-bath'?" in str(fault)
