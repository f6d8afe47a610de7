"""A profile in the making: fields and commands collected under the names of the vocabulary, within limits.

What has no name there goes through as ``ext.<name>``, converted to the canonical unit where its unit is known.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.importers.importer import FIELDS_MAX, LEFT_OUT_MAX
from gateway.profiles.vocabulary import FIELDS, meaning
from gateway.units import DECIMALS, UNITS, conversion

VALUES_MAX = 64  # words of an enum
NAME_CHARS_MAX = 48  # of a property
WORD_CHARS_MAX = 120  # of a word of an enum

CONFIRM = "15s"  # within this a device says that it did what it was told

_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_UNFIT = re.compile(r"[^a-z0-9_]+")

DEADBANDS: dict[str, dict[str, Any]] = {
    "temperature": {"deadband": 0.1, "max_silence": "1h"},
    "humidity": {"deadband": 1.0},
    "pressure": {"deadband": 0.5},
    "illuminance": {"deadband": 10.0},
    "battery": {"deadband": 1.0},
    "valve": {"deadband": 1.0},
    "power": {"deadband": 1.0},
    "energy": {"deadband": 10.0, "max_silence": "1h"},
    "voltage": {"deadband": 2.0},
    "current": {"deadband": 0.1},
    "co2": {"deadband": 20.0},
    "pm25": {"deadband": 1.0},
    "voc": {"deadband": 0.05},
}
"""When a change of a measurement is worth an event: as the shipped profiles have it."""


class Part:
    """The fields and commands of one device or one endpoint."""

    def __init__(self) -> None:
        self.fields: dict[str, dict[str, Any]] = {}  # by the field's name
        self.commands: dict[str, dict[str, Any]] = {}  # by the command's
        self.left_out: list[str] = []

    def leave(self, what: str, why: str) -> None:
        """Say what is not read, and why."""
        if len(self.left_out) < LEFT_OUT_MAX:
            self.left_out.append(f"{what[:NAME_CHARS_MAX]}: {why}")

    def add(self, name: str, source: str, **rules: Any) -> bool:
        """Add a field unless there is one of that name, or too many."""
        if name in self.fields:
            return False
        if len(self.fields) >= FIELDS_MAX:
            self.leave(name, f"more than {FIELDS_MAX} fields")
            return False
        report = {"report": DEADBANDS[name]} if name in DEADBANDS and "report" not in rules else {}
        self.fields[name] = {"name": name, "from": source, **rules, **report}
        return True

    def command(self, name: str, topic: str, **rules: Any) -> None:
        """Add a command unless there is one of that name."""
        name = _UNFIT.sub("_", name.lower()).strip("_")[:64]
        if name and name[0].isalpha() and len(self.commands) < FIELDS_MAX:
            self.commands.setdefault(name, {"name": name, "topic": topic, **rules})


def ext(name: str) -> str | None:
    """Return the field's name of something the vocabulary has no word for; None when it is no name."""
    return f"ext.{name}" if len(name) <= NAME_CHARS_MAX and _PLAIN.fullmatch(name) else None


def token(name: str) -> str:
    """Return a pointer's segment for a key. ValueError for one that a pointer of a profile cannot hold."""
    if not name or "{" in name or "}" in name or name == "*" or len(name) > 4 * NAME_CHARS_MAX:
        raise ValueError(f"{name[:NAME_CHARS_MAX]!r} cannot stand in a pointer")
    return name.replace("~", "~0").replace("/", "~1")


def fits(field: str, unit: str | None) -> bool:
    """Return whether a unit is one of what a field measures; none is the canonical one where there is no choice."""
    wanted = FIELDS[field].unit if field in FIELDS else None
    if unit is None or unit == "":
        return wanted in (None, "count", "/", "%", "%EL", "%RH")
    try:
        conversion(unit, wanted or "")
    except (KeyError, ValueError):
        return False
    return True


def unit_of(field: str, unit: str | None) -> dict[str, str]:
    """Return the `unit` of a field, where it is not the canonical one already."""
    means = meaning(field)
    if not unit or unit not in UNITS or means is None or means.unit == unit:
        return {}
    return {"unit": unit}


def number_argument(unit: str | None, low: Any, high: Any, step: Any) -> dict[str, Any]:
    """Return the argument of a command that takes a number, in the canonical unit."""
    scale, offset = (UNITS[unit].scale, UNITS[unit].offset) if unit in UNITS else (1.0, 0.0)
    argument: dict[str, Any] = {"type": "number"}
    if unit in UNITS:
        argument["unit"] = UNITS[unit].code
    for key, value in (("min", low), ("max", high)):
        if plain(value):
            argument[key] = round(value * scale + offset, DECIMALS)
    if plain(step) and step > 0:
        argument["step"] = step * scale  # unrounded: 1 °F has no end in Celsius
    return argument


def plain(value: Any) -> bool:
    """Return whether a value is a number, and a sensible one."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def words(values: Any) -> list[str]:
    """Return the words of an enum; none when they are not words."""
    if not isinstance(values, list) or len(values) > VALUES_MAX:
        return []
    found = [value for value in values if isinstance(value, str) and 0 < len(value) <= WORD_CHARS_MAX]
    return found if len(found) == len(values) else []
