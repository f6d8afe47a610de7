"""Raw values to canonical ones: numbers, bools, enums, text, lists, times; lenient where devices are sloppy.

`converter` compiles one field's rules to one function ``(raw, whole message) -> value``. None means the device says
it does not know (null, a sentinel, out of range). A value that is none of what the field may be raises
DecodeError, which costs that field, not the message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from gateway import units
from gateway.errors import DecodeError, probably_meant
from gateway.profiles.language import Condition, Field
from gateway.profiles.pointer import ABSENT, Read, first_of
from gateway.profiles.times import time_text
from gateway.profiles.vocabulary import ENUMS, Meaning

LEARNED = "$learned"  # where a message holds what was learned of its device (`learned.py`)
TEXT_CHARS_MAX = 1024  # a text field; longer is cut off, it is no measurement
LIST_MEMBERS_MAX = 64
HEX_DIGITS_MAX = 16  # of a number sent as hexadecimal text: 64 bits
SIGNED_BITS = 16  # of a number with a sign among its bits, unless the profile says otherwise
_DIGITS_MAX = 40  # of a number sent as text
_HEX = frozenset("0123456789abcdef")

Convert = Callable[[Any, Any], Any]
Test = Callable[[Any], bool]

_UNKNOWN = frozenset({"", "null", "none", "nan", "n/a", "na", "-", "--", "unknown", "unavailable", "undefined"})
_BOOLS = {
    "true": True, "1": True, "on": True, "yes": True,
    "false": False, "0": False, "off": False, "no": False,
}  # fmt: skip


class Misfit(ValueError):
    """A key of a field that cannot be what it says."""

    def __init__(self, key: str, what: str) -> None:
        self.key = key
        super().__init__(what)


def text_of(raw: Any) -> str:
    """Return the text form by which maps and conditions compare: ``true``, ``1``, ``ON``, ``21.5``."""
    if raw.__class__ is str:
        return str(raw)
    if raw is True or raw is False:
        return "true" if raw else "false"
    if raw is None:
        return "null"
    if raw.__class__ is float and raw.is_integer() and abs(raw) < 1e15:
        return str(int(raw))
    return str(raw)[:TEXT_CHARS_MAX]


def shown(raw: Any) -> str:
    """Return a short rendering of a raw value for a reason."""
    text = f'"{raw}"' if raw.__class__ is str else text_of(raw)
    return text if len(text) <= 40 else f"{text[:37]}..."


def number(raw: Any) -> float | int | None:
    """Return a number, also from text. A bool is none. DecodeError if it is no finite number."""
    if raw.__class__ is int or raw.__class__ is float:
        return raw
    if raw is None:
        return None
    if raw.__class__ is str:
        text = raw.strip()
        if text.lower() in _UNKNOWN:
            return None
        if len(text) <= _DIGITS_MAX and text.isascii() and "_" not in text:
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if math.isfinite(value):
                return int(text) if text.lstrip("+-").isdigit() and len(text) < 18 else value
    raise DecodeError(f"{shown(raw)} is not a number")


def plain_number(raw: Any, _: Any) -> float | int | None:
    """Read a number that needs no conversion and no check; the decoder does this one without a call."""
    return number(raw)


def condition(wanted: Condition) -> Test:
    """Compile a condition to a function of the message. ValueError for a bad pointer."""
    read = first_of([f"/{LEARNED}/{wanted.learned}" if wanted.learned else wanted.path or ""])
    if wanted.within is not None:
        return _within(read, *wanted.within)
    if wanted.equals is None:
        return (lambda m: read(m) is not ABSENT) if wanted.exists else (lambda m: read(m) is ABSENT)
    allowed = frozenset(map(text_of, wanted.equals if isinstance(wanted.equals, list) else [wanted.equals]))

    def test(message: Any) -> bool:
        value = read(message)
        return value is not ABSENT and text_of(value) in allowed

    return test


def _within(read: Read, low: float, high: float) -> Test:
    def test(message: Any) -> bool:
        try:
            value = number(read(message))
        except DecodeError:
            return False
        return value is not None and low <= value <= high

    return test


def converter(field: Field, meaning: Meaning) -> Convert:
    """Compile a field. Raises Misfit with the key that is wrong in the profile."""
    if field.value is not None:
        return _constant(field, meaning)
    kind = field.type or meaning.type
    if field.map and kind in ("number", "text"):
        kind = "enum"
    if field.force and not field.map:
        raise Misfit("force", "`force` needs a `map`: it is one more value of it")
    convert: Convert
    if kind == "number":
        convert = _number_converter(field, meaning)
    elif kind in ("bool", "enum"):
        convert = _mapped(field, meaning, kind)
    elif kind == "list":
        convert = _list_of
    elif kind == "time":
        convert = _time_of
    else:
        convert = _text_converter(frozenset(map(text_of, field.null)))
    return convert


def reader(field: Field, read: Read) -> Read:
    """Wrap a field's read with its `when` (otherwise absent), `force` and `valid_if` (otherwise unknown)."""
    tests = [condition(wanted) for wanted in field.when]
    valid = condition(field.valid_if) if field.valid_if else None
    forced = [(condition(force.when), _forced(i)) for i, force in enumerate(field.force)]
    if not tests and valid is None and not forced:
        return read

    def checked(member: Any) -> Any:
        for test in tests:
            if not test(member):
                return ABSENT
        for test, key in forced:
            if test(member):
                return key
        raw = read(member)
        return raw if raw is ABSENT or valid is None or valid(member) else None

    return checked


def _forced(number: int) -> str:
    """Return the raw value that stands for a `force` in the field's map; no device sends it."""
    return f"\0force {number}"


def _constant(field: Field, meaning: Meaning) -> Convert:
    """Return what gives the same value whenever it is asked."""
    value = field.value
    said = "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    wanted = "text" if meaning.type in ("enum", "text") else meaning.type
    if said != wanted or ((allowed := ENUMS.get(field.name)) and value not in allowed):
        raise Misfit("value", f"{value!r} is no value of {field.name!r}")
    if field.source or field.map:
        raise Misfit("value", "`value` stands alone: no `from` and no `map` beside it")
    return lambda _raw, _message: value


def _number_converter(field: Field, meaning: Meaning) -> Convert:
    canonical = meaning.unit
    steps = steps_of(field, canonical)
    nulls = frozenset(v for v in field.null if isinstance(v, (int, float)))
    low, high = field.range or (-math.inf, math.inf)
    guard = field.guard
    guarded = _conversion(guard.unit, canonical, "guard") if guard else (1.0, 0.0)
    unit_from = _unit_reader(field, canonical) if field.unit_from else None
    read = _numeral(field)
    if field.span:
        low, high = max(low, min(field.span.raw)), min(high, max(field.span.raw))
    if not (nulls or field.range or field.span or guard or unit_from) and steps == (1.0, 0.0) and read is number:
        return plain_number

    def convert(raw: Any, message: Any) -> Any:
        value = read(raw)
        if value is None or value in nulls or not low <= value <= high:
            return None
        scale, offset = unit_from(message) if unit_from else steps
        if guard and value < guard.if_below:
            scale, offset = guarded
        return value if scale == 1.0 and offset == 0.0 else round(value * scale + offset, units.DECIMALS)

    return convert


def _numeral(field: Field) -> Callable[[Any], float | int | None]:
    """Return how a raw number is read: decimal or hexadecimal text, with a sign among its bits or without."""
    if field.bits is not None and field.sign == "none":
        raise Misfit("bits", "`bits` needs `sign`: it says which bit that is")
    if field.numeral == "decimal" and field.sign == "none":
        return number
    sign, width, base = field.sign, field.bits, 16 if field.numeral == "hex" else 10

    def read(raw: Any) -> float | int | None:
        digits = 0
        value: float | int | None
        if base == 16 and raw.__class__ is str:
            text = raw.strip().lower().removeprefix("0x")
            value = _hexadecimal(text)
            digits = len(text)
        elif base == 16 and raw is not None:
            raise DecodeError(f"{shown(raw)} is not hexadecimal text")
        else:
            value = number(raw)
        if sign == "none" or value is None:
            return value
        bits = width or 4 * digits or SIGNED_BITS
        if value.__class__ is not int or not 0 <= value < 1 << bits:
            raise DecodeError(f"{shown(raw)} is no number of {bits} bits")
        top = 1 << (bits - 1)
        if value < top:
            return value
        return value - 2 * top if sign == "twos" else top - value

    return read


def _hexadecimal(text: str) -> int | None:
    if text in _UNKNOWN:
        return None
    if not text or len(text) > HEX_DIGITS_MAX or set(text) - _HEX:
        raise DecodeError(f"{shown(text)} is not hexadecimal")
    return int(text, 16)


def steps_of(field: Field, canonical: str | None) -> tuple[float, float]:
    """Return (scale, offset) of the field's own scale followed by its unit's. Misfit for a key that cannot be."""
    if field.unit_from and (field.unit or field.scale != 1.0 or field.offset or field.span):
        raise Misfit("unit_from", "`unit_from` stands alone: no `unit`, `scale`, `offset` or `span` beside it")
    scale, offset = _conversion(field.unit, canonical, "unit") if field.unit else (1.0, 0.0)
    if field.span:
        if field.scale != 1.0 or field.offset:
            raise Misfit("span", "`span` stands instead of `scale` and `offset`")
        (first, last), (bottom, top) = field.span.raw, field.span.value
        slope = (top - bottom) / (last - first)
        return slope * scale, (bottom - slope * first) * scale + offset
    return field.scale * scale, field.offset * scale + offset


def _conversion(unit: str, canonical: str | None, key: str) -> tuple[float, float]:
    try:
        return units.conversion(unit, canonical or units.UNITS[unit].code)
    except KeyError:
        near = probably_meant(unit, units.UNITS)
        raise Misfit(key, f"unknown unit {unit!r}" + (f" ({near})" if near else "")) from None
    except ValueError as error:
        raise Misfit(key, str(error)) from None


def _unit_reader(field: Field, canonical: str | None) -> Callable[[Any], tuple[float, float]]:
    assert field.unit_from
    source = field.unit_from.source
    read = first_of([source] if isinstance(source, str) else source)
    table = {text: _conversion(unit, canonical, "unit_from") for text, unit in field.unit_from.map.items()}

    def unit(message: Any) -> tuple[float, float]:
        raw = read(message)
        if raw is ABSENT:
            return (1.0, 0.0)  # dialects leave the unit out when it is the usual one
        found = table.get(text_of(raw))
        if found is None:
            raise DecodeError(f"unit {shown(raw)} is none of {', '.join(table)}")
        return found

    return unit


def _mapped(field: Field, meaning: Meaning, kind: str) -> Convert:
    table: dict[str, Any] = dict(field.map) or (dict(_BOOLS) if kind == "bool" else {})
    if not table:
        raise Misfit("map", "an enum needs a `map`")
    table |= {_forced(i): force.value for i, force in enumerate(field.force)}
    allowed = ENUMS.get(field.name)
    for text, value in table.items():
        if meaning.type == "bool" and not isinstance(value, bool):
            raise Misfit("map", f"`map`: {text!r} leads to {value!r}, the field is true or false")
        if allowed and value not in allowed:
            raise Misfit("map", f"`map`: {value!r} is not one of {', '.join(sorted(allowed))}")
    nulls = frozenset(map(text_of, field.null))
    fallback = field.fallback

    def convert(raw: Any, _: Any) -> Any:
        if raw is None:
            return None
        key = raw if raw.__class__ is str else text_of(raw)
        if key in table:
            return table[key]
        if raw.__class__ is dict or raw.__class__ is list:
            raise DecodeError(f"{'an object' if raw.__class__ is dict else 'a list'} is none of {', '.join(table)}")
        return _unlisted(key, table, nulls, fallback)

    return convert


def _unlisted(key: str, table: Mapping[str, Any], nulls: frozenset[str], fallback: Any) -> Any:
    """Read a text that is not in the map as it stands: other case, a sentinel, or the `else`."""
    if key in nulls:
        return None
    folded = key.strip().lower()
    for text, value in table.items():
        if text.lower() == folded:
            return value
    if folded in _UNKNOWN:
        return None
    if fallback is None:
        raise DecodeError(f"{shown(key)} is none of {', '.join(table)}")
    return fallback


def _text_converter(nulls: frozenset[str]) -> Convert:
    def convert(raw: Any, _: Any) -> Any:
        if raw is None or raw == "":
            return None
        if raw.__class__ in (dict, list):
            raise DecodeError(f"{'an object' if raw.__class__ is dict else 'a list'} is not text")
        text = text_of(raw)[:TEXT_CHARS_MAX]
        return None if text in nulls else text

    return convert


def _list_of(raw: Any, _: Any) -> Any:
    if raw is None:
        return None
    if raw.__class__ is not list:
        raise DecodeError(f"{shown(raw)} is not a list")
    return [text_of(member) for member in raw[:LIST_MEMBERS_MAX]]


def _time_of(raw: Any, _: Any) -> Any:
    return None if raw is None else time_text(raw)
