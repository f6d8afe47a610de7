"""MySensors, over MQTT and serial: the type says what a value is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.profiles.corpora.expected import Expected, Wanted
from tests.profiles.corpora.records import Record


def _bool(text: str) -> Any:
    return {"1": True, "0": False}.get(text, ...)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return ...


def _hpa(text: str) -> Any:
    """Read a pressure: the API names no unit, and no place on Earth has 2000 hPa."""
    value = _number(text)
    return value / 100 if value is not ... and value >= 2000 else value


TYPES: dict[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "V_TEMP": (("temperature",), _number), "V_HUM": (("humidity",), _number), "V_STATUS": (("on",), _bool),
    "V_LIGHT": (("on",), _bool), "V_PRESSURE": (("pressure",), _hpa), "V_WATT": (("power",), _number),
    "V_UV": (("uv",), _number), "V_VOLTAGE": (("voltage",), _number), "V_CURRENT": (("current",), _number),
    "V_HVAC_SETPOINT_HEAT": (("setpoint.heat",), _number), "V_HVAC_SETPOINT_COOL": (("setpoint.cool",), _number),
    "V_TRIPPED": (("open", "motion", "input"), _bool), "V_LOCK_STATUS": (("locked",), _bool),
    "V_PH": (("ph",), _number), "V_POWER_FACTOR": (("power.factor",), _number), "V_VA": (("power.apparent",), _number),
    "V_PERCENTAGE": (("brightness", "position"), _number), "I_BATTERY_LEVEL": (("battery",), _number),
    "V_DISTANCE": (("distance",), lambda text: ...),
    "V_LIGHT_LEVEL": (("illuminance", "level", "ext.light_level"), _number),
}  # fmt: skip


def expected(record: Record) -> Expected:
    """Read a record. A battery level outside 0-100 is none; a presentation is nothing to report."""
    fields = record.fields
    found = Expected()
    if fields.get("command") in ("set", "internal") and fields.get("type") in TYPES and not fields.get("ack"):
        names, make = TYPES[fields["type"]]
        value = make(str(fields.get("value")))
        if names == ("battery",) and value is not ... and not 0 <= value <= 100:
            value = None
        if value is not ...:
            found.wanted.append(Wanted(names, value))
    return found


DIALECTS = {"mysensors-mqtt": expected, "mysensors-serial": expected}
