"""Zigbee2MQTT: ``name|unit`` keys of the exposes, ``name_Unit`` ones, and the bridge's own messages."""

from __future__ import annotations

from typing import Any

from tests.profiles.corpora.expected import Expected, Name, Wanted, is_number, name, wanted
from tests.profiles.corpora.records import Record

COVER = {"OPEN": "open", "CLOSE": "closed", "STOP": "stopped"}
LOCKED = {"LOCK": True, "UNLOCK": False}
ON = {"ON": True, "OFF": False}
MODES = {
    "off": "off", "heat": "heat", "cool": "cool", "auto": "auto", "heat_cool": "heat_cool", "dry": "dry",
    "fan_only": "fan_only",
}  # fmt: skip
ACTIONS = {"idle": "idle", "heat": "heating", "cool": "cooling", "fan_only": "fan"}
TEMPERATURES = ("temperature", "device.temperature", "temperature.probe")
NAMES: dict[str, Name] = {
    "temperature_Cel": name(*TEMPERATURES), "temperature": name(*TEMPERATURES),
    "setpoint_heat_Cel": name("setpoint.heat"),
    "demand_pct": name("valve"), "valve_pct": name("valve"), "battery": name("battery"), "battery_pct": name("battery"),
    "contact.open": name("open"), "battery_low": name("battery.low"), "tamper": name("tamper"),
    "vibration": name("vibration"), "occupancy": name("motion", "presence"), "presence": name("presence"),
    "motion": name("motion"), "voltage_V": name("battery.voltage", "voltage"), "illuminance": name("illuminance"),
    "humidity": name("humidity", "soil_moisture"), "preset": name("preset"), "power": name("power"),
    "energy": name("energy", factor=1000), "current": name("current"), "water_leak": name("leak"),
    "smoke": name("smoke"),
    "gas": name("gas"), "carbon_monoxide": name("co"), "co2": name("co2"), "position": name("position", "valve"),
    "link_quality": name("link_quality"), "brightness": name("brightness", factor=100 / 254, within=0.01),
    "system_mode": name("mode", map=MODES), "running_state": name("action", map=ACTIONS),
    "pressure": name("pressure"),
}  # fmt: skip


CLASSES: dict[str, tuple[str, ...]] = {
    "thermostat": ("thermostat",), "contact_sensor": ("contact_sensor",), "motion_sensor": ("occupancy_sensor",),
    "leak_sensor": ("water_leak_detector",), "smoke_sensor": ("smoke_co_alarm",), "lock": ("door_lock",),
    "cover": ("window_covering",), "climate_sensor": ("temperature_sensor", "soil_sensor", "generic_switch", "siren"),
    "siren": ("siren",),
    "air_quality": ("temperature_sensor", "generic_switch"), "vibration_sensor": ("vibration_sensor",),
}  # fmt: skip
"""Where the generated records tell it by the same keys as we do; plugs, meters, lights and buttons overlap."""


def expected(record: Record) -> Expected:
    """Read a record of either corpus."""
    expect = record.expect
    if "online" in expect:
        device = (expect["device"],) if expect.get("device") else ()
        return Expected([] if expect.get("deleted") else [Wanted(("online",), expect["online"])], device)
    said = dict(_plain(record.fields, expect.get("device_class")))
    action = said.pop("action", None)
    if record.corpus == "zigbee2mqtt-runtime" and not record.fields:
        return _scalar(record)
    found = Expected(wanted(said, NAMES), (expect["device"],) if said and "device" in expect else ())
    if "state" in said and said["state"] is not None:
        found.wanted.append(_state(expect.get("device_class"), said["state"]))
    if record.corpus == "zigbee2mqtt-exposes-derived":
        found.classes = CLASSES.get(expect.get("device_class") or "", ())
    if action not in (None, "", "none") and not record.retained:
        found.wanted.append(Wanted(("button", "lock.action"), action))
    return found


def _scalar(record: Record) -> Expected:
    """Read a value on a topic of its own; an empty one takes back a retained message and says nothing."""
    expect = record.expect
    value = expect.get("value", expect.get("scalar"))
    if value == "":
        return Expected(rejected=True)
    attribute = record.topic.rpartition("/")[2]
    if value in ON and attribute == "state":
        return Expected([Wanted(("on",), ON[value])])
    return Expected(wanted({attribute: value}, NAMES) if value is not None else [])


def _plain(fields: dict[str, Any], device_class: str | None) -> list[tuple[str, Any]]:
    """Take the unit off the keys; kPa is turned into hPa, keys with an endpoint stay as they are."""
    plain = []
    for key, value in fields.items():
        word, _, unit = key.partition("|")
        if unit == "kPa" and is_number(value):
            value = value * 10
        plain.append((word, value))
    return plain


def _state(device_class: str | None, state: Any) -> Wanted:
    if state in COVER:
        return Wanted(("cover",), COVER[state])
    if state in LOCKED:
        return Wanted(("locked",), LOCKED[state])
    return Wanted(("on",), ON.get(state, state))


DIALECTS = {"zigbee2mqtt": expected}
