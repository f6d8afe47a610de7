"""Home Assistant's discovery: entities of a device, availability, commands, what is left to better sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import DecodeError
from gateway.importers import discovery
from gateway.profiles.catalogue import BUILTIN, Catalogue
from tests.importers.house import CATALOGUE, CONTACT, House, z2m, zigbee

DEVICE = {"identifiers": ["node1"], "name": "Node one"}
NUKI = {
    "state_locked": "1", "state_unlocked": "3",
    "value_template": "{% if value in ('5','6') %}3{% else %}{{value}}{% endif %}",
}  # fmt: skip
PROBE = {
    "device_class": "temperature", "unit_of_measurement": "°C",
    "value_template": "{{ value_json.t if value_json.t != 85 else 'unknown' }}",
}  # fmt: skip
ID = "ha:node1"


def said(component: str, name: str, house: House | None = None, **config: Any) -> House:
    """Announce an entity of one device, to this house or a new one."""
    house = house or House(["home-assistant"])
    whole = {"device": DEVICE, "unique_id": f"node1_{name}", **config}
    decoded = house.say(f"homeassistant/{component}/node1/{name}/config", whole, retained=True)
    assert decoded.rejected is None
    return house


def test_entities_of_a_device_are_one_device() -> None:
    """A thermometer's temperature, humidity and battery are fields of one device, by class and unit."""
    house = said("sensor", "temp", state_topic="n/t", device_class="temperature", unit_of_measurement="°F")
    said("sensor", "hum", house, state_topic="n/h", device_class="humidity", unit_of_measurement="%")
    said("sensor", "batt", house, state_topic="n/b", device_class="battery", unit_of_measurement="%",
         value_template="{{ value_json.level }}")  # fmt: skip
    assert house.read("n/t", b"68") == {ID: {"temperature": 20.0}}
    assert house.read("n/h", b"40") == {ID: {"humidity": 40}}
    assert house.read("n/b", {"level": 77}) == {ID: {"battery": 77}}
    assert house.say("n/h", b"41").readings[0].device == "Node one"


@pytest.mark.parametrize(
    ("config", "payload", "field", "value"),
    [
        ({"device_class": "door"}, b"ON", "open", True),
        ({"device_class": "window", "payload_on": "open", "payload_off": "closed"}, b"closed", "open", False),
        ({"device_class": "lock"}, b"ON", "locked", False),
        ({"device_class": "motion", "value_template": "{{ value_json.m }}", "payload_on": True, "payload_off": False},
         b'{"m": true}', "motion", True),
        ({"device_class": "moisture", "value_template": "{{ 'ON' if value_json.w == 'wet' else 'OFF' }}"},
         b'{"w": "dry"}', "leak", False),
        ({}, b"ON", "ext.x", True),
    ],
)  # fmt: skip
def test_binary_sensors(config: dict[str, Any], payload: bytes, field: str, value: Any) -> None:
    """A binary sensor is what its class says, on by its own payloads; a lock that is on is unlocked."""
    house = said("binary_sensor", "x", state_topic="n/x", **config)
    assert house.read("n/x", payload) == {ID: {field: value}}


def test_abbreviations_and_the_base_topic() -> None:
    """Short keys and ~ say the same as long ones."""
    house = House(["home-assistant"])
    config = {"~": "deep/node", "stat_t": "~/state", "cmd_t": "~/set", "val_tpl": "{{ value_json.s }}",
              "uniq_id": "u1", "pl_on": "on", "pl_off": "off",
              "avty": [{"t": "~/lwt"}], "dev": {"ids": "node1", "name": "N"}}  # fmt: skip
    house.say("homeassistant/switch/node1/config", config)
    assert house.read("deep/node/state", {"s": "on"}) == {ID: {"on": True}}
    assert house.read("deep/node/lwt", b"offline") == {ID: {"online": False}}
    assert house.send(ID, "set_on", value=False) == ("deep/node/set", "off")


def test_one_message_for_a_whole_device() -> None:
    """A device's one message with its components is the same as one message each; what leaves the list is gone."""
    house = House(["home-assistant"])
    parts = {
        "t": {"p": "sensor", "dev_cla": "temperature", "unit_of_meas": "°C", "stat_t": "n/t", "uniq_id": "a"},
        "l": {"p": "light", "schema": "json", "stat_t": "n/l", "cmd_t": "n/l/set", "brightness": True, "uniq_id": "b"},
    }
    topic = "homeassistant/device/node1/config"
    house.say(topic, {"dev": {"ids": "node1"}, "o": {"name": "x"}, "cmps": parts})
    assert house.read("n/t", b"21") == {ID: {"temperature": 21}}
    assert house.read("n/l", {"state": "ON", "brightness": 255}) == {ID: {"on": True, "brightness": 100.0}}
    assert house.send(ID, "set_brightness", 20) == ("n/l/set", {"brightness": 51})
    house.say(topic, {"dev": {"ids": "node1"}, "cmps": {"t": parts["t"], "l": {"p": "light"}}})
    house.tick()
    assert house.say("n/l", {"state": "ON"}).unclaimed
    house.say(topic, b"")
    assert [event.type for event in house.tick().events] == ["device_removed"]
    assert house.values == {}


def test_an_empty_config_removes_the_entity() -> None:
    """An entity that is deleted is read no more; the last one takes the device with it, durably."""
    house = said("sensor", "t", state_topic="n/t", device_class="temperature", unit_of_measurement="°C")
    said("binary_sensor", "d", house, state_topic="n/d", device_class="door")
    house.read("n/d", b"ON")
    house.say("homeassistant/sensor/node1/t/config", b"")
    assert house.tick().events == []
    assert house.say("n/t", b"1").unclaimed
    house.say("homeassistant/binary_sensor/node1/d/config", b"")
    assert [event.type for event in house.tick().events] == ["device_removed"]
    house = house.restarted()
    assert house.say("n/d", b"ON").unclaimed


def test_two_relays_of_one_device() -> None:
    """Of two entities that are the same, the second is a device behind the first, with its own commands."""
    house = House(["home-assistant"])
    for n in (1, 2):
        said("switch", f"relay{n}", house, state_topic=f"n/r{n}", command_topic=f"n/r{n}/set",
             availability_topic="n/lwt")  # fmt: skip
    assert house.read("n/r1", b"ON") == {ID: {"on": True}}
    assert house.read("n/r2", b"OFF") == {f"{ID}/relay2": {"on": False}}
    assert house.send(ID, "set_on", value=True) == ("n/r1/set", "ON")
    assert house.send(f"{ID}/relay2", "set_on", value=True) == ("n/r2/set", "ON")
    assert house.read("n/lwt", b"offline") == {ID: {"online": False}, f"{ID}/relay2": {"online": False}}
    house = house.restarted()
    house.tick()
    assert house.send(f"{ID}/relay2", "set_on", value=False) == ("n/r2/set", "OFF")


@pytest.mark.parametrize(("mode", "last"), [("all", False), ("any", True), ("latest", True)])
def test_availability_of_several_topics(mode: str, last: bool) -> None:
    """All of the topics must say online, any of them, or the last that said anything."""
    topics = [{"topic": "bridge/state", "value_template": "{{ value_json.state }}"}, {"topic": "n/lwt"}]
    house = said("binary_sensor", "d", state_topic="n/d", device_class="door", availability=topics,
                 availability_mode=mode)  # fmt: skip
    house.read("n/lwt", b"offline")
    assert house.read("bridge/state", {"state": "online"})[ID]["online"] is last


def test_climate() -> None:
    """A climate entity is a thermostat: temperatures in its unit, modes, action, limits of what it takes."""
    house = said(
        "climate", "c", current_temperature_topic="n/c", current_temperature_template="{{ value_json.now }}",
        temperature_state_topic="n/c", temperature_state_template="{{ value_json.want }}",
        temperature_command_topic="n/want", mode_state_topic="n/c", mode_state_template="{{ value_json.mode }}",
        mode_command_topic="n/mode", modes=["off", "heat", "party"], action_topic="n/c",
        action_template="{% set values = {None:None,'idle':'idle','heat':'heating'} %}{{ values[value_json.run] }}",
        temperature_unit="F", min_temp=50, max_temp=86, temp_step=1,
    )  # fmt: skip
    state = {"now": 68, "want": 70, "mode": "heat", "run": "heat"}
    assert house.read("n/c", state) == {
        ID: {"temperature": 20.0, "setpoint.heat": 21.111111, "mode": "heat", "action": "heating"}
    }
    assert house.send(ID, "set_setpoint", 20) == ("n/want", "68")
    assert house.send(ID, "set_mode", "off") == ("n/mode", "off")
    with pytest.raises(DecodeError, match="outside 10 to 30"):
        house.send(ID, "set_setpoint", 31)


@pytest.mark.parametrize(
    ("component", "config", "payload", "read"),
    [
        ("lock", {}, b"UNLOCKED", {"locked": False, "jammed": False}),
        ("lock", {"state_jammed": "stuck"}, b"stuck", {"locked": None, "jammed": True}),
        ("lock", NUKI, b"1", {"locked": True, "jammed": False}),
        ("lock", NUKI, b"6", {"locked": False, "jammed": False}),
        ("sensor", PROBE, b'{"t": 85}', {"temperature": None}),
        ("sensor", PROBE, b'{"t": 21}', {"temperature": 21}),
        ("light", {"value_template": "{{value_json.POWER}}", "color_temp_state_topic": "n/x",
                   "color_temp_value_template": "{{value_json.CT}}"}, b'{"POWER":"ON","CT":153}',
         {"on": True, "color_temperature": 153}),
        ("cover", {"position_topic": "n/x", "position_closed": 100, "position_open": 0}, b"25", {"position": 75.0}),
        ("alarm_control_panel", {}, b"armed_away", {"armed": "away", "alarm": False}),
        ("alarm_control_panel", {}, b"triggered", {"armed": None, "alarm": True}),
        ("number", {"min": 0, "max": 9}, b"4", {"ext.x": 4}),
        ("select", {"options": ["a", "b"]}, b"a", {"ext.x": "a"}),
        ("event", {"device_class": "button"}, b'{"event_type": "press"}', {"button": "press"}),
        ("sensor", {"device_class": "signal_strength", "unit_of_measurement": "dBm"}, b"-71", {"rssi": -71}),
        ("sensor", {"unit_of_measurement": "mV"}, b"3100", {"ext.x": 3.1}),
        ("sensor", {}, b"some text", {"ext.x": "some text"}),
        ("sensor", {"device_class": "water", "unit_of_measurement": "L"}, b"250", {"water.volume": 0.25}),
        ("fan", {"command_topic": "n/s"}, b"ON", {"on": True}),
    ],
)  # fmt: skip
def test_components(component: str, config: dict[str, Any], payload: bytes, read: dict[str, Any]) -> None:
    """Each component is read as its page says, with its defaults."""
    topic: dict[str, Any] = {} if component == "cover" else {"state_topic": "n/x"}
    house = said(component, "x", **topic, **config)
    assert house.read("n/x", payload) == {ID: read}


@pytest.mark.parametrize(
    "topic", ["flat", "homeassistant/binary_sensor/hall/state", "a/b/c/d/e/f/g", "/".join("abcdefghijklmnopqrstuvw")]
)
def test_a_topic_of_any_depth_is_read(topic: str) -> None:
    """What is announced is read however many levels its topic has, and whoever else reads topics as deep."""
    house = said("binary_sensor", "x", state_topic=topic, device_class="door", availability={"topic": f"{topic}/lwt"})
    assert house.read(topic, b"ON") == {ID: {"open": True}}
    assert house.read(f"{topic}/lwt", b"offline") == {ID: {"online": False}}


def test_buttons_and_pictures() -> None:
    """A button is a command without a value; a camera's picture is checked and described, never kept."""
    house = said("button", "restart", command_topic="n/cmd", payload_press="REBOOT")
    said("camera", "cam", house, topic="n/cam", image_encoding="b64")
    house.tick()
    assert house.send(ID, "press_restart") == ("n/cmd", "REBOOT")
    assert [event.type for event in house.say("n/cam", b"/9j/4AAQ").events] == ["snapshot_taken"]
    assert "begins with" in str(house.say("n/cam", b"AAAA").rejected)


def test_what_is_not_understood_is_named() -> None:
    """A template that is no shape leaves its entity out, by name and reason; the others are read."""
    house = said("sensor", "clock", state_topic="n/x", value_template="{{ now() }}")
    said("vacuum", "robot", house, state_topic="n/v")
    said("binary_sensor", "d", house, state_topic="n/d", device_class="door")
    assert house.read("n/d", b"ON") == {ID: {"open": True}}
    ((_, found),) = house.imports.descriptions()
    assert found.left_out == ("clock ext.clock: value_template has 'now'", "robot robot: vacuum is not read")
    assert house.say("n/x", b"1").unclaimed
    assert house.imports.status()["home-assistant"] == {"described": 1, "refused": 0, "left_out": 2}


def test_a_device_of_a_better_source_is_not_there_twice() -> None:
    """What Zigbee2MQTT lists itself is not described by discovery as well, whichever comes first."""
    config = {"state_topic": "zigbee2mqtt/hall", "value_template": "{{ value_json.contact }}", "device_class": "door",
              "payload_on": False, "payload_off": True, "unique_id": "x"}  # fmt: skip
    listed = z2m(zigbee("0x00158d0001a2b3c4", "hall", *CONTACT))
    marked = config | {"device": {"identifiers": ["zigbee2mqtt_0x00158d0001a2b3c4"]}}
    for about in (marked, config | {"device": {"identifiers": ["other"]}}):
        house = House(["zigbee2mqtt", "home-assistant"])
        house.say("homeassistant/binary_sensor/x/y/config", about)
        house.tick()
        house.say("zigbee2mqtt/bridge/devices", listed)
        house.tick()
        assert house.read("zigbee2mqtt/hall", {"contact": False}) == {"z2m:0x00158d0001a2b3c4": {"open": True}}
        assert list(house.values) == ["house/z2m:0x00158d0001a2b3c4"]
    house = House(["home-assistant"])
    house.say("homeassistant/binary_sensor/x/y/config", config)
    assert list(house.read("zigbee2mqtt/hall", {"contact": False, "linkquality": 1})) == ["z2m:hall"]


def test_what_a_profile_reads_is_left_to_it() -> None:
    """A device one of whose topics a profile takes whole is not described by discovery."""
    house = said("binary_sensor", "x", state_topic="shellies/shellydw2-ABC/sensor/state", device_class="door")
    said("sensor", "y", house, state_topic="elsewhere/y")
    house.tick()
    assert house.values == {}
    assert house.say("elsewhere/y", b"1").unclaimed


def test_a_new_profile_takes_a_device_over(tmp_path: Path) -> None:
    """A profile that is saved and reads a device's topic is the one that reads it from then on; and back again."""
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nid = "mine"\ntitle = "Mine"\ndevice_class = "contact_sensor"\n[link]\ntopics = ["n/{device}"]\n'
        '[decode]\nformat = "text"\n[device]\nid = "mine:{device}"\n[[field]]\nname = "open"\nfrom = ""\n'
    )
    house = said("binary_sensor", "x", state_topic="n/x", device_class="door")
    assert house.read("n/x", b"ON") == {ID: {"open": True}}
    house.decoder.read(Catalogue.load([BUILTIN, tmp_path]))
    assert [event.type for event in house.tick().events] == ["device_removed"]
    assert house.read("n/x", b"ON") == {"mine:x": {"open": True}}
    house.decoder.read(CATALOGUE)
    house.tick()
    assert house.read("n/x", b"ON") == {ID: {"open": True}}


def test_our_own_offers_are_not_devices() -> None:
    """What this gateway offers to Home Assistant does not come back as a device."""
    house = said("switch", "x", state_topic="n/x", origin={"name": "edge-gateway"})
    house.tick()
    assert house.values == {}


def test_discovery_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices, entities of one device and bytes of one config are limited; the refusal says which."""
    monkeypatch.setattr(discovery, "ENTITIES_MAX", 2)
    monkeypatch.setattr(discovery, "DEVICES_MAX", 1)
    house = House(["home-assistant"])
    for n in range(3):
        decoded = house.say(f"homeassistant/sensor/a/{n}/config", {"state_topic": f"n/{n}", "device": DEVICE})
    assert "no room: 1 devices, 2 entities" in str(decoded.rejected)
    other = house.say("homeassistant/sensor/b/1/config", {"state_topic": "n/9", "device": {"identifiers": ["two"]}})
    assert "no room: 1 devices" in str(other.rejected)
    large = house.say("homeassistant/sensor/c/1/config", json.dumps({"x": "y" * 70_000}))
    assert "the limit is 65536" in str(large.rejected)
