"""Why a rule did or did not run: each verdict of the trace in words, its bounds, and a rule as it is now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.rules.desk.looks import FORGOTTEN, NOT_MEANT, Told, looking_at, told_of
from gateway.rules.desk.why import why
from gateway.rules.engine.trace import LOOKS_MAX, TEXT_CHARS_MAX, Trace, kept
from gateway.rules.protocol import Ask
from gateway.rules.testing import SimulatedHouse
from gateway.rules.worker.replies import reply
from tests.rules.scene import house, loaded

Act = Callable[[SimulatedHouse], object]
RULE = "def r(event, ctx): pass"
WHEN = "def r(device, ctx): pass"


def opens(house: SimulatedHouse) -> None:
    """Open the front door."""
    house.event("door_opened", "door-front", open=True)


def twice(house: SimulatedHouse) -> None:
    """Open it again after seven minutes."""
    opens(house)
    house.advance("7m")
    opens(house)


def warms(*values: float) -> Act:
    """Let a freezer report temperatures."""

    def act(house: SimulatedHouse) -> None:
        for value in values:
            house.set("freezer-cellar", temperature=value)

    return act


def falls_silent(house: SimulatedHouse) -> None:
    """Report, then go offline."""
    warms(-20)(house)
    house.offline("freezer-cellar")


def fails(house: SimulatedHouse) -> None:
    """Let a rule raise until it is in quarantine, and once more."""
    house.raises = False
    for _ in range(6):
        opens(house)


CASES: list[tuple[str, Act, str]] = [
    ('@rule("door_opened")\n' + RULE, opens, "ran in 0.00 ms: nothing followed"),
    ('@rule("door_opened", where={"open": False})\n' + RULE, opens, "where: open was True, not open=False"),
    ('@rule("door_opened", where={"lock": "shut"})\n' + RULE, opens, "where: lock was not known, not lock=shut"),
    ('@rule("door_opened", where={"open": True, "battery": ">50"})\n' + RULE, opens,
     "where: battery was not known, not battery>50"),
    ('@rule("door_opened", mode=("night", "away"))\n' + RULE, opens, "mode: it was home, not night or away"),
    ('@rule("door_opened", cooldown="10m")\n' + RULE, twice, "cooldown: 3 min left"),
    ('@rule("door_opened", between="22:00-06:00")\n' + RULE, opens, "hours: it was not between 22:00-06:00"),
    ('@rule("door_opened", days="sat,sun")\n' + RULE, opens, "hours: it was not on sat,sun"),
    ('@rule("door_opened", debounce="5s")\n' + RULE, opens, "waits for silence"),
    ('@rule("door_opened", after="motion_detected", within=30, same="room")\n' + RULE, opens, "nothing came before it"),
    ('@rule("door_opened")\ndef r(event, ctx): 1 / 0', fails, "the rule was in quarantine: the call waits"),
    ('@rule("door_opened")\ndef r(event, ctx): ctx.emit("rang"); ctx.state["n"] = 1', opens,
     "ran in 0.00 ms: 1 output, 1 row changed"),
    ('@rule("door_opened")\ndef r(event, ctx): ctx.hold("siren-hall", on=True)',
     lambda house: house.event("door_opened", "door-front", ago="5m"),
     "ran in 0.00 ms: 1 output, late: nothing was switched"),
    ("@when(temperature=above(-12))\n" + WHEN, warms(-20), "is not so: temperature is -20 (above(-12): no)"),
    ('@when(temperature=above(-12), lasts="20m")\n' + WHEN, warms(-20, -10),
     "became so, has to last 20 min: temperature is -10 (above(-12): yes)"),
    ('@when(temperature=above(-12), lasts="20m")\n' + WHEN, warms(-10, -20),
     "is over: temperature is -20 (above(-12): no)"),
    ('@when(temperature=above(-12, clear=-15), lasts="20m")\n' + WHEN, warms(-10, -13),
     "stays what it was: temperature is -13 (above(-12, clear=-15): as before)"),
    ("@when(temperature=above(-12), open=True)\n" + WHEN, warms(-10),
     "stays what it was: temperature is -10 (above(-12): yes), open is not known (=True: not known)"),
    ('@when(temperature=above(-12), between="22:00-06:00")\n' + WHEN, warms(-10),
     "is not so: it was not between 22:00-06:00"),
    ("@when(temperature=above(-12))\n" + WHEN, falls_silent, "not known: the device is offline"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "act", "text"), CASES, ids=[text[:40] for _, _, text in CASES])
def test_why_not(tmp_path: Path, source: str, act: Act, text: str) -> None:
    """Each thing that speaks against a run is named with the value it saw, and a run with what it did."""
    made = house(tmp_path, source)
    act(made)
    assert made.why("r")[-1] == text


def test_a_condition_that_begins_says_what_it_did(tmp_path: Path) -> None:
    """That it became so and that its function ran are two looks at one record; its end is one of a later record."""
    made = house(tmp_path, '@when(kind="door", open=True)\ndef r(door, ctx): ctx.alert("open")\n')
    made.set("door-front", open=True)
    assert made.why("r") == ["became so: open is True (=True: yes)", "begin: ran in 0.00 ms: 1 output, 2 rows changed"]
    made.set("door-front", open=False)
    assert made.why("r")[2:] == ["is over: open is False (=True: no)", "cleared up: 1 output, 1 row changed"]


def told(made: SimulatedHouse, **event: Any) -> dict[str, Told]:
    """Return what rules made of the last event, by rule."""
    sequence = f"{made._time.sequence:016d}"
    given = {"event_id": "", "event_type": "door_opened", "subject": "house/test:door-front", "fields": ["open"]}
    return {look.rule: look for look in told_of(made._engine, sequence, **{**given, **event})}


def test_an_event_is_explained_by_all_rules_it_is_something_to(tmp_path: Path) -> None:
    """Who looked says what came of it; who looks at such events but not at this device says why; others are silent."""
    made = house(
        tmp_path,
        """
        @rule("door_opened")
        def runs(event, ctx): ctx.emit("a"); ctx.emit("b")
        @rule("door_opened", room="hall")
        def elsewhere(event, ctx): pass
        @rule("door_opened", kind="window")
        def windows(event, ctx): pass
        @rule("door_opened", device="door-back")
        def back(event, ctx): pass
        @when(label="entry", open=True)
        def labelled(door, ctx): pass
        @rule("door_closed")
        def closes(event, ctx): pass
        @every("1h")
        def ticks(ctx): pass
        """,
    )
    outputs = len(made.outputs)
    made._known("door-back")
    opens(made)
    caused = made.outputs[outputs:]
    made._time.sequence -= len(caused)  # the door's own
    found = told(made, event_id=caused[0].cause)
    assert {name: look.text for name, look in found.items()} == {
        "runs": "ran in 0.00 ms: 2 outputs",
        "elsewhere": "only room=hall; door-front is in front",
        "windows": "only kind=window; door-front is a door",
        "back": "only device=door-back; this is door-front",
        "labelled": "only label=entry; door-front has none",
    }
    assert found["runs"].outputs == [event.id for event in caused], "named as the journal has them"
    assert {look.verdict for name, look in found.items() if name != "runs"} == {NOT_MEANT}


def test_a_busy_rule_forgets_and_says_so(tmp_path: Path) -> None:
    """A rule's ring holds its last looks; of an event before them it says that it is not in memory any more."""
    made = house(
        tmp_path,
        """
        @rule("door_opened", "door_closed", mode="night")
        def busy(event, ctx): pass
        @rule("door_opened", mode="night")
        def quiet(event, ctx): pass
        """,
    )
    opens(made)
    before = made._time.sequence
    for _ in range(made._trace.each):
        made.event("door_closed", "door-front", open=False)
    made._time.sequence = before
    found = told(made)
    assert found["busy"].verdict == FORGOTTEN
    assert found["quiet"].text == "mode: it was home, not night", "what one rule sees does not push out another's"


def test_rules_loaded_anew_do_not_remember(tmp_path: Path) -> None:
    """Of an event before an edit a rule that looks at such events says that it does not know."""
    made = house(tmp_path, '@rule("door_opened", mode="night")\n' + RULE)
    opens(made)
    before = made._time.sequence
    made.reload(loaded(tmp_path, '@rule("door_opened", mode="away")\n' + RULE))
    opens(made)
    assert told(made)["r"].text == "mode: it was home, not away"
    made._record("rule_disabled", "", {"rule": "r"}, lane="timer", actor="person:anna")
    made._time.sequence = before
    assert told(made)["r"].verdict == FORGOTTEN, "that it is disabled now says nothing of then"


def test_the_trace_is_bounded() -> None:
    """Rings share LOOKS_MAX evenly within limits, and a look keeps no large value."""
    assert Trace(1).each * 1 <= LOOKS_MAX
    assert 100 <= Trace(80).each <= LOOKS_MAX // 80
    assert Trace(100_000).each == 16
    assert (kept(1.5), kept(-7), kept(2**70)) == (1.5, -7, "1180591620717411303424")
    for large in ("x" * 10_000, ["x"] * 10_000, {"a": "b" * 10_000}):
        assert len(kept(large)) == TEXT_CHARS_MAX


def test_calls_are_timed_by_the_clock_that_is_given() -> None:
    """The median is of the last calls, the longest of all."""
    trace = Trace(1)
    assert trace.times_us(0) is None
    for us in (900.0, *[3.0] * 200, 5.0):
        trace.timed(0, us)
    assert trace.times_us(0) == (3.0, 900.0)


def now(made: SimulatedHouse, name: str, device: str = "") -> dict[str, Any]:
    """Return a rule as it is now."""
    return why(made._engine, name, made._time.now_ns, device)


def test_why_a_condition_waits(tmp_path: Path) -> None:
    """Per device: each field with its value, since when it is so, how much of `lasts` is over, when it begins."""
    acts = 'ctx.alert("open"); ctx.hold("siren-hall", on=True)'
    made = house(tmp_path, f'@when(kind="door", open=True, lasts="30m")\ndef r(door, ctx): {acts}\n')
    made.set("door-back", open=False)
    made.set("door-front", open=True)
    made.advance("10m")
    back, front = now(made, "r")["scopes"]
    assert (back["name"], back["so"], back["begun"]) == ("door-back", False, False)
    assert (front["so"], front["begun"], front["since"]) == (True, False, "2026-01-05T12:00:00.000Z")
    assert (front["lasted_s"], front["lasts_s"], front["begins"]) == (600, 1800, "2026-01-05T12:30:00.000Z")
    assert front["members"][0]["fields"] == [
        {"field": "open", "wanted": "=True", "value": True, "so": True, "text": "yes"}
    ]
    made.advance("21m")
    found = now(made, "r", "door-front")
    assert [scope["begun"] for scope in found["scopes"]] == [True]
    assert [(alert["alert"], alert["text"]) for alert in found["alerts"]] == [("r", "open")]
    assert [(claim["name"], claim["field"], claim["counts"]) for claim in now(made, "r")["holds"]] == [
        ("siren-hall", "on", True)
    ]


def test_why_what_is_not_known_keeps(tmp_path: Path) -> None:
    """A device that is offline has fields that are not known, and the time until which that is borne."""
    made = house(tmp_path, '@when(kind="freezer", temperature=above(-12), unknown="true after 2h")\n' + WHEN)
    falls_silent(made)
    (scope,) = now(made, "r")["scopes"]
    assert (scope["members"][0]["online"], scope["members"][0]["fields"][0]["so"]) == (False, None)
    assert scope["unknown_until"] == "2026-01-05T14:00:00.000Z"


def test_why_an_event_rule_rests(tmp_path: Path) -> None:
    """Devices that are meant with their cooldown, the mode, the hours, and what the rule made of the last events."""
    made = house(
        tmp_path,
        '@rule("door_opened", kind="door", mode="night", between="22:00-06:00", cooldown="10m", where={"open": True})\n'
        + RULE,
    )
    opens(made)
    found = now(made, "r")
    assert (found["mode"], found["hours"]["open"]) == ({"now": "home", "wanted": ["night"], "fits": False}, False)
    assert found["hours"]["until"] == "2026-01-05T22:00:00.000Z"
    made.mode = "night"
    made.advance("11h")
    opens(made)
    made.advance("4m")
    found = now(made, "r")
    assert (found["mode"]["fits"], found["hours"]["open"]) == (True, True)
    assert [(device["name"], device["cooldown_left_s"]) for device in found["devices"]] == [("door-front", 360)]
    assert [look["text"][:4] for look in found["looks"]] == ["mode", "ran "]
    made.device("window-bath", kind="window")
    assert now(made, "r", "window-bath")["not_meant"] == "only kind=door; window-bath is a window"


def test_why_a_rule_of_time_and_a_rule_in_trouble(tmp_path: Path) -> None:
    """The next tick and time of day are told; a rule in quarantine says why, until when, and what waits."""
    made = house(
        tmp_path,
        """
        @every("1h")
        def ticks(ctx): pass
        @at("06:30")
        def mornings(ctx): pass
        @rule("door_opened")
        def broken(event, ctx): 1 / 0
        """,
    )
    fails(made)
    assert [timer["due"] for timer in now(made, "ticks")["timers"]] == ["2026-01-05T13:00:00.000Z"]
    assert [timer["due"] for timer in now(made, "mornings")["timers"]] == ["2026-01-06T06:30:00.000Z"]
    trouble = now(made, "broken")["trouble"]
    assert (trouble["quarantined"], trouble["waiting"] >= 1) == (True, True)
    assert trouble["reason"] == "ZeroDivisionError: division by zero"
    assert trouble["again"] > "2026-01-05T12:00:00.000Z"


def test_a_disabled_rule_says_who_did_it(tmp_path: Path) -> None:
    """Of an event it would have looked at, and now: by whom, since when, until when."""
    made = house(tmp_path, '@rule("door_opened")\n' + RULE)
    data = {"rule": "r", "until": "2026-01-05T14:00:00.000Z"}
    made._record("rule_disabled", "", data, lane="timer", actor="person:anna")
    opens(made)
    text = "disabled by person:anna since 2026-01-05T12:00:00.000Z until 2026-01-05T14:00:00.000Z"
    assert {name: look.text for name, look in told(made).items()} == {"r": text}
    assert now(made, "r")["disabled"] == text
    assert made.why("r") == []
    made.advance("2h")
    opens(made)
    assert (now(made, "r")["disabled"], made.why("r")) == ("", ["ran in 0.00 ms: nothing followed"])


def test_what_waited_is_told_of_its_own_event(tmp_path: Path) -> None:
    """A call that waited for silence is a look at the event it is about, not at the timer."""
    made = house(tmp_path, '@rule("door_opened", debounce="5s")\n' + RULE)
    opens(made)
    sequence = made._time.sequence
    assert [(each["kind"], each["scope"]) for each in now(made, "r")["waiting"]] == [
        ("debounce", "house/test:door-front")
    ]
    made.advance("6s")
    made._time.sequence = sequence
    assert [look.text for look in told_of(
        made._engine, f"{sequence:016d}", "", "door_opened", "house/test:door-front", ["open"]
    )] == ["waits for silence", "ran in 0.00 ms: nothing followed"]  # fmt: skip
    assert now(made, "r")["waiting"] == []


def test_which_rules_look_at_a_device(tmp_path: Path) -> None:
    """By its name, by what it reports, and by fields of conditions; not those that only mean its room."""
    made = house(
        tmp_path,
        """
        @rule("door_opened")
        def opened(event, ctx): pass
        @rule("motion_detected", room="front")
        def motion(event, ctx): pass
        @when(open=True)
        def is_open(door, ctx): pass
        @when(temperature=above(3))
        def warm(device, ctx): pass
        @rule("battery_low", device="door-front")
        def named(event, ctx): pass
        """,
    )
    opens(made)
    device = made._known("door-front")
    assert [rule.name for rule in looking_at(made.loaded.definitions, device)] == ["opened", "is_open", "named"]


def test_questions_that_make_no_sense_are_answered(tmp_path: Path) -> None:
    """A rule, device or question that does not exist is an answer with what was meant; it stops no worker."""
    made = house(tmp_path, '@rule("door_opened")\ndef doorbell(event, ctx): pass\n')
    assert reply(made._engine, Ask(1, "why", {"name": "dorbell", "now_ns": 0})).error == (
        "there is no rule 'dorbell', did you mean 'doorbell'?"
    )
    assert "does not know" in reply(made._engine, Ask(2, "nonsense")).error
    wrong = reply(made._engine, Ask(4, "why", {"name": "doorbell", "now_ns": "soon"}))
    assert (wrong.number, wrong.error.startswith("a fault of the gateway: TypeError")) == (4, True)
    assert reply(made._engine, Ask(3, "rules")).value[0]["name"] == "doorbell"
