"""What a property's own name and unit say for sure, for dialects that give both and no meaning (Homie, Sparkplug B).

A number is what it is called only when its unit is one of that; a switch may be called power, a power in watts too.
Words that do not say which way round they are (contact, lock) are left as they come.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.importers.draft import fits, unit_of

NUMBERS: dict[str, str] = {
    "temperature": "temperature", "local_temperature": "temperature", "room_temperature": "temperature",
    "current_temperature": "temperature", "humidity": "humidity", "pressure": "pressure",
    "setpoint": "setpoint.heat", "heating_setpoint": "setpoint.heat", "target_temperature": "setpoint.heat",
    "set_temperature": "setpoint.heat", "consumption": "energy",
    "cooling_setpoint": "setpoint.cool", "illuminance": "illuminance", "lux": "illuminance", "co2": "co2",
    "battery": "battery", "battery_level": "battery", "power": "power", "energy": "energy", "voltage": "voltage",
    "current": "current", "frequency": "frequency", "position": "position", "brightness": "brightness",
    "valve": "valve", "valve_position": "valve", "rssi": "rssi", "signal": "rssi", "pm25": "pm25",
}  # fmt: skip
BOOLS: dict[str, str] = {
    "open": "open", "motion": "motion", "occupancy": "motion", "presence": "presence", "smoke": "smoke",
    "leak": "leak", "water_leak": "leak", "tamper": "tamper", "vibration": "vibration", "gas": "gas", "co": "co",
    "carbon_monoxide": "co", "locked": "locked", "battery_low": "battery.low", "low_battery": "battery.low",
    "window_open": "window_detected", "on": "on", "on_off": "on", "power": "on", "relay": "on", "switch": "on",
}  # fmt: skip

_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNFIT = re.compile(r"[^a-z0-9]+")


def word(name: str) -> str:
    """Return a name in one spelling: ``Heating Setpoint``, ``heating-setpoint`` and ``heatingSetpoint`` are one."""
    return _UNFIT.sub("_", _BREAK.sub("_", name).lower()).strip("_")


def number(name: str, unit: str | None) -> tuple[str, dict[str, Any]] | None:
    """Return the field a number is, and its rules; None when name and unit do not say so."""
    field = NUMBERS.get(word(name))
    if field is None or not unit or not fits(field, unit):
        return None
    rules: dict[str, Any] = {"unit": "%", "range": [0, 100]} if field == "battery" else dict(unit_of(field, unit))
    return field, rules


def boolean(name: str) -> str | None:
    """Return the field a bool is, true as its name says; None when the name does not say so."""
    return BOOLS.get(word(name))
