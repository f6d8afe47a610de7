"""Homie 3, 4 and 5: properties, labels, limits, states."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import DecodeError
from tests.importers.house import House

TEMPERATURE = {"datatype": "float", "unit": "°C"}


def five(nodes: dict[str, dict[str, Any]], device: str = "box", house: House | None = None, **more: Any) -> House:
    """Describe a device of version 5."""
    house = house or House(["homie"])
    described = {"homie": "5.0", "name": "Box", "version": 1, "nodes": {n: {"properties": p} for n, p in nodes.items()}}
    assert house.say(f"homie/5/{device}/$description", described | more, retained=True).rejected is None
    return house


@pytest.mark.parametrize(
    ("name", "about", "payload", "field", "value"),
    [
        ("temperature", TEMPERATURE, b"20.7", "temperature", 20.7),
        ("temperature", {"datatype": "float", "unit": "°F"}, b"68", "temperature", 20.0),
        ("temperature", {"datatype": "float"}, b"20.7", "ext.temperature", 20.7),
        ("target-temperature", TEMPERATURE, b"21", "setpoint.heat", 21),
        ("power", {"datatype": "boolean"}, b"true", "on", True),
        ("power", {"datatype": "float", "unit": "kW"}, b"1.5", "power", 1500.0),
        ("open", {"datatype": "boolean"}, b"true", "open", True),
        ("contact", {"datatype": "boolean"}, b"true", "ext.contact", True),
        ("contact", {"datatype": "boolean", "format": "closed,open"}, b"true", "open", True),
        ("contact", {"datatype": "boolean", "format": "open,closed"}, b"true", "open", False),
        ("mode", {"datatype": "enum", "format": "off,heat,auto"}, b"heat", "mode", "heat"),
        ("state", {"datatype": "enum", "format": "idle,heating"}, b"heating", "action", "heating"),
        ("state", {"datatype": "enum", "format": "washing,done"}, b"done", "ext.state", "done"),
        ("color", {"datatype": "color", "format": "rgb"}, b"rgb,1,2,3", "ext.color", "rgb,1,2,3"),
        ("switch", {"datatype": "enum", "format": "On,Off"}, b"On", "on", True),
        ("motion", {"datatype": "enum", "format": "ON,OFF"}, b"OFF", "motion", False),
        ("motion", {"datatype": "enum", "format": "OPEN,CLOSED"}, b"OPEN", "ext.motion", "OPEN"),
        ("contact", {"datatype": "enum", "format": "OPEN,CLOSED"}, b"CLOSED", "open", False),
        ("value", {"datatype": "boolean", "format": "off,on", "settable": True}, b"true", "on", True),
        ("window-open", {"datatype": "boolean", "format": "closed,open"}, b"true", "window_detected", True),
        ("set-temperature", TEMPERATURE, b"21.5", "setpoint.heat", 21.5),
        ("consumption", {"datatype": "float", "unit": "kWh"}, b"1.5", "energy", 1500.0),
        ("humidity", {"datatype": "float", "unit": "%rH"}, b"29.00", "humidity", 29),
        (
            "action",
            {"datatype": "enum", "format": "up,stop", "settable": True, "retained": False},
            b"up",
            "ext.action",
            "up",
        ),
    ],
)
def test_properties(name: str, about: dict[str, Any], payload: bytes, field: str, value: Any) -> None:
    """Id, datatype, unit and labels say what a property is; what they leave open goes through as it is called."""
    house = five({"part": {name: about}})
    assert house.read(f"homie/5/box/part/{name}", payload) == {"homie:box/part": {field: value}}


def test_nodes_are_devices() -> None:
    """A thermostat and a door in one box are two devices, with classes and names of their own."""
    house = five(
        {"room": {"temperature": TEMPERATURE, "setpoint": TEMPERATURE}, "door": {"open": {"datatype": "boolean"}}}
    )
    assert house.read("homie/5/box/room/temperature", b"20") == {"homie:box/room": {"temperature": 20}}
    reading = house.say("homie/5/box/door/open", b"false").readings[0]
    assert (reading.subject, reading.device_class, reading.device) == (
        "house/homie:box/door",
        "contact_sensor",
        "Box door",
    )
    assert house.values["house/homie:box/room"]["$"]["class"] == "thermostat"


def test_states() -> None:
    """Sleeping is there, lost and disconnected are not, init says nothing, and a child is lost with its root."""
    house = five({"door": {"open": {"datatype": "boolean"}}}, root="hub")
    assert house.say("homie/5/box/$state", b"init").rejected is None
    for state, online in (("ready", True), ("sleeping", True), ("lost", False), ("ready", True)):
        assert house.read("homie/5/box/$state", state.encode()) == {"homie:box/door": {"online": online}}
    assert house.read("homie/5/hub/$state", b"lost") == {"homie:box/door": {"online": False}}
    assert house.read("homie/5/box/$state", b"ready") == {"homie:box/door": {"online": False}}


def test_a_state_before_the_description_is_no_second_device() -> None:
    """What was heard of a device before it described itself goes to its first node."""
    house = House(["homie"])
    assert house.read("homie/5/box/$state", b"ready") == {"homie:box": {"online": True}}
    five({"door": {"open": {"datatype": "boolean"}}, "room": {"temperature": TEMPERATURE}}, house=house)
    assert sorted(house.values) == ["house/homie:box/door", "house/homie:box/room"]
    assert house.values["house/homie:box/door"]["online"] is True
    assert house.restarted().tick().events == []


def test_commands_go_to_set() -> None:
    """A settable property takes what its format allows, in canonical units, and words as they are written."""
    house = five({
        "t": {"setpoint": TEMPERATURE | {"format": "5:30:0.5", "settable": True},
              "mode": {"datatype": "enum", "format": "off,manual", "settable": True}},
        "l": {"power": {"datatype": "boolean", "settable": True}, "dim": {"datatype": "integer", "format": "0:100",
              "settable": True}, "temperature": TEMPERATURE},
    })  # fmt: skip
    assert house.send("homie:box/t", "set_setpoint", 20.3) == ("homie/5/box/t/setpoint/set", "20.5")
    assert house.send("homie:box/t", "set_mode", "heat") == ("homie/5/box/t/mode/set", "manual")
    assert house.send("homie:box/l", "set_on", value=True) == ("homie/5/box/l/power/set", "true")
    assert house.send("homie:box/l", "set_dim", 40) == ("homie/5/box/l/dim/set", "40")
    for device, command, value in (("t", "set_setpoint", 31), ("t", "set_on", True), ("l", "set_temperature", 1)):
        with pytest.raises(DecodeError):
            house.send(f"homie:box/{device}", command, value)
    assert house.say("homie/5/box/l/dim/set", b"3").ignored == "homie: no state"
    assert house.say("homie/5/box/l/dim/$target", b"3").ignored == "homie: no state"


def test_version_four_is_described_topic_by_topic() -> None:
    """Attributes in any order make the same device; a restart remembers them; an empty $homie ends it."""
    house = House(["homie"])
    for topic, text in (
        ("door/open/$datatype", "boolean"), ("room/temperature/$unit", "°C"), ("$name", "Old box"), ("$homie", "4.0.0"),
        ("room/temperature/$datatype", "float"), ("room/$properties", "temperature"), ("$nodes", "room,door"),
    ):  # fmt: skip
        assert house.say(f"homie/box/{topic}", text.encode(), retained=True).rejected is None
    house = house.restarted()
    assert house.read("homie/box/room/temperature", b"20.5") == {"homie:box/room": {"temperature": 20.5}}
    assert house.read("homie/box/door/open", b"true") == {"homie:box/door": {"open": True}}
    assert house.read("homie/box/$state", b"alert") == {
        "homie:box/room": {"online": True},
        "homie:box/door": {"online": True},
    }
    house.say("homie/box/$homie", b"")
    assert [event.type for event in house.tick().events] == ["device_removed", "device_removed"]


def test_a_description_that_is_gone_takes_the_device_along() -> None:
    """An empty $description removes the device and everything remembered of it."""
    house = five({"door": {"open": {"datatype": "boolean"}}})
    house.read("homie/5/box/door/open", b"true")
    house.keep()
    assert [event.type for event in house.say("homie/5/box/$description", b"").events] == ["device_removed"]
    house.keep()
    assert (house.rows, house.values) == ({}, {})


@pytest.mark.parametrize("payload", [b"[]", b"{", b'{"nodes": 3}', b"\xff", b'"x"'])
def test_what_is_no_description_is_refused(payload: bytes) -> None:
    """A description that cannot be read is refused with the reason."""
    house = House(["homie"])
    assert "homie: " in str(house.say("homie/5/box/$description", payload).rejected)


@pytest.mark.parametrize(
    ("of", "name", "field"), [("switch", "state", "on"), ("contact", "state", "open"), ("water", "detected", "leak")]
)
def test_the_type_of_a_node_says_what_a_bare_name_means(of: str, name: str, field: str) -> None:
    """In both versions, over a restart, too; without the type, or of another, nobody says it."""
    kind, about = f"homie-homecontrol/v1/type={of}", {"datatype": "boolean"}
    house = House(["homie"])
    house.say(
        "homie/5/new/$description", {"nodes": {"one": {"type": kind, "properties": {name: about}}}}, retained=True
    )
    for topic, text in (("$homie", "4.0.0"), ("one/$type", kind), (f"one/{name}/$datatype", "boolean")):
        house.say(f"homie/old/{topic}", text.encode(), retained=True)
    house = house.restarted()
    assert house.read(f"homie/5/new/one/{name}", b"true") == {"homie:new/one": {field: True}}
    assert house.read(f"homie/old/one/{name}", b"true") == {"homie:old/one": {field: True}}
    house = five({"one": {name: about}})
    assert house.read(f"homie/5/box/one/{name}", b"true") == {"homie:box/one": {f"ext.{name}": True}}


def test_a_switch_that_is_an_enum_is_set_with_its_words() -> None:
    """A command takes a bool and sends what the device says itself."""
    house = five({"one": {"state": {"datatype": "enum", "format": "ON,OFF", "settable": True}}})
    assert house.read("homie/5/box/one/state", b"ON") == {"homie:box/one": {"on": True}}
    assert house.send("homie:box/one", "set_on", False) == ("homie/5/box/one/state/set", "OFF")
