"""Commands to polled units: an argument in canonical units -> requests that write registers, the inverse of reading.

A request inherits from the command's field what it does not say itself: type, word order, scale, unit and map, the
other way round. A unit that stands in a register is read by the master just before, so that what is written is right
at that moment (`polling.plan.Choice`). Every value a command may take is tried when the profile is loaded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gateway import units
from gateway.clock import NS_PER_S
from gateway.document import Place
from gateway.errors import DecodeError
from gateway.polling.plan import STEPS_MAX, Choice, Step, Write
from gateway.polling.rtu import READ_BITS
from gateway.profiles import language as lang
from gateway.profiles.check import Check, pointers_of
from gateway.profiles.formats.registers import FORMS, swapped, width
from gateway.profiles.polls import Spot, asking_of, spot_of
from gateway.profiles.times import duration_ns
from gateway.profiles.values import shown, text_of
from gateway.profiles.vocabulary import meaning

WRITABLE = frozenset({*FORMS, "bit"})

Encode = Callable[[Any], Write]
"""Argument -> what is written. Raises DecodeError saying why it cannot be."""


class CompiledWrite(NamedTuple):
    """A command's requests, and how exactly the unit can keep what it is told."""

    encode: Encode
    resolution: float  # canonical unit; 0 when it is no number


class _Rule(NamedTuple):
    """One request, with everything it inherits."""

    said: lang.Write
    type: str
    words: str
    scale: float  # reading = register * scale + offset, in the unit
    offset: float
    maps: Mapping[str, int]
    conversions: Mapping[str, tuple[float, float]]  # text of the unit's register ("": it is known) -> scale, offset
    unit_spot: Spot | None
    step: int


def compile_writes(check: Check, profile: lang.Profile) -> dict[str, tuple[CompiledWrite | None, ...]]:
    """Compile the writes of a profile's commands, beside those of the same name that have none."""
    found: dict[str, tuple[CompiledWrite | None, ...]] = {}
    for i, command in enumerate(profile.command):
        one = _Compiling(check, profile, command, ("command", i)).run() if command.write is not None else None
        found[command.name] = (*found.get(command.name, ()), one)
    return found


class _Compiling:
    """One command."""

    def __init__(self, check: Check, profile: lang.Profile, command: lang.Command, at: Place) -> None:
        self.check, self.profile, self.command, self.at = check, profile, command, at

    def run(self) -> CompiledWrite | None:
        command, before = self.command, len(self.check.faults)
        if not self.profile.poll:
            self.check.fault((*self.at, "write"), "a `write` needs a [[poll]]: it goes to a unit that is polled")
            return None
        said = command.write if isinstance(command.write, list) else [command.write] if command.write else []
        if not 1 <= len(said) <= STEPS_MAX:
            self.check.fault((*self.at, "write"), f"a command is 1 to {STEPS_MAX} requests")
            return None
        rules = [self.check.attempt((*self.at, "write"), self._rule, one) for one in said]
        confirm = self.check.attempt((*self.at, "confirm"), self._confirm) or ()
        if None in rules or len(self.check.faults) > before:
            return None
        within_s = duration_ns(command.confirm.within) / NS_PER_S if command.confirm else 0.0
        once = any(rule.said.once for rule in rules)

        def encode(value: Any) -> Write:
            return Write(tuple(_step(rule, value) for rule in _of(rules, value)), confirm, within_s, once)

        for value in _samples(command.arg):
            try:
                encode(value)
            except DecodeError as error:
                self.check.fault((*self.at, "write"), f"for {shown(value)}: {error}")
        return CompiledWrite(encode, max((_resolution(rule) for rule in rules), default=0.0))

    def _confirm(self) -> tuple[str, ...]:
        """Return the polls that show what was written: the one it names, or the one of the command's field."""
        confirm, polls = self.command.confirm, {poll.name for poll in self.profile.poll}
        if confirm is not None and confirm.readback:
            name = confirm.readback.partition("/")[0]
            if "/" in confirm.readback:
                spot_of(self.profile, confirm.readback)
            elif name not in polls:
                raise ValueError(f"there is no poll {name!r}")
            return (name,)
        fields = [field for field in self.profile.field if field.name == self.command.field]
        return tuple(dict.fromkeys(spot_of(self.profile, one).poll.name for f in fields for one in _sources(f)))

    def _rule(self, said: lang.Write) -> _Rule:
        """Complete a request by the field it sets. ValueError when that does not fit."""
        if len(said.values) > 123 or (said.values and said.function != 16):
            raise ValueError("`values` are at most 123 registers of function 16")
        field = self._field(said)
        bits, asking = said.function == 5, asking_of(self.profile)
        if said.function not in asking.writes:
            raise ValueError(f"function {said.function} is none of {asking.writes}")
        spot = spot_of(self.profile, _sources(field)[0]) if field else None
        read = "bit" if spot and spot.poll.function in READ_BITS else field.type if field else None
        kind = said.type or (read if read in WRITABLE else None) or ("bit" if bits else asking.plain)
        if bits is not (kind == "bit"):
            raise ValueError(f"function {said.function} writes {'a bit' if bits else 'registers'}, not {kind}")
        if said.function == 6 and width(kind) > 1:  # type: ignore[arg-type]
            raise ValueError(f"{kind} takes {width(kind)} registers: function 16")  # type: ignore[arg-type]
        words = said.words or (field.words if field else None) or (spot.poll.words if spot else "high-first")
        inherits = field is not None and said.scale is None and said.offset is None
        conversions, unit_spot = self._units(said, field)
        return _Rule(
            said,
            kind,
            words,
            field.scale if inherits and field else 1.0 if said.scale is None else said.scale,
            field.offset if inherits and field else said.offset or 0.0,
            said.map or _inverse(field),
            conversions,
            unit_spot,
            asking.step,
        )

    def _field(self, said: lang.Write) -> lang.Field | None:
        """Return the field that reads the register, or the first of the command's field's name."""
        mine = [field for field in self.profile.field if field.name == self.command.field and _sources(field)]
        for field in mine:
            spots = [spot_of(self.profile, one) for one in _sources(field)]
            if any(spot.poll.start + spot.at == said.register for spot in spots):
                return field
        return None if said.map or said.values or said.value is not None or not mine else mine[0]

    def _units(self, said: lang.Write, field: lang.Field | None) -> tuple[dict[str, tuple[float, float]], Spot | None]:
        """Return how the device's unit becomes the argument's, for each unit it may be in."""
        means = meaning(self.command.field) if self.command.field else None
        canonical = (self.command.arg.unit if self.command.arg else None) or (means.unit if means else None)
        if said.unit is None and field is not None and field.unit_from is not None:
            spot = spot_of(self.profile, pointers_of(field.unit_from.source)[0])
            return {text: units.conversion(u, canonical or u) for text, u in field.unit_from.map.items()}, spot
        unit = said.unit or (field.unit if field else None)
        if unit is not None and unit not in units.UNITS:
            raise ValueError(f"unknown unit {unit!r}")
        return {"": units.conversion(unit, canonical or units.UNITS[unit].code) if unit else (1.0, 0.0)}, None


def _sources(field: lang.Field) -> list[str]:
    return [one for one in pointers_of(field.source) if one]


def _inverse(field: lang.Field | None) -> dict[str, int]:
    """Return a field's map the other way round: text of the value -> register; of several the first."""
    found: dict[str, int] = {}
    for text, value in field.map.items() if field else ():
        if text.isdecimal():
            found.setdefault(text_of(value), int(text))
    return found


def _of(rules: list[_Rule], value: Any) -> list[_Rule]:
    """Return the requests for an argument: those that name it, else those that name none."""
    text = text_of(value)
    named = [rule for rule in rules if text in _named(rule)]
    return named or [rule for rule in rules if not _named(rule)]


def _named(rule: _Rule) -> list[str]:
    return [rule.said.when] if isinstance(rule.said.when, str) else rule.said.when


def _step(rule: _Rule, value: Any) -> Step:
    said = rule.said
    if said.values:
        return Step(16, said.register, len(said.values), b"".join(_packed("uint16", "", n) for n in said.values))
    count = width(rule.type, rule.step)  # type: ignore[arg-type]
    if rule.unit_spot is None:
        return Step(said.function, said.register, count, _data(rule, _raw(rule, value, rule.conversions.get(""))))
    data = {text: _data(rule, _raw(rule, value, steps)) for text, steps in rule.conversions.items()}
    return Step(
        said.function,
        said.register,
        count,
        choice=Choice(rule.unit_spot.poll.name, rule.step * rule.unit_spot.at, data),
    )


def _raw(rule: _Rule, value: Any, steps: tuple[float, float] | None) -> float:
    """Return what the register is to hold."""
    if rule.said.value is not None:
        return rule.said.value
    if rule.maps:
        found = rule.maps.get(text_of(value))
        if found is None:
            raise DecodeError(f"{shown(value)} is none of {', '.join(rule.maps)}")
        return found
    if value.__class__ is bool:
        return int(value)
    if not isinstance(value, (int, float)):
        raise DecodeError(f"{shown(value)} is no number, and there is no map")
    scale, offset = steps or (1.0, 0.0)
    return ((value - offset) / scale - rule.offset) / rule.scale


def _data(rule: _Rule, raw: float) -> bytes:
    if rule.type == "bit":
        return b"\xff\x00" if raw else b"\x00\x00"
    return _packed(rule.type, rule.words, raw)


def _packed(kind: str, words: str, raw: float) -> bytes:
    number = raw if kind.startswith("float") else round(raw)
    try:
        content = struct.pack(FORMS[kind], number)
    except (struct.error, OverflowError):
        raise DecodeError(f"{raw:g} does not fit {kind}") from None
    return swapped(content) if words == "low-first" else content


def _resolution(rule: _Rule) -> float:
    """Return how far apart neighbouring numbers are that a register can hold, in the canonical unit."""
    if rule.maps or rule.said.value is not None or rule.said.values or rule.type.startswith(("float", "bit")):
        return 0.0
    return max((abs(rule.scale * scale) for scale, _ in rule.conversions.values()), default=0.0)


def _samples(argument: lang.Argument | None) -> list[Any]:
    """Return values to try: all that are listed, the ends of a range."""
    if argument is None:
        return [None]
    if argument.type == "number":
        return [each for each in (argument.min, argument.max) if each is not None] or [0]
    return [True, False] if argument.type == "bool" else list(argument.values)
