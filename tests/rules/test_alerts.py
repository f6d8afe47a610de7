"""Alerts have a life: raised, repeated, escalated, acknowledged, cleared; over restarts and late starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.event import encode
from gateway.rules.testing import SimulatedHouse
from tests.rules.scene import house, loaded

WARM = """
@when(kind="freezer", temperature=above(-12))
def freezer_warm(f, ctx):
    ctx.alert(f"{f.name} warm", escalate=[("0m", "anna"), ("15m", "everyone"), ("1h", "siren-hall")], repeat="2h")
"""


def told(here: SimulatedHouse) -> list[str]:
    """Return what happened to alerts so far, in order."""
    return [event.type.removeprefix("alert_") for event in here.outputs if event.type.startswith("alert_")]


def people(here: SimulatedHouse) -> list[str]:
    """Return who was told so far."""
    return [to for to, _ in here.notifications]


def test_it_escalates_until_it_is_over(tmp_path: Path) -> None:
    """Anna at once, everyone after a quarter of an hour, the siren after an hour; at the end all is told and off."""
    here = house(tmp_path, WARM)
    here.set("freezer-cellar", temperature=-5)
    assert here.notifications == [("anna", "freezer-cellar warm")]
    here.advance("14m")
    assert people(here) == ["anna"]
    here.advance("2m")
    assert here.notifications[1:] == [("everyone", "freezer-cellar warm (since 12:00, not acknowledged)")]
    here.advance("44m")
    assert here.commands == [("siren-hall", "set_on", True)]
    here.advance("1h")
    assert people(here)[2:] == ["anna", "everyone"], "who was told is told again"
    here.set("freezer-cellar", temperature=-15)
    assert here.commands[1:] == [("siren-hall", "set_on", False)]
    assert here.notifications[4:] == [
        ("anna", "over: freezer-cellar warm"),
        ("everyone", "over: freezer-cellar warm"),
    ]
    assert told(here) == ["raised", "escalated", "escalated", "escalated", "repeated", "cleared"]
    assert (here.alerts, here.rows("timers"), here.rows("holds")) == ([], {}, {})


def test_all_its_events_have_one_id_and_an_actor(tmp_path: Path) -> None:
    """From raise to clear the id is the same; raised again later it is another one."""
    here = house(tmp_path, WARM)
    for _ in range(2):
        here.set("freezer-cellar", temperature=-5)
        here.advance("20m")
        here.acknowledge("freezer_warm")
        here.set("freezer-cellar", temperature=-15)
    events = [event for event in here.outputs if event.type.startswith("alert_")]
    ids = [event.data["id"] for event in events]
    assert ids[:5] == [ids[0]] * 5
    assert ids[5:] == [ids[5]] * 5
    assert ids[0] != ids[5]
    actors = {event.type: event.actor.partition("@")[0] for event in events}
    assert actors.pop("alert_acknowledged") == "person:test"
    assert set(actors.values()) == {"rule:freezer_warm"}


def test_acknowledging_stops_everything_but_the_alert(tmp_path: Path) -> None:
    """After somebody has seen it nobody is told again and the siren is off; it is still raised until it is over."""
    here = house(tmp_path, WARM)
    here.set("freezer-cellar", temperature=-5)
    here.advance("61m")
    assert here.commands == [("siren-hall", "set_on", True)]
    before = people(here)
    here.acknowledge("freezer_warm")
    assert here.commands[1:] == [("siren-hall", "set_on", False)]
    here.acknowledge("freezer_warm")
    here.advance("1d")
    assert (people(here), here.alerts, here.rows("timers")) == (before, ["freezer_warm"], {})
    assert told(here).count("acknowledged") == 1
    here.set("freezer-cellar", temperature=-15)
    assert told(here)[-1] == "cleared"


def test_one_is_acknowledged_by_its_id_and_all_by_their_key(tmp_path: Path) -> None:
    """Two freezers have two alerts under one key."""
    here = house(tmp_path, WARM)
    here.set("freezer-cellar", temperature=-5)
    here.set("freezer-hall", temperature=-5)
    rows = here.rows("alerts")
    (cellar,) = [row for row in rows.values() if row["device"].endswith("cellar")]
    here.acknowledge(cellar["id"])
    assert [bool(row.get("acknowledged")) for _, row in sorted(here.rows("alerts").items())] == [True, False]
    here.acknowledge("freezer_warm")
    assert all(row["acknowledged"]["by"] == "person:test" for row in here.rows("alerts").values())


def test_a_button_acknowledges(tmp_path: Path) -> None:
    """A rule can acknowledge for the person who pressed a button; the actor is the rule."""
    button = '@rule("button_pressed")\ndef seen(event, ctx): ctx.acknowledge("freezer_warm")\n'
    here = house(tmp_path, WARM + button)
    here.set("freezer-cellar", temperature=-5)
    here.event("button_pressed", "button-hall")
    here.advance("1d")
    assert people(here) == ["anna"]
    (event,) = [event for event in here.outputs if event.type == "alert_acknowledged"]
    assert event.actor.startswith("rule:seen@")


def test_steps_survive_a_power_cut_and_keep_their_distance(tmp_path: Path) -> None:
    """What was due while the power was off is told at the start, and the siren leaves people the time to answer."""
    here = house(tmp_path, WARM)
    here.set("freezer-cellar", temperature=-5)
    here.restart(off="3h")
    assert people(here) == ["anna", "everyone"]
    assert here.commands == []
    here.advance("44m")
    assert here.commands == []
    here.advance("2m")
    assert here.commands == [("siren-hall", "set_on", True)]


def test_what_was_over_before_it_was_looked_at_tells_nobody(tmp_path: Path) -> None:
    """An alert of the past is raised, but nobody is told before it is clear that it is still so."""
    here = house(
        tmp_path,
        """
        @rule("door_opened")
        def opened(event, ctx): ctx.alert("open", escalate=[("0m", "anna")])
        @rule("door_closed")
        def closed(event, ctx): ctx.clear("opened")
        """,
    )
    here.set("door-front", open=True, ago="2h")
    here.set("door-front", open=False, ago="1h")
    here.advance("1h")
    assert people(here) == []
    here.set("door-front", open=True, ago="2h")
    here.advance(0)
    assert people(here) == ["anna"]


def test_raised_again_it_says_so_to_those_who_were_told(tmp_path: Path) -> None:
    """A second reason under the same key repeats the alert, with its text; not after it was acknowledged."""
    here = house(
        tmp_path,
        """
        @rule("door_opened")
        def intruder(event, ctx): ctx.alert(event.device.name, key="intruder", lane="alarm", escalate=[("0m", "anna")])
        """,
    )
    for name in ("door-front", "door-back"):
        here.set(name, open=True)
    assert here.notifications == [("anna", "door-front"), ("anna", "door-back (since 12:00)")]
    assert all(e.data["urgent"] for e in here.outputs if e.type == "notification_requested"), "of the lane alarm"
    here.acknowledge("intruder")
    here.set("door-side", open=True)
    assert len(here.notifications) == 2
    assert [event.data.get("acknowledged") for event in here.outputs if event.type == "alert_repeated"] == [
        None,
        "person:test",
    ]
    assert here.alert_texts == ["door-side"]
    assert all(event.lane == "alarm" for event in here.outputs if event.type.startswith("alert_"))


RINGS = """
@rule("door_opened")
def opened(event, ctx): ctx.alert("open", escalate=[{steps}])
"""


def test_another_plan_after_an_edit_tells_nobody_twice(tmp_path: Path) -> None:
    """An edit leaves a raised alert its plan; raised again by the new file, steps that have passed are not taken."""
    here = house(tmp_path, RINGS.format(steps='("0m", "anna"), ("1h", "ben")'))
    here.set("door-front", open=True)
    here.advance("20m")
    here.reload(loaded(tmp_path, RINGS.format(steps='("0m", "anna"), ("10m", "carla"), ("30m", "doris")')))
    here.set("door-back", open=True)
    assert people(here) == ["anna", "anna"], "once for each door"
    here.advance("11m")
    assert people(here) == ["anna", "anna", "doris"]
    here.advance("2h")
    assert people(here) == ["anna", "anna", "doris"]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ('[("5m",)]', "is no step"),
        ('[(event.type, "anna")]', "is not a duration"),
        ('"anna"', "at most 10 steps"),
        ('[("1m", "x")] * 11', "at most 10 steps"),
    ],
)
def test_an_escalation_that_makes_no_sense_is_the_rules_fault(tmp_path: Path, steps: str, why: str) -> None:
    """What is no escalation raises on the author's line, and no alert."""
    here = house(tmp_path, f'@rule("door_opened")\ndef wrong(event, ctx): ctx.alert("x", escalate={steps})\n')
    here.raises = False
    here.set("door-front", open=True)
    assert why in here.faults[0]
    assert here.alerts == []


def test_notifications_have_words_a_key_and_an_end(tmp_path: Path) -> None:
    """What a rule asks for is a record of the gateway's own lane, with everything that is needed to send it."""
    here = house(
        tmp_path,
        """
        @rule("button_pressed")
        def bell(event, ctx): ctx.notify("somebody rings", to="anna", key="bell", ttl="5m", title="Bell", urgent=True)
        """,
    )
    here.event("button_pressed", "button-hall")
    (event,) = here.outputs
    assert (event.type, event.lane) == ("notification_requested", "command")
    assert event.data == {
        "to": "anna", "text": "somebody rings", "title": "Bell", "key": "bell", "urgent": True, "ttl_s": 300.0,
    }  # fmt: skip
    assert here.emitted == []
    here.event("button_pressed", "button-hall", ago="5m")
    assert (here.outputs[1].type, here.outputs[1].data["reason"]) == ("notification_suppressed", "late")


@pytest.mark.parametrize("call", ['ctx.notify("")', 'ctx.notify("x", ttl="8d")', 'ctx.notify("x", key="k" * 101)'])
def test_a_notification_that_makes_no_sense_is_the_rules_fault(tmp_path: Path, call: str) -> None:
    """No text, no end or no key that can be kept: it raises on the author's line."""
    here = house(tmp_path, f'@rule("door_opened")\ndef wrong(event, ctx): {call}\n')
    here.raises = False
    here.set("door-front", open=True)
    assert here.faults
    assert here.notifications == []


ACTS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from([-20, -5])),
    st.tuples(st.just("advance"), st.sampled_from(["30s", "10m", "1h", "5h"])),
    st.tuples(st.just("restart"), st.sampled_from(["0s", "10m", "5h"])),
    st.tuples(st.just("acknowledge"), st.just("freezer_warm")),
    st.tuples(st.just("reload"), st.just("")),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=25))
def test_whatever_happens_its_life_is_in_order(tmp_path: Path, acts: list[tuple[str, object]]) -> None:
    """Lives begin with a raise and end with a clear; nothing follows an acknowledgement; nothing is left behind."""
    here, again = house(tmp_path, WARM), house(tmp_path, WARM)
    for home in (here, again):
        home.device("siren-hall", kind="siren")
        for act, argument in [*acts, ("set", -20), ("advance", "1d")]:
            if act == "set":
                home.set("freezer-cellar", temperature=argument)
            elif act == "restart":
                home.restart(off=str(argument))
            elif act == "reload":
                home.reload(home.loaded)
            else:
                getattr(home, act)(argument)
    assert [encode(event) for event in again.outputs] == [encode(event) for event in here.outputs], "deterministic"
    lives: dict[str, list[str]] = {}
    for event in here.outputs:
        if event.type.startswith("alert_"):
            lives.setdefault(event.data["id"], []).append(event.type.removeprefix("alert_"))
    for life in lives.values():
        assert (life[0], life[-1]) == ("raised", "cleared")
        assert (life.count("raised"), life.count("cleared")) == (1, 1)
        assert life.count("escalated") <= 3
        assert "acknowledged" not in life or life[-2:] == ["acknowledged", "cleared"]
    assert (here.alerts, here.rows("timers"), here.rows("holds")) == ([], {}, {})
    assert [value for _, _, value in here.commands[-1:]] in ([], [False]), "no siren is left on"
