"""Zigbee2MQTT's list of devices: fields, endpoints, commands, ids."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import DecodeError
from tests.importers.house import CONTACT, House, binary, enum, numeric, z2m, zigbee

LIST = "zigbee2mqtt/bridge/devices"
ADDRESS = "0x00158d0001a2b3c4"
ID = f"z2m:{ADDRESS}"


def house_of(*exposes: dict[str, Any], friendly: str = "hall", **more: Any) -> House:
    """Return a house with one device."""
    house = House(["zigbee2mqtt"])
    assert house.say(LIST, z2m(zigbee(ADDRESS, friendly, *exposes, **more)), retained=True).rejected is None
    return house


def test_a_contact_is_read_under_its_address() -> None:
    """A device is its IEEE address, its fields are the vocabulary's, and false is an open door."""
    house = house_of(*CONTACT, friendly="ground floor/Haustür")
    topic = "zigbee2mqtt/ground floor/Haustür"
    assert house.read(topic, {"contact": False, "battery": 80, "voltage": 2995, "battery_low": False}) == {
        ID: {"open": True, "battery.low": False, "battery": 80, "battery.voltage": 2.995}
    }
    decoded = house.say(topic, {"contact": True})
    assert [(event.type, event.subject) for event in decoded.events] == [("door_closed", f"house/{ID}")]
    assert decoded.readings[0].device == "ground floor/Haustür"
    assert decoded.readings[0].device_class == "contact_sensor"


@pytest.mark.parametrize(
    ("on", "off", "sent", "opened"),
    [(False, True, False, True), (False, True, True, False), (True, False, False, True), ("ON", "OFF", "ON", True)],
)
def test_which_way_round_a_contact_is(on: Any, off: Any, sent: Any, opened: bool) -> None:
    """A bool contact is true when closed whatever the definition calls on; a text one is open when it is on."""
    house = house_of(binary("contact", on, off))
    assert house.read("zigbee2mqtt/hall", {"contact": sent}) == {ID: {"open": opened}}


@pytest.mark.parametrize(
    ("expose", "sent", "field", "value"),
    [
        (numeric("voltage", "V"), 3.1, "battery.voltage", 3.1),
        (numeric("voltage", "mV"), 3100, "battery.voltage", 3.1),
        (numeric("temperature", "°F"), 68, "temperature", 20.0),
        (numeric("temperature", "°C"), 21.5, "temperature", 21.5),
        (numeric("illuminance", "lx"), 120, "illuminance", 120),
        (numeric("illuminance"), 20000, "ext.illuminance", 20000),
        (numeric("energy", "kWh"), 1.5, "energy", 1500.0),
        (numeric("voc", "µg/m³"), 12, "ext.voc", 12),
        (numeric("water_consumed", "m³"), 2.5, "ext.water_consumed", 2.5),
        (numeric("warm_up", "min"), 2, "ext.warm_up", 120),
        (binary("child_lock", "LOCK", "UNLOCK"), "LOCK", "ext.child_lock", True),
        (enum("sensitivity", ["low", "high"]), "high", "ext.sensitivity", "high"),
        (enum("smoke_state", ["alarm", "normal"]), "alarm", "smoke", True),
        (enum("presence_state", ["none", "presence"]), "none", "presence", False),
        (enum("battery_state", ["low", "middle", "high"]), "low", "battery.low", True),
        (enum("battery_state", ["not_charging", "charging"]), "charging", "ext.battery_state", "charging"),
        (enum("contact", ["open", "closed"]), "open", "ext.contact", "open"),
        (binary("carbon_monoxide"), True, "co", True),
        (binary("occupancy"), True, "motion", True),
        ({"type": "list", "name": "targets", "property": "targets", "access": 1}, ["a", 1], "ext.targets", ["a", "1"]),
        ({"type": "text", "name": "note", "property": "note", "access": 1}, "hi", "ext.note", "hi"),
    ],
)
def test_names_and_units(expose: dict[str, Any], sent: Any, field: str, value: Any) -> None:
    """Name and unit together say which field it is; what they do not say goes through as it is called."""
    house = house_of(expose)
    assert house.read("zigbee2mqtt/hall", {str(expose["property"]): sent}) == {ID: {field: value}}


def test_voltage_of_a_plug_is_the_mains() -> None:
    """A device that measures a load has no battery to measure."""
    house = house_of(numeric("voltage", "V"), numeric("power", "W"), power_source="Mains (single phase)")
    assert house.read("zigbee2mqtt/hall", {"voltage": 231, "power": 12}) == {ID: {"voltage": 231, "power": 12}}


def test_position_of_a_radiator_is_its_valve() -> None:
    """A radiator's position is its valve, unless it has another property for that; a curtain's is its own."""
    climate = {"type": "climate", "features": [numeric("local_temperature", "°C")]}
    assert house_of(climate, numeric("position", "%")).read("zigbee2mqtt/hall", {"position": 40}) == {ID: {"valve": 40}}
    both = house_of(climate, numeric("position", "%"), numeric("pi_heating_demand", "%"))
    read = both.read("zigbee2mqtt/hall", {"position": 40, "pi_heating_demand": 30})
    assert read == {ID: {"valve": 30, "ext.position": 40}}
    assert house_of(numeric("position", "%")).read("zigbee2mqtt/hall", {"position": 40}) == {ID: {"position": 40}}


def test_action_is_a_press_each_time() -> None:
    """Two equal actions are two presses, and the empty one that follows is none."""
    house = house_of(enum("action", ["single", "double"]))
    presses = [house.say("zigbee2mqtt/hall", {"action": each}).events for each in ("single", "single", "")]
    assert [[event.type for event in events] for events in presses] == [["button_pressed"], ["button_pressed"], []]


THERMOSTAT = {
    "type": "climate",
    "features": [
        numeric("occupied_heating_setpoint", "°C", 7, value_min=5, value_max=30, value_step=0.5),
        numeric("local_temperature", "°C"),
        enum("system_mode", ["off", "heat", "manual", "holiday"], 7),
        enum("running_state", ["idle", "heat"]),
    ],
}


def test_a_thermostat_takes_what_its_definition_allows() -> None:
    """Limits and steps of a setpoint, words of a mode: what is outside is refused with the reason, inside is sent."""
    house = house_of(THERMOSTAT, numeric("temperature", "°C"))
    state = {"local_temperature": 20.1, "occupied_heating_setpoint": 21, "system_mode": "manual", "temperature": 19}
    assert house.read("zigbee2mqtt/hall", state) == {
        ID: {"temperature": 20.1, "setpoint.heat": 21, "mode": "heat", "ext.temperature": 19}
    }
    assert house.send(ID, "set_setpoint", 21.3) == ("zigbee2mqtt/hall/set", {"occupied_heating_setpoint": 21.5})
    assert house.send(ID, "set_mode", "heat") == ("zigbee2mqtt/hall/set", {"system_mode": "heat"})
    with pytest.raises(DecodeError, match="outside 5 to 30"):
        house.send(ID, "set_setpoint", 45)
    with pytest.raises(DecodeError, match="not one of off, heat"):
        house.send(ID, "set_mode", "holiday")


def test_a_device_takes_commands_before_it_was_heard() -> None:
    """A description is enough to send: the device is known from the moment the list comes."""
    house = house_of({"type": "switch", "features": [binary("state", "ON", "OFF", 7)]})
    house.tick()
    assert house.send(ID, "set_on", value=True) == ("zigbee2mqtt/hall/set", {"state": "ON"})
    assert house.values[f"house/{ID}"]["$"]["class"] == "on_off_plug"


def test_two_relays_in_one_box_are_two_devices() -> None:
    """A property with an endpoint belongs to a device behind the box, with commands of its own."""
    switches = [
        {"type": "switch", "endpoint": end, "features": [binary("state", "ON", "OFF", 7) | {"property": f"state_{end}",
         "endpoint": end}]} for end in ("left", "right")
    ]  # fmt: skip
    house = house_of(*switches, numeric("linkquality", "lqi"))
    assert house.read("zigbee2mqtt/hall", {"state_left": "ON", "state_right": "OFF", "linkquality": 90}) == {
        ID: {"link_quality": 90}, f"{ID}/left": {"on": True}, f"{ID}/right": {"on": False},
    }  # fmt: skip
    assert house.read("zigbee2mqtt/hall", {"state_right": "ON"}) == {f"{ID}/right": {"on": True}}
    assert house.send(f"{ID}/right", "set_on", value=False) == ("zigbee2mqtt/hall/set", {"state_right": "OFF"})
    with pytest.raises(DecodeError, match="no command 'set_on'"):
        house.send(ID, "set_on", value=True)


def test_brightness_is_per_cent() -> None:
    """A light of 254 counts is set and read in per cent."""
    light = {
        "type": "light",
        "features": [binary("state", "ON", "OFF", 7), numeric("brightness", None, 7, value_max=254)],
    }
    house = house_of(light)
    assert house.read("zigbee2mqtt/hall", {"state": "ON", "brightness": 127}) == {ID: {"on": True, "brightness": 50.0}}
    assert house.send(ID, "set_brightness", 50) == ("zigbee2mqtt/hall/set", {"brightness": 127})


def test_lock_and_cover() -> None:
    """LOCK is locked; a cover says where it is and takes open, close, stop."""
    lock = {"type": "lock", "features": [binary("state", "LOCK", "UNLOCK", 7)]}
    house = house_of(lock)
    assert house.read("zigbee2mqtt/hall", {"state": "UNLOCK"}) == {ID: {"locked": False}}
    assert house.send(ID, "set_locked", value=True) == ("zigbee2mqtt/hall/set", {"state": "LOCK"})
    cover = {"type": "cover", "features": [enum("state", ["OPEN", "CLOSE", "STOP"], 3), numeric("position", "%", 7,
             value_min=0, value_max=100)]}  # fmt: skip
    house = house_of(cover)
    assert house.read("zigbee2mqtt/hall", {"state": "OPEN", "position": 30}) == {ID: {"cover": "open", "position": 30}}
    assert house.send(ID, "set_cover", "stop") == ("zigbee2mqtt/hall/set", {"state": "STOP"})
    assert house.send(ID, "set_position", 40) == ("zigbee2mqtt/hall/set", {"position": 40})


def test_availability_belongs_to_the_same_device() -> None:
    """Online and offline come by the friendly name and are those of the address."""
    house = house_of(*CONTACT)
    house.say("zigbee2mqtt/hall/availability", {"state": "online"})
    decoded = house.say("zigbee2mqtt/hall/availability", {"state": "offline"})
    assert [(event.type, event.subject) for event in decoded.events] == [("device_offline", f"house/{ID}")]
    assert list(house.values) == [f"house/{ID}"]


@pytest.mark.parametrize("payload", ["[", "{}", '"x"', "[" * 2000, "null"])
def test_what_is_no_list_is_refused(payload: str) -> None:
    """A list that cannot be read is refused with the reason and changes nothing."""
    house = house_of(*CONTACT)
    assert "zigbee2mqtt: not" in str(house.say(LIST, payload).rejected)
    assert house.read("zigbee2mqtt/hall", {"contact": True}) == {ID: {"open": False}}
