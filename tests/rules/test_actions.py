"""Commands, calls to web services, modes and inputs as rules ask for them, in the simulated house."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.rules.files.loader import Loaded
from gateway.rules.language.acting import Acting
from gateway.rules.language.endpoints import Endpoint, resolve
from gateway.rules.language.inputs import InputOptions, value_of
from gateway.rules.testing import RuleFailed, SimulatedHouse
from tests.rules.scene import HEAD, house, loaded

INPUTS = {
    "guests": InputOptions(type="boolean"),
    "target_night": InputOptions(type="number", default=17, min=12, max=21, unit="Cel"),
    "washing": InputOptions(type="choice", values=("none", "cotton")),
}
SERVICES = {
    "weather": Endpoint("https://api.example.com/v1/forecast", ("GET",)),
    "hook": Endpoint("https://hook.example.com:8443", ("POST", "DELETE")),
    "deep": Endpoint("https://api.example.com/v1", ("GET", "POST")),
}
ACTING = Acting(inputs=INPUTS, endpoints=SERVICES)


def does(folder: Path, line: str, **known: Any) -> Loaded:
    """Load a rule of one line."""
    return loaded(folder, f'@rule("button_pressed")\ndef acts(event, ctx): {line}\n', acting=ACTING, **known)


def acted(folder: Path, line: str) -> SimulatedHouse:
    """Press the button of a rule of one line, in a house with this installation."""
    found = does(folder, line)
    assert [str(fault) for fault in found.faults] == []
    here = SimulatedHouse(found, acting=ACTING)
    here.event("button_pressed", "button-hall")
    return here


# ---- commands ------------------------------------------------------------------------------------


def test_a_command_says_how_it_is_confirmed(tmp_path: Path) -> None:
    """Confirmation, time limit and tries stand in the record that the gateway carries out."""
    here = acted(tmp_path, 'ctx.command("trv-hall", "set_mode", "heat", confirm="10s", within="1m", retries=3)')
    (command,) = [event for event in here.outputs if event.lane == "command"]
    expires = "2026-01-05T12:01:00.000Z"
    assert command.data == {
        "command": "set_mode", "value": "heat", "confirm_s": 10.0, "expires": expires, "retries": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("retries=2", "only with confirm"),
        ('confirm="10s", retries=50', "0 to 20"),
        ('confirm="10s", once=True, retries=1', "never repeated"),
        ('confirm="0.1s"', "at least 1 s"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, arguments: str, words: str) -> None:
    """A command that can't be carried out as written is a fault of the rule."""
    with pytest.raises(RuleFailed, match=words):
        acted(tmp_path, f'ctx.command("trv-hall", "set_mode", "heat", {arguments})')


CONFIRMS = """
@rule("button_pressed")
def tells(event, ctx): ctx.command("trv-hall", "set_mode", event["mode"], confirm="10s", retries=1)
@rule("command_confirmed", "command_failed", "command_superseded")
def hears(event, ctx): ctx.log(f"{event.type} {event['value']} {event['reason'] or ''}".strip())
"""


def test_rules_hear_what_became_of_a_command(tmp_path: Path) -> None:
    """Confirmed by a device that obeys, failed after its tries by one that is deaf, superseded by a newer one."""
    here = house(tmp_path, CONFIRMS)
    here.event("button_pressed", "button-hall", mode="heat")
    assert here.logs == ["command_confirmed heat"]
    here.deaf("trv-hall")
    here.event("button_pressed", "button-hall", mode="off")
    here.advance("5s")
    here.event("button_pressed", "button-hall", mode="auto")
    here.advance("19s")
    assert here.logs[1:] == ["command_superseded off a newer command took its place"]
    here.advance("2s")
    assert here.logs[2:] == ["command_failed auto not confirmed within 10 s, sent 2 times"]
    here.event("button_pressed", "button-hall", mode="cool")
    here.set("trv-hall", mode="cool")
    assert here.logs[3:] == ["command_confirmed cool"]
    assert [value for _, _, value in here.commands] == ["heat", "off", "auto", "cool"]


def test_a_claim_that_is_not_taken_is_known_to_have_failed(tmp_path: Path) -> None:
    """The row of a deaf device says why; the claim stays, and the device taking it later ends that."""
    here = house(tmp_path, '@rule("button_pressed")\ndef warm(event, ctx): ctx.hold("trv-hall", mode="heat")\n')
    here.device("trv-hall", mode="off")
    here.deaf("trv-hall")
    here.event("button_pressed", "button-hall")
    here.advance("2m")
    (row,) = here.rows("holds").values()
    assert row["told"]["mode"]["failed"] == "not confirmed within 30 s, sent 3 times"
    here.set("trv-hall", mode="heat")
    (row,) = here.rows("holds").values()
    assert "failed" not in row["told"]["mode"]


def test_a_device_that_is_back_is_told_what_it_missed(tmp_path: Path) -> None:
    """What a device did not take is told again when it comes back, and when it says that the field is as it was."""
    here = house(tmp_path, '@rule("button_pressed")\ndef warm(event, ctx): ctx.hold("trv-hall", mode="heat")\n')
    here.device("trv-hall", mode="off")
    here.deaf("trv-hall")
    here.event("button_pressed", "button-hall")
    here.advance("2m")
    here.offline("trv-hall")
    here.set("trv-hall", temperature=19)
    assert len(here.commands) == 1
    here.set("trv-hall", online=True)
    assert len(here.commands) == 2
    here.advance("2m")
    here.deaf("trv-hall", deaf=False)
    here.set("trv-hall", mode=None)
    here.set("trv-hall", mode="off")
    assert here.commands == [("trv-hall", "set_mode", "heat")] * 3
    here.advance("2m")
    here.set("trv-hall", online=False)
    here.set("trv-hall", online=True)
    assert len(here.commands) == 3


# ---- inputs --------------------------------------------------------------------------------------


def test_inputs_are_read_by_name_and_by_attribute(tmp_path: Path) -> None:
    """An input is its default until somebody says otherwise, typed and kept over a restart."""
    here = acted(tmp_path, 'ctx.log([ctx.input("guests"), ctx.inputs.target_night, ctx.inputs["washing"]])')
    assert here.logs == ["[False, 17, 'none']"]
    here.input("guests", True)
    here.input("target_night", 18.5)
    here.restart()
    here.event("button_pressed", "button-hall")
    assert here.logs[1] == "[True, 18.5, 'none']"
    with pytest.raises(ValueError, match="25 is outside 12 to 21"):
        here.input("target_night", 25)


def test_rules_react_to_inputs_and_change_them(tmp_path: Path) -> None:
    """A change is an event with what it was; the same value again is none."""
    source = """
    @rule("button_pressed")
    def sets(event, ctx): ctx.set_input("washing", event["what"])
    @rule("input_changed", where={"input": "washing", "value": "cotton"})
    def hears(event, ctx): ctx.log(f"{event['was']} {ctx.input('washing')}")
    """
    here = SimulatedHouse(loaded(tmp_path, source, acting=ACTING), acting=ACTING)
    for what in ("none", "cotton", "cotton"):
        here.event("button_pressed", "button-hall", what=what)
    assert here.logs == ["none cotton"]
    changes = [event for event in here.outputs if event.type == "input_changed"]
    assert [(event.subject, event.actor[:9]) for event in changes] == [("", "rule:sets")] * 2


def test_a_rule_looks_at_inputs_before_it_runs(tmp_path: Path) -> None:
    """where= tests inputs as it tests fields, by value and by comparison; the event's own fields come first."""
    source = """
    @rule("button_pressed", where={"inputs.guests": False, "inputs.target_night": ">=17"})
    def acts(event, ctx): ctx.log("ran")
    """
    here = SimulatedHouse(loaded(tmp_path, source, acting=ACTING), acting=ACTING)
    here.event("button_pressed", "button-hall")
    here.input("target_night", 16)
    here.event("button_pressed", "button-hall")
    here.input("target_night", 18)
    here.input("guests", True)
    here.event("button_pressed", "button-hall")
    here.input("guests", False)
    here.event("button_pressed")
    assert here.logs == ["ran", "ran"]
    wrong = source.replace("inputs.guests", "inputs.gests")
    (tmp_path / "wrong").mkdir()
    (fault,) = loaded(tmp_path / "wrong", wrong, acting=ACTING).faults
    assert (fault.what, fault.hint) == ("there is no input 'gests'", "did you mean 'guests'?")


def test_in_a_test_without_an_installation_inputs_are_what_the_test_says(tmp_path: Path) -> None:
    """An input nobody declared is there once the test has said what it is."""
    here = house(tmp_path, '@rule("button_pressed")\ndef reads(event, ctx): ctx.log(ctx.inputs.sauna)\n')
    here.raises = False
    here.event("button_pressed", "button-hall")
    assert "house.input('sauna', ...)" in here.faults[0]
    here.input("sauna", 80)
    here.event("button_pressed", "button-hall")
    assert here.logs[-1] == "80"


def test_a_value_that_no_longer_fits_its_declaration_is_the_default() -> None:
    """After an edit of the config an old value may be out of range or of another type."""
    assert value_of(INPUTS, "target_night", {"value": 25}) == 17
    assert value_of(INPUTS, "guests", {"value": "yes"}) is False
    assert value_of(INPUTS, "washing", {"value": "cotton"}) == "cotton"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "choice"}, "belongs to a choice"),
        ({"type": "boolean", "min": 1}, "belong to a number"),
        ({"type": "number", "min": 3, "max": 1}, "min is 3 and max is 1"),
        ({"type": "number", "max": 1, "default": 2}, "2 is outside"),
        ({"type": "boolean", "default": 1}, "1 is not true or false"),
    ],
)
def test_a_declaration_is_checked(fields: dict[str, Any], words: str) -> None:
    """A declaration that makes no sense says what is wrong."""
    with pytest.raises(ValueError, match=words):
        InputOptions(**fields)


def test_typed_words_are_read() -> None:
    """Yes and off, numbers and choices are read as a person writes them."""
    assert (INPUTS["guests"].read("Yes"), INPUTS["guests"].read("off")) == (True, False)
    assert (INPUTS["target_night"].read("18"), INPUTS["target_night"].read("18.5")) == (18, 18.5)
    with pytest.raises(ValueError, match="did you mean 'cotton'"):
        INPUTS["washing"].read("coton")
    with pytest.raises(ValueError, match="'warm' is not a number"):
        INPUTS["target_night"].read("warm")


# ---- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words", "hint"),
    [
        ('ctx.input("guest")', "there is no input 'guest'", "did you mean 'guests'?"),
        ("ctx.inputs.wahsing", "there is no input 'wahsing'", "did you mean 'washing'?"),
        ('ctx.set_input("heat", 1)', "there is no input 'heat'", None),
        ('ctx.http("GET", "wether")', "there is no service 'wether', did you mean 'weather'?", None),
        ('ctx.http("POST", "weather")', "weather takes GET, not POST", None),
        ('ctx.http("GET", "https://evil.example.com/")', "no service that is allowed", None),
        ('ctx.hold("x", on=True, manual_hold="long")', "is not a duration", None),
        ('ctx.command("x", "set_on", confirm="soon")', "is not a duration", None),
    ],
)
def test_names_are_checked_when_a_file_is_loaded(tmp_path: Path, line: str, words: str, hint: str | None) -> None:
    """A misspelt input or service is a fault with its line and what was probably meant."""
    (fault,) = does(tmp_path, line).faults
    assert fault.line == 1 + HEAD.count("\n") + 1
    assert words in fault.what
    assert fault.hint == hint


# ---- web services --------------------------------------------------------------------------------

ASKS = """
@rule("button_pressed")
def asks(event, ctx): ctx.http("GET", "weather/today?zone=3", then=arrived, place=event["place"])
@timer
def arrived(ctx, answer, place):
    ctx.state[place] = answer.json if answer.ok else answer.error
    ctx.log(f"{place} {answer.status}")
"""


def test_the_answer_comes_back_to_the_rule_that_asked(tmp_path: Path) -> None:
    """The function that `then` names runs in the rule's name, with the answer and its arguments, once."""
    here = house(tmp_path, ASKS)
    here.event("button_pressed", "button-hall", place="bath")
    here.event("button_pressed", "button-hall", place="hall")
    assert here.http == [("GET", "weather/today?zone=3", None)] * 2
    here.answer("weather", json={"frost": True})
    here.restart()
    here.answer("weather", error="no connection within 10 s")
    assert here.state("asks") == {"bath": {"frost": True}, "hall": "no connection within 10 s"}
    assert here.logs == ["bath 200", "hall 0"]
    with pytest.raises(AssertionError, match="no rule has called 'weather'"):
        here.answer("weather")


def test_a_call_is_a_record_with_a_derived_id(tmp_path: Path) -> None:
    """It carries what is needed to make it, its time limit and nothing secret, and its id is the same every time."""
    here = acted(tmp_path, 'ctx.http("POST", "hook/a", json={"open": [1, None]}, once=True, within="1m")')
    (call,) = [event for event in here.outputs if event.type == "http_requested"]
    assert call.data == {
        "endpoint": "hook", "method": "POST", "target": "/a", "json": {"open": [1, None]}, "once": True,
        "rule": "acts", "expires": "2026-01-05T12:01:00.000Z",
    }  # fmt: skip
    (tmp_path / "again").mkdir()
    again = acted(tmp_path / "again", 'ctx.http("POST", "hook/a", json={"open": [1, None]}, once=True, within="1m")')
    assert call.id in [event.id for event in again.outputs]


def test_late_events_call_nothing(tmp_path: Path) -> None:
    """What is not called because it is too late is recorded; an observed rule's calls are marked."""
    source = """
    @rule("button_pressed")
    def asks(event, ctx): ctx.http("POST", "hook", json=1)
    @rule("button_pressed")
    def tried(event, ctx): ctx.http("POST", "hook", json=2)
    """
    acting = Acting(endpoints=SERVICES, observed=("tried",))
    here = SimulatedHouse(loaded(tmp_path, source), acting=acting)
    here.event("button_pressed", "button-hall", ago="5m")
    late = [event.data for event in here.outputs]
    assert late == [{"command": "http", "value": "POST hook", "reason": "late"}] * 2
    here.event("button_pressed", "button-hall")
    assert here.http == [("POST", "hook", 1)]


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("weather", "/v1/forecast"),
        ("weather?zone=3", "/v1/forecast?zone=3"),
        ("weather/a/b?c=..", "/v1/forecast/a/b?c=.."),
        ("https://api.example.com/v1/forecast/x?y", "/v1/forecast/x?y"),
        ("https://API.example.com:443/v1/forecast", "/v1/forecast"),
    ],
)
def test_services_are_found_by_name_and_by_address(wanted: str, target: str) -> None:
    """A name with what comes behind it, or an address that begins with the service's: the longest one counts."""
    assert resolve(SERVICES, wanted, "GET") == ("weather", target)
    assert resolve(SERVICES, "https://api.example.com/v1/forecasts", "GET") == ("deep", "/v1/forecasts")
    assert resolve(SERVICES, "hook", "DELETE") == ("hook", "/")


@pytest.mark.parametrize(
    "wanted",
    [
        "weather/../admin", "weather/%2e%2e/admin", "weather/a/./b", "weather/..", "weather/%2E./x", "weather\\x",
        "weather/a%2fb", "weather/a#b", "weather/a b", "weather/ä", "weather.evil.example.com", "weather@evil",
        "https://api.example.com.evil.com/v1/forecast", "https://u@api.example.com/v1/forecast",
        "http://api.example.com/v1/forecast", "https://api.example.com:444/v1/forecast", "https://api.example.com/",
        "https://api.example.com/v1/forecast/../../admin", "//api.example.com/v1", "weather/" + "x" * 3000, "",
        "https://api.example.com:99999/v1", "weather\r\nHost: evil",
    ],
)  # fmt: skip
def test_nothing_else_is_reached(wanted: str) -> None:
    """Other hosts, ports and schemes, paths that climb in any spelling, and what is no address are refused."""
    with pytest.raises(ValueError, match=r"."):
        resolve(SERVICES, wanted, "GET")
