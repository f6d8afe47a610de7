"""What a record must decode to, in the names and units of the vocabulary, and how a reading is compared with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.profiles.context import Decoded
from gateway.profiles.devices import Device

Make = Callable[[Any], Any]


@dataclass(frozen=True)
class Wanted:
    """One value: any of these fields may carry it. None means that the device does not know."""

    names: tuple[str, ...]
    value: Any
    within: float = 1e-6


@dataclass
class Expected:
    """Everything a record asks for. Nothing at all: there is nothing in it that the vocabulary has a name for."""

    wanted: list[Wanted] = field(default_factory=list)
    device: tuple[str, ...] = ()  # each must stand in the id
    events: tuple[str, ...] = ()  # any of these must be raised
    rejected: bool = False  # it must be refused
    classes: tuple[str, ...] = ()  # the device must be one of these, if any are named
    installed: list[Device] = field(default_factory=list)  # what devices.toml would say (source "sample")
    before: list[bytes] = field(default_factory=list)  # what came first on the same topic or port

    @property
    def nothing(self) -> bool:
        """Whether it is right to report nothing."""
        return not (self.wanted or self.events or self.rejected)


@dataclass(frozen=True)
class Name:
    """What a recorder's name is in ours: the fields it may be, and how its value becomes ours."""

    names: tuple[str, ...]
    make: Make | None = None
    within: float = 1e-6


def name(*names: str, factor: float = 1, map: Mapping[Any, Any] | None = None, within: float = 1e-6) -> Name:  # noqa: A002
    """Make a `Name` that scales numbers or maps values; a value that is not in the map is not compared."""
    if map is not None:
        return Name(names, lambda value: map.get(value, ...), within)
    if factor != 1:
        return Name(names, lambda value: value * factor if is_number(value) else value, within)
    return Name(names, None, within)


def is_number(value: Any) -> bool:
    """Return whether it is a number and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def wanted(fields: Mapping[str, Any], names: Mapping[str, Name]) -> list[Wanted]:
    """Translate a recorder's fields; those without a name of ours are left out."""
    return list(_wanted(fields, names))


def _wanted(fields: Mapping[str, Any], names: Mapping[str, Name]) -> Iterator[Wanted]:
    for key, value in fields.items():
        if key in names:
            made = names[key].make
            ours = made(value) if made else value
            if ours is not ...:
                yield Wanted(names[key].names, ours, names[key].within)


def equal(want: Wanted, value: Any) -> bool:
    """Return whether a value is the one wanted."""
    if is_number(want.value) and is_number(value):
        return math.isclose(value, want.value, rel_tol=1e-9, abs_tol=want.within)
    return bool(value == want.value) and isinstance(value, bool) is isinstance(want.value, bool)


@dataclass(frozen=True)
class Verdict:
    """What became of a record. `wrong`: it contradicts what is expected; `missing`: it leaves out."""

    outcome: str
    why: str = ""
    asked: bool = True  # it holds something that has a name of ours


OUTCOMES = ("right", "wrong", "missing", "rejected", "unclaimed", "nothing", "unchecked", "down")


def judge(expected: Expected, decoded: Decoded, *, down: bool) -> Verdict:
    """Compare. A record going down must not be taken for news of a device."""
    refused = decoded.rejected is not None
    if down:
        said = [name for reading in decoded.readings for name in reading.fields]
        return Verdict("wrong", f"a command is taken for {', '.join(said)}") if said else Verdict("down")
    if refused:
        if expected.rejected:
            return Verdict("right")
        outcome = "unclaimed" if decoded.unclaimed else "rejected"
        return Verdict(outcome, decoded.rejected or "", not expected.nothing)
    contradictions, missing = _compared(expected, decoded)
    if contradictions:
        return Verdict("wrong", "; ".join(contradictions))
    if expected.nothing:
        return Verdict("unchecked" if any(r.fields for r in decoded.readings) else "nothing", decoded.ignored or "")
    if missing:
        return Verdict("missing", "; ".join([*missing, *decoded.faults]) or decoded.ignored or "")
    return Verdict("right")


def _compared(expected: Expected, decoded: Decoded) -> tuple[list[str], list[str]]:
    contradictions, missing = [], []
    if expected.rejected:
        contradictions.append("it is taken, and should have been refused")
    for want in expected.wanted:
        found = [r.fields[one] for r in decoded.readings for one in want.names if one in r.fields]
        if any(equal(want, value) for value in found) or (want.value is None and not found):
            continue
        if any(value is not None for value in found):  # to say "unknown" contradicts nothing
            contradictions.append(f"{want.names[0]} is {_short(found)}, expected {want.value!r}")
        else:
            missing.append(f"{want.names[0]} is missing, expected {want.value!r}")
    subjects = [reading.subject for reading in decoded.readings]
    strange = [part for part in expected.device if subjects and not any(part in subject for subject in subjects)]
    contradictions += [f"device {_short(subjects)}, expected {part!r}" for part in strange]
    named = {reading.device_class for reading in decoded.readings} - {"unknown"}
    if expected.classes and named and not named & set(expected.classes):
        contradictions.append(f"class {_short(sorted(named))}, expected {' or '.join(expected.classes)}")
    types = {event.type for event in decoded.events}
    if expected.events and not types & set(expected.events):
        missing.append(f"event {' or '.join(expected.events)} is not raised")
    return contradictions, missing


def _short(values: Iterable[Any]) -> str:
    return ", ".join(map(repr, list(values)[:4]))
