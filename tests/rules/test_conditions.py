"""@when: begin, lasts, end, hysteresis, unknown, per room; always on the virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules.scene import house

SAYS = """
@when({arguments})
def so(subject, ctx): ctx.emit("so_begun", {{"name": subject.name, "at": ctx.now.strftime("%H:%M:%S")}})
@so.end
def over(subject, ctx): ctx.emit("so_ended", {{"name": subject.name}})
"""


def said(here: object) -> list[str]:
    """Return what the rule `so` said, as ``begun door-front``."""
    return [f"{event.type[3:]} {event.data['name']}" for event in here.emitted]  # type: ignore[attr-defined]


def test_begins_and_ends_once(tmp_path: Path) -> None:
    """However often a value is reported, a condition begins once and ends once."""
    here = house(tmp_path, SAYS.format(arguments='kind="door", battery=below(20)'))
    for battery in (50, 19, 18, 5, 20, 90, 10):
        here.set("door-front", battery=battery)
    assert said(here) == ["begun door-front", "ended door-front", "begun door-front"]


def test_lasts_counts_from_the_beginning_without_a_break(tmp_path: Path) -> None:
    """A condition begins at the moment it has lasted long enough, and a break starts it anew."""
    here = house(tmp_path, SAYS.format(arguments='kind="door", open=True, lasts="10m"'))
    here.set("door-front", open=True)
    here.advance("9m")
    here.set("door-front", open=False)
    here.set("door-front", open=True)
    here.advance("9m")
    assert said(here) == []
    here.advance("5m")
    assert [event.data["at"] for event in here.emitted] == ["12:19:00"]


def test_each_device_for_itself(tmp_path: Path) -> None:
    """Two doors are two conditions."""
    here = house(tmp_path, SAYS.format(arguments='kind="door", open=True, lasts="1m"'))
    here.set("door-a", open=True)
    here.advance("30s")
    here.set("door-b", open=True)
    here.advance("45s")
    here.set("door-b", open=False)
    here.set("door-a", open=False)
    assert said(here) == ["begun door-a", "ended door-a"]


@pytest.mark.parametrize("per", ["room", "house"])
def test_per_room_and_house_is_true_while_it_is_of_any(tmp_path: Path, per: str) -> None:
    """The last window counts."""
    here = house(tmp_path, SAYS.format(arguments=f'kind="window", open=True, per="{per}"'))
    here.device("w1", kind="window", room="bath")
    here.device("w2", kind="window", room="bath")
    for name, is_open in (("w1", True), ("w2", True), ("w1", False), ("w2", False)):
        here.set(name, open=is_open)
    assert said(here) == [
        f"begun {'bath' if per == 'room' else 'house'}",
        f"ended {'bath' if per == 'room' else 'house'}",
    ]


def test_hysteresis(tmp_path: Path) -> None:
    """above(25, clear=23) ends only at 23, below(5, clear=8) at 8."""
    here = house(tmp_path, SAYS.format(arguments="temperature=above(25, clear=23)"))
    seen = []
    for celsius in (25, 25.1, 24, 23.1, 23, 25):
        here.set("room-sensor", temperature=celsius)
        seen.append(len(here.emitted))
    assert seen == [0, 1, 1, 1, 2, 2]


def test_several_fields_have_all_to_be_so(tmp_path: Path) -> None:
    """A condition over two fields begins with the second and ends with the first that changes."""
    here = house(tmp_path, SAYS.format(arguments='mode=("heat", "auto"), window_detected=True'))
    here.set("trv-bath", mode="auto")
    here.set("trv-bath", window_detected=True)
    here.set("trv-bath", mode="heat")
    here.set("trv-bath", mode="off")
    assert said(here) == ["begun trv-bath", "ended trv-bath"]


def test_is_evaluated_from_state_at_start(tmp_path: Path) -> None:
    """What is already so when the rules are loaded begins then, once."""
    here = house(tmp_path, SAYS.format(arguments='kind="door", open=True'))
    here.device("door-front", kind="door", open=True)
    assert said(here) == ["begun door-front"]
    here.restart()
    assert said(here) == ["begun door-front"]


def test_a_device_that_is_gone_ends_its_condition(tmp_path: Path) -> None:
    """What moved out of the selection is over."""
    here = house(tmp_path, SAYS.format(arguments='room="bath", open=True'))
    here.device("door-1", kind="door", room="bath", open=True)
    here.device("door-1", kind="door", room="hall")
    assert said(here) == ["begun door-1", "ended door-1"]


@pytest.mark.parametrize(
    ("unknown", "offline", "after_an_hour"),
    [
        ("keep", ["begun door-front"], ["begun door-front"]),
        ("false", ["begun door-front", "ended door-front"], ["begun door-front", "ended door-front"]),
        ("true", ["begun door-front"], ["begun door-front"]),
        ("false after 30m", ["begun door-front"], ["begun door-front", "ended door-front"]),
    ],
)
def test_unknown(tmp_path: Path, unknown: str, offline: list[str], after_an_hour: list[str]) -> None:
    """While a device is silent its values are not known: keep, or take a side at once or after a time."""
    here = house(tmp_path, SAYS.format(arguments=f'open=True, unknown="{unknown}"'))
    here.set("door-front", open=True)
    here.offline("door-front")
    assert said(here) == offline
    here.advance("1h")
    assert said(here) == after_an_hour


def test_unknown_is_forgotten_when_it_is_known_again_in_time(tmp_path: Path) -> None:
    """A device that comes back before the time is up changes nothing."""
    here = house(tmp_path, SAYS.format(arguments='open=True, unknown="true after 2h"'))
    here.set("door-front", open=False)
    here.offline("door-front")
    here.advance("1h")
    here.set("door-front", online=True)
    here.advance("3h")
    assert said(here) == []


def test_an_alert_clears_itself_and_is_repeated_meanwhile(tmp_path: Path) -> None:
    """Raised at the beginning, again and again while it lasts, cleared at the end, about the same device."""
    here = house(
        tmp_path,
        '@when(kind="door", open=True)\ndef left_open(door, ctx): ctx.alert(f"{door.name} open", repeat="1h")\n',
    )
    here.set("door-front", open=True)
    here.advance("2h")
    here.restart()
    here.set("door-front", open=False)
    here.advance("5h")
    told = [(event.type, event.data["alert"], event.data.get("count")) for event in here.outputs]
    raised = [("alert_raised", "left_open", 1), *(("alert_repeated", "left_open", count) for count in (2, 3))]
    assert told == [*raised, ("alert_cleared", "left_open", 3)]
    assert {event.subject for event in here.outputs} == {"house/test:door-front"}


def test_holds_end_with_the_condition(tmp_path: Path) -> None:
    """What a condition holds is released at its end, for that device or room alone."""
    here = house(
        tmp_path,
        """
        @when(kind="window", open=True, per="room")
        def airing(room, ctx):
            for trv in room.devices(kind="thermostat"): ctx.hold(trv, mode="off")
        """,
    )
    for room in ("bath", "hall"):
        here.device(f"trv-{room}", kind="thermostat", room=room, mode="heat")
        here.set(f"window-{room}", open=True)
    here.set("window-bath", open=False)
    assert here.commands[2:] == [("trv-bath", "set_mode", "heat")]


def test_a_condition_of_the_past_acts_when_the_present_is_reached(tmp_path: Path) -> None:
    """Events of the downtime switch nothing one by one; what is so at their end is commanded then, once."""
    here = house(
        tmp_path,
        '@when(kind="window", open=True)\ndef airing(w, ctx): ctx.hold("trv-bath", mode="off")\n',
    )
    here.device("trv-bath", kind="thermostat", mode="heat")
    for minutes in range(20, 11, -2):
        here.set("window-bath", open=True, ago=f"{minutes}m")
        here.set("window-bath", open=False, ago=f"{minutes - 1}m")
    assert here.commands == []
    here.set("window-bath", open=True, ago="5m")
    assert here.commands == []
    here.set("door-front", open=True)
    assert here.commands == [("trv-bath", "set_mode", "off")]
    here.set("window-bath", open=False)
    assert here.commands[1:] == [("trv-bath", "set_mode", "heat")]


def test_what_rules_that_are_gone_left_is_cleaned_up(tmp_path: Path) -> None:
    """A rule that was removed holds nothing and alerts nothing any more."""
    here = house(
        tmp_path,
        """
        @when(kind="window", open=True)
        def airing(window, ctx):
            ctx.hold("trv-bath", mode="off")
            ctx.alert("x")
        """,
    )
    here.device("trv-bath", kind="thermostat", mode="heat")
    here.set("window-bath", open=True)
    assert (here.commands, here.alerts) == ([("trv-bath", "set_mode", "off")], ["airing"])
    here.reload(house(tmp_path, "").loaded)
    assert (here.commands[1:], here.alerts) == ([("trv-bath", "set_mode", "heat")], [])


@pytest.mark.parametrize("per", ["device", "room"])
def test_devices_behind_a_bridge_are_offline_with_it(tmp_path: Path, per: str) -> None:
    """One event of the bridge says it of all that it names: conditions about them begin, and end when it is back."""
    here = house(tmp_path, SAYS.format(arguments=f'kind="door", online=False, lasts="5m", per="{per}"'))
    doors = [here.device(f"door-{name}", kind="door", room=name) for name in ("front", "back")]
    behind = [door.id for door in doors]
    here.event("device_offline", "bridge", online=False, scope="parent", devices=[*behind, "house/t:nobody"])
    here.advance("4m")
    assert said(here) == []
    here.advance("2m")
    names = [door.name if per == "device" else door.room for door in doors]
    assert sorted(said(here)) == sorted(f"begun {name}" for name in names)
    here.event("device_online", "bridge", online=True, scope="parent", devices=behind[:1])
    assert said(here)[2:] == [f"ended {names[0]}"]
    assert [door.is_online for door in doors] == [True, False]
