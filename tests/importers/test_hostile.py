"""Announcements nobody should send: mutated, endless, deep, made up by the thousand."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import pytest

from tests.importers.house import CONTACT, House, numeric, z2m, zigbee
from tests.importers.test_sparkplug import BIRTH, payload

MESSAGES = int(os.environ.get("EDGE_GATEWAY_HOSTILE", "400"))  # more of them with the same test
ALL = ["zigbee2mqtt", "homie", "sparkplug", "home-assistant"]
ODD: tuple[Any, ...] = (
    None, True, -1, 1e308, 2**63, "", "x" * 3000, "{x}", "a/b", "#", "+", "\0", "é" * 90, [], {}, [[]] * 50,
    {"{": "}"}, ["a"] * 500, {"name": {"name": []}}, "{{ value_json.x", "{{ value_json['a'] | float / 0 }}", "0x", "~",
)  # fmt: skip

DISCOVERED = {
    "~": "n", "stat_t": "~/s", "cmd_t": "~/c", "dev": {"ids": ["n"], "name": "N"}, "dev_cla": "door", "pl_on": "on",
    "val_tpl": "{{ value_json.x }}", "avty": [{"t": "n/l", "val_tpl": "{{ value_json.s }}"}], "avty_mode": "all",
    "options": ["a", "b"], "min": 1, "max": 9, "step": 2, "modes": ["off"], "schema": "json", "brightness_scale": 254,
}  # fmt: skip
DESCRIBED = {
    "homie": "5.0", "name": "Box", "root": "hub", "nodes": {"n": {"properties": {
        "temperature": {"datatype": "float", "unit": "°C", "format": "1:2:3", "settable": True},
        "mode": {"datatype": "enum", "format": "off,heat", "settable": True}, "x": {"datatype": "boolean"}}}},
}  # fmt: skip
LISTED = json.loads(
    z2m(
        zigbee("0x01a2", "hall", *CONTACT, {"type": "light", "features": [numeric("brightness", None, 7)]}),
        zigbee("0x01a3", "x/y", {"type": "composite", "property": "c", "features": [numeric("x"), numeric("y")]}),
    )
)
COMPONENTS = ("binary_sensor", "sensor", "switch", "light", "cover", "lock", "climate", "number", "select", "event",
              "alarm_control_panel", "camera", "device")  # fmt: skip


def mutated(value: Any, chance: random.Random) -> Any:
    """Return a copy with a few members replaced by something odd, doubled or left out."""
    if chance.random() < 0.03:
        return chance.choice(ODD)
    if isinstance(value, dict):
        kept = {key: mutated(inner, chance) for key, inner in value.items() if chance.random() > 0.02}
        if chance.random() < 0.05:
            kept[str(chance.choice(ODD))[:50]] = chance.choice(ODD)
        return kept
    if isinstance(value, list):
        return [mutated(inner, chance) for inner in value] * (2 if chance.random() < 0.02 else 1)
    return value


def announcements(chance: random.Random) -> tuple[str, bytes]:
    """Return one announcement of some dialect that is not quite one."""
    kind = chance.randrange(5)
    if kind == 0:
        return "zigbee2mqtt/bridge/devices", json.dumps(mutated(LISTED, chance)).encode()
    if kind == 1:
        topic = f"homeassistant/{chance.choice(COMPONENTS)}/n{chance.randrange(9)}/config"
        return topic, json.dumps(mutated(DISCOVERED, chance)).encode()
    if kind == 2:
        return f"homie/5/d{chance.randrange(9)}/$description", json.dumps(mutated(DESCRIBED, chance)).encode()
    if kind == 3:
        attribute = chance.choice(("$homie", "$name", "n/p/$datatype", "n/p/$format", "n/$type", "a/b/c/$unit"))
        return f"homie/d{chance.randrange(9)}/{attribute}", str(chance.choice(ODD))[:600].encode()
    raw = bytearray(payload(chance.randrange(256), *BIRTH))
    raw[chance.randrange(len(raw))] = chance.randrange(256)
    return f"spBv1.0/g/{chance.choice(('DBIRTH', 'DDATA', 'DDEATH'))}/n/d{chance.randrange(9)}", bytes(raw)


def test_mutated_announcements_raise_nothing() -> None:
    """Hundreds of announcements with odd members: nothing raises, and what was made of them decodes."""
    chance, house = random.Random(5), House(ALL)
    for n in range(MESSAGES):
        topic, raw = announcements(chance)
        house.say(topic, raw, retained=chance.random() < 0.5)
        if n % 10 == 0:
            house.tick()
            house.say(chance.choice(("zigbee2mqtt/hall", "n/s", "n/l", "homie/5/d1/n/temperature")), {"x": 1})
    house.tick()
    house.restarted().tick()
    assert house.read("zigbee2mqtt/hall/availability", b"online") != {}


@pytest.mark.parametrize(
    "topic", ["zigbee2mqtt/bridge/devices", "homeassistant/sensor/x/config", "homie/5/x/$description"]
)
@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"\xff\xfe", b"[" + b"{}," * 50_000 + b"{}]", b"0"]
)
def test_deep_and_long_announcements(topic: str, raw: bytes) -> None:
    """Nesting and length cost nothing but their own message."""
    house = House(ALL)
    house.say(topic, raw)
    house.tick()
    assert house.values == {}


@pytest.mark.parametrize("odd", [None, 3, "x", [], [1], ["a", "b"], {}, {"n": 1, "r": 2, "p": 3}, {"b": 1, "m": [[1]]}])
def test_rows_of_another_version(odd: Any) -> None:
    """Rows that cannot be read cost their devices until they announce themselves again, and never the start."""
    places = ("zigbee2mqtt/0x01a2", "zigbee2mqtt/model/x", "homie/5/box", "sparkplug/a/b/c", "home-assistant/sensor//x")
    house = House(ALL, dict.fromkeys(places, odd) | {"home-assistant/a/b/c": dict.fromkeys("codnik", odd)})
    house.tick()
    house.say("zigbee2mqtt/bridge/devices", z2m(zigbee("0x01a2", "hall", *CONTACT)))
    house.say("homeassistant/sensor/x/config", DISCOVERED)
    house.say("homie/box/n/p/$datatype", b"boolean")
    house.tick()
    assert house.read("zigbee2mqtt/hall", {"contact": False}) == {"z2m:0x01a2": {"open": True}}


def test_made_up_devices_stop_at_the_limit() -> None:
    """Who makes up devices fills the room that is there, is refused from then on, and the known ones go on."""
    house = House(["homie"])
    rows = house.imports.importers[0].rows
    rows.bytes_max = 20_000
    properties = {f"p{n}": {"datatype": "string", "name": "x" * 100} for n in range(10)}
    described = json.dumps({"homie": "5.0", "nodes": {"n": {"properties": properties}}})
    refused = 0
    for n in range(40):
        refused += house.say(f"homie/5/d{n}/$description", described).rejected is not None
    assert 0 < refused < 40
    assert rows.bytes <= 20_000
    assert house.read("homie/5/d0/n/p1", b"hello") == {"homie:d0/n": {"ext.p1": "hello"}}
