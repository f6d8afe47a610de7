"""RAMSES-II: the reference decoder's names, code by code; requests and orders on the way are no state."""

from __future__ import annotations

from typing import Any

from tests.profiles.corpora.expected import Expected, Name, Wanted, is_number, name
from tests.profiles.corpora.records import Record

_OVERRIDES = ("advanced_override", "permanent_override", "countdown_override", "temporary_override")
_PRESETS = {word: word for word in ("follow_schedule", *_OVERRIDES)}
CODES: dict[str, dict[str, Name]] = {
    "30C9": {"temperature": name("temperature")},
    "1260": {"temperature": name("temperature")},
    "3200": {"temperature": name("temperature")},
    "3210": {"temperature": name("temperature")},
    "2309": {"setpoint": name("setpoint.heat")},
    "22D9": {"setpoint": name("setpoint.heat")},
    "10A0": {"setpoint": name("setpoint.heat")},
    "2349": {"setpoint": name("setpoint.heat"), "mode": name("preset", map=_PRESETS)},
    "2E04": {"system_mode": name("preset")},
    "3150": {"heat_demand": name("valve", factor=100)},
    "1060": {"battery_low": name("battery.low"), "battery_level": name("battery", factor=100)},
    "12B0": {"window_open": name("window_detected")},
    "12A0": {
        "indoor_humidity": name("humidity", factor=100), "temperature": name("temperature"),
        "dewpoint_temp": name("dew_point"),
    },
    "1298": {"co2_level": name("co2")},
    "1300": {"pressure": name("pressure", factor=1000)},
    "2E10": {"presence_detected": name("presence")},
    "31DA": {
        "co2_level": name("co2"), "indoor_humidity": name("humidity", factor=100), "indoor_temp": name("temperature"),
        "exhaust_fan_speed": name("fan.speed", factor=100),
    },
}  # fmt: skip


def expected(record: Record) -> Expected:
    """Read a record: an object, or one for each zone. What the decoder calls false is not known."""
    found = Expected()
    said = record.expect.get("fields")
    names = CODES.get(record.expect.get("code", ""), {})
    words = record.payload.decode().split()
    if not {"RQ", "W"} & set(words[:2]):
        for fields in said if isinstance(said, list) else [said] if isinstance(said, dict) else []:
            found.wanted += [_one(names[key], value) for key, value in fields.items() if key in names]
        if isinstance(said, dict) and said.get("units") in ("Celsius", "Fahrenheit") and is_number(said["temperature"]):
            celsius = said["temperature"] if said["units"] == "Celsius" else (said["temperature"] - 32) * 5 / 9
            found.wanted.append(Wanted(("temperature",), celsius))
    return found


def _one(meant: Name, value: Any) -> Wanted:
    unknown = value is False and not meant.names[0].endswith(("low", "detected", "presence"))
    made = None if unknown else meant.make(value) if meant.make and value is not None else value
    return Wanted(meant.names, made, meant.within)


DIALECTS = {"ramses-ii": expected}
