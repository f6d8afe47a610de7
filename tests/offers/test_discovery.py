"""What is offered, as topics, and what comes back as a wish."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import DecodeError
from gateway.event import Event
from gateway.offers.discovery import ALERTS_MAX, House, Offer, slug, topics
from gateway.offers.hearing import Wishes
from gateway.rules.language.inputs import InputOptions

OFFER = Offer("pi 3/attic", "1.0", "edge-gateway/pi", "homeassistant")
INPUTS = {
    "guests": InputOptions(type="boolean"),
    "night": InputOptions(type="number", min=12, max=21, unit="Cel"),
    "washing": InputOptions(type="choice", values=("none", "wool")),
}
ROW = {"key": "left_open", "text": "open", "device": "house/z2m:a", "since": 1_700_000_000_000_000_000, "rule": "r"}


def house(**changed: Any) -> House:
    """Return a house with one of everything."""
    values = {"guests": True, "night": 17.5, "washing": "wool"}
    everything: dict[str, Any] = {
        "mode": "home",
        "modes": ("home", "away"),
        "inputs": {name: (options, values[name]) for name, options in INPUTS.items()},
        "alerts": {"left_open": [ROW], "freezer warm!": []},
        "rules": {"left_open": ("A door is left open", True)},
    }
    return House(**{**everything, **changed})


def test_states_are_plain_topics() -> None:
    """Everything is a topic of its own with a plain text; an alert that is over is OFF."""
    found = topics(OFFER._replace(discovery=""), house())
    assert {topic.removeprefix("edge-gateway/pi/"): text.decode() for topic, text in found.items()} == {
        "mode": "home", "inputs/guests": "true", "inputs/night": "17.5", "inputs/washing": "wool",
        "alerts/left_open": "ON", "alerts/freezer_warm": "OFF", "alerts/freezer_warm/about": "{}",
        "alerts/left_open/about": '{"text":"open","devices":["house/z2m:a"],"since":"2023-11-14T22:13:20.000Z",'
        '"acknowledged":false}',
        "rules/left_open": "ON",
    }  # fmt: skip


def test_discovery_says_what_each_is() -> None:
    """Each entity has a unique id, its topics and the one device they belong to; names are fit for topics."""
    found = topics(OFFER, house())
    configs = {topic: json.loads(text) for topic, text in found.items() if topic.endswith("/config")}
    assert {tuple(topic.split("/")[1:4:2]) for topic in configs} == {
        ("select", "mode"), ("switch", "inputs_guests"), ("number", "inputs_night"), ("select", "inputs_washing"),
        ("binary_sensor", "alerts_left_open"), ("binary_sensor", "alerts_freezer_warm"), ("switch", "rules_left_open"),
    }  # fmt: skip
    assert len({config["unique_id"] for config in configs.values()}) == len(configs)
    assert {topic.split("/")[2] for topic in configs} == {"edge_gateway_pi_3_attic"}
    for config in configs.values():
        assert config["state_topic"] in found
        assert config["availability_topic"] == "edge-gateway/pi/status"
    assert slug("/#+") == "_"


def test_alerts_are_bounded() -> None:
    """Who makes up keys of alerts makes no more than so many topics."""
    many = {f"a{number}": [ROW] for number in range(ALERTS_MAX + 9)}
    found = topics(OFFER._replace(discovery=""), house(alerts=many, inputs={}, rules={}, mode=None))
    assert len(found) == 2 * ALERTS_MAX


def wishes(put: list[tuple[str, Event]]) -> Wishes:
    """Return wishes of a house that is home, with guests and one rule that acts."""
    return Wishes(
        "pi", "mqtt:house", now_ns=lambda: 0, mode=lambda: "home", modes=("home", "away"), inputs=INPUTS,
        was=lambda name: {"guests": True}.get(name), rules=lambda: {"left_open": True},
        put=lambda table, event: put.append((table, event)),
    )  # fmt: skip


def test_a_wish_is_an_event_with_who_did_it() -> None:
    """Mode, input and rule become the events that a person's verb makes; what is so already makes none."""
    put: list[tuple[str, Event]] = []
    wished = wishes(put)
    (mode,) = wished.events("mode", "away")
    (washing,) = wished.events("inputs/washing", "none")
    (rule,) = wished.events("rules/left_open", "OFF")
    assert [(e.type, e.actor, e.lane) for e in (mode, washing, rule)] == [
        ("mode_changed", "mqtt:house", "telemetry"), ("input_changed", "mqtt:house", "telemetry"),
        ("rule_disabled", "mqtt:house", "timer"),
    ]  # fmt: skip
    assert (washing.data, rule.data) == ({"input": "washing", "value": "none", "was": None}, {"rule": "left_open"})
    assert [table for table, _ in put] == ["modes", "inputs"]
    assert wished.events("mode", "home") == wished.events("inputs/guests", "on") == []
    assert wished.events("rules/left_open", "ON") == []


@pytest.mark.parametrize(
    ("path", "text", "why"),
    [
        ("mode", "awya", "there is no mode 'awya', did you mean 'away'"),
        ("inputs/gusts", "true", "there is no input 'gusts'"),
        ("inputs/night", "99", "outside 12 to 21"),
        ("rules/left_opn", "ON", "did you mean 'left_open'"),
        ("rules/left_open", "maybe", "ON or OFF"),
        ("alerts/left_open", "OFF", "nothing is set on"),
    ],
)
def test_a_wrong_wish_says_what_is_wrong(path: str, text: str, why: str) -> None:
    """What can't be set is refused with a reason and, for a name nobody knows, what was probably meant."""
    with pytest.raises(DecodeError) as caught:
        wishes([]).events(path, text)
    assert why in str(caught.value)
