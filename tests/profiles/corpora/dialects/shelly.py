"""Shelly, both generations: named values for the first, the component's own keys for the second."""

from __future__ import annotations

from tests.profiles.corpora.expected import Expected, Name, name, wanted
from tests.profiles.corpora.records import Record

COVER = {"open": "open", "closed": "closed", "opening": "opening", "closing": "closing", "stopped": "stopped"}
GEN1: dict[str, Name] = {
    "contact.open": name("open"), "illuminance_lx": name("illuminance"), "tilt_deg": name("tilt"),
    "vibration": name("vibration"), "temperature_Cel": name("temperature"), "battery_pct": name("battery"),
    "humidity_pct": name("humidity"), "gas": name("gas"), "leak": name("leak"), "smoke": name("smoke"),
    "illumination": name("illumination"), "on": name("on"), "energy_Wh": name("energy", within=0.01),
    "power_W": name("power"), "motion": name("motion"), "input": name("input"), "position_pct": name("position"),
    "setpoint_heat_Cel": name("setpoint.heat"), "valve_pct": name("valve"),
    "fault": name("fault", map={None: False}),
    "state": name("cover", map={"open": "opening", "close": "closing", "stop": "stopped"}),
}  # fmt: skip
GEN2: dict[str, Name] = {
    "temperature_Cel": name("temperature", "device.temperature"), "setpoint_heat_Cel": name("setpoint.heat"),
    "valve_pct": name("valve"), "battery_pct": name("battery"), "battery": name("battery"), "on": name("on"),
    "power_W": name("power"), "apower": name("power"), "voltage_V": name("voltage"), "voltage": name("voltage"),
    "energy_Wh": name("energy"), "current": name("current"), "current_pos": name("position"), "freq": name("frequency"),
    "current_C": name("temperature"), "target_C": name("setpoint.heat"), "pos": name("valve"),
}  # fmt: skip
OF_STATE = {"cover": name("cover", map=COVER), "input": name("input")}
UNREPORTED = ("wifi", "sys", "mqtt", "cloud", "ble")  # the board itself


def gen1(record: Record) -> Expected:
    """First generation: one value a topic, named with its unit."""
    return Expected(wanted(record.fields, GEN1), _device(record))


def gen2(record: Record) -> Expected:
    """Later ones: the whole component."""
    component = str(record.expect.get("component", "")).partition(":")[0]
    names = GEN2 | ({"state": OF_STATE[component]} if component in OF_STATE else {})
    if component == "switch":
        names["output"] = name("on")
    if component in UNREPORTED:
        names = {}
    return Expected(wanted(record.fields, names), _device(record))


def _device(record: Record) -> tuple[str, ...]:
    device = record.expect.get("device")
    return (device,) if device else ()


DIALECTS = {"shelly-gen1": gen1, "shelly-gen2": gen2}
