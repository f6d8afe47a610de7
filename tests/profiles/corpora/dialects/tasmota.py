"""Tasmota: the raw message is the expectation, so what it must be is worked out here from its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.profiles.corpora.expected import Expected, Wanted, is_number
from tests.profiles.corpora.records import Record

ON = {"ON": True, "OFF": False}
CHIPS = {"Temperature": "temperature", "Humidity": "humidity", "Pressure": "pressure", "CarbonDioxide": "co2"}
METER = {"Power": ("power", 1), "Total": ("energy", 1000), "Voltage": ("voltage", 1), "Current": ("current", 1)}


def expected(record: Record) -> Expected:
    """Read a record: relays, climate chips, meters, switches and buttons have names of ours."""
    expect, fields = record.expect, record.fields
    if "online" in expect:
        return Expected([Wanted(("online",), expect["online"])], _device(record))
    if str(expect.get("kind", "")).upper().rstrip("12345678") == "POWER" and fields.get("value") in ON:
        return Expected([Wanted(("on",), ON[fields["value"]])], _device(record))
    if expect.get("kind") == "ENERGY":
        return Expected(list(_meter(fields)), _device(record))
    inner = fields.get("StatusSNS")
    found = Expected(list(_sensors(inner if isinstance(inner, dict) else fields)))
    if found.wanted:
        found.device = _device(record)
    return found


def _device(record: Record) -> tuple[str, ...]:
    device = record.expect.get("device")
    return (device,) if device else ()


def _sensors(message: dict[str, Any]) -> Iterator[Wanted]:
    fahrenheit = message.get("TempUnit") == "F"
    for key, value in message.items():
        if key.rstrip("12345678") == "POWER" and value in ON:
            yield Wanted(("on",), ON[value])
        elif key[:6] == "Switch" and key[6:].isdigit() and value in ON:
            yield Wanted(("input",), ON[value])
        elif key[:6] == "Button" and isinstance(value, dict) and value.get("Action") not in (None, "NONE", "CLEAR"):
            yield Wanted(("button",), value["Action"])
        elif key == "ENERGY" and isinstance(value, dict):
            yield from _meter(value)
        elif isinstance(value, dict) and not key.startswith(("ESP32", "Wifi", "ZbReceived", "ZbInfo", "MPU")):
            yield from _chip(value, fahrenheit=fahrenheit)


def _chip(chip: dict[str, Any], *, fahrenheit: bool) -> Iterator[Wanted]:
    for key, ours in CHIPS.items():
        value = chip.get(key)
        if is_number(value):
            yield Wanted((ours,), (value - 32) / 1.8 if fahrenheit and key == "Temperature" else value, 1e-5)


def _meter(meter: dict[str, Any]) -> Iterator[Wanted]:
    for key, (ours, factor) in METER.items():
        value = meter.get(key)
        value = value[0] if isinstance(value, list) and value else value
        if is_number(value):
            yield Wanted((ours,), value * factor)


DIALECTS = {"tasmota": expected}
