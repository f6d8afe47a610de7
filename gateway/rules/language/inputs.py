"""Declared inputs: what people tell the house, such as whether there are guests or how warm the night shall be.

::

    [inputs.guests]
    type = "boolean"

    [inputs.target_night]
    type = "number"
    default = 17
    min = 12
    max = 21
    unit = "Cel"

    [inputs.washing]
    type = "choice"
    values = ["none", "cotton", "wool"]

A row of the table "inputs" (by name) is ``{value, since, actor}``.  A row that does not fit its declaration any more
counts as none: then the default is the value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from gateway.errors import probably_meant
from gateway.rules.engine.tables import INPUTS, Rows

CHANGED = "input_changed"  # the event: input, value, was
PREFIX = "inputs."  # in where= of a rule: {"inputs.guests": False}
VALUES_MAX = 100  # of a choice
_WORDS: Mapping[str, bool] = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip

Value = bool | int | float | str


class InputOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that people tell the house, and rules read."""

    type: Literal["boolean", "number", "choice"]
    default: bool | int | float | str | None = None  # before anybody said; else false, min or 0, or the first value
    min: float | None = None  # of a number
    max: float | None = None  # of a number
    unit: str = ""  # of a number, for people: "Cel"
    values: tuple[str, ...] = ()  # of a choice
    title: str = ""  # what it is, for people

    def __post_init__(self) -> None:
        if (self.type == "choice") != bool(self.values) or len(self.values) > VALUES_MAX:
            raise ValueError(f"values = [...] belongs to a choice, at most {VALUES_MAX} of them")
        if self.type != "number" and (self.min is not None or self.max is not None or self.unit):
            raise ValueError("min, max and unit belong to a number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min:g} and max is {self.max:g}")
        if self.default is not None:
            self.checked(self.default)

    @property
    def initial(self) -> Value:
        """What it is before anybody said."""
        if self.default is not None:
            return self.default
        return {"boolean": False, "number": self.min or 0.0}.get(self.type, self.values[0] if self.values else "")

    def checked(self, value: Any) -> Value:
        """Return a value as the input takes it. ValueError says what it takes."""
        if self.type == "boolean":
            if not isinstance(value, bool):
                raise ValueError(f"{value!r} is not true or false")
            return value
        if self.type == "choice":
            if value not in self.values:
                hint = probably_meant(str(value), self.values)
                raise ValueError(f"{value!r} is not one of {', '.join(self.values)}" + (f" ({hint})" if hint else ""))
            return str(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{value!r} is not a number")
        low, high = -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max
        if not low <= value <= high:
            raise ValueError(f"{value:g} is outside {low:g} to {high:g}")
        return value

    def read(self, text: str) -> Value:
        """Read what a person typed. ValueError says what it takes."""
        if self.type == "boolean":
            return self.checked(_WORDS.get(text.strip().lower(), text))
        if self.type == "choice":
            return self.checked(text)
        try:
            number = float(text)
        except ValueError:
            return self.checked(text)
        return self.checked(int(number) if number.is_integer() else number)

    @property
    def takes(self) -> str:
        """What it takes, for a person."""
        if self.type == "boolean":
            return "true or false"
        if self.type == "choice":
            return ", ".join(self.values)
        low, high = (None if each is None else f"{each:g}" for each in (self.min, self.max))
        span = {(True, True): f"{low} to {high}", (True, False): f"from {low}", (False, True): f"up to {high}"}
        unit = f" {self.unit}" if self.unit else ""
        return span.get((low is not None, high is not None), "a number") + unit


def value_of(inputs: Mapping[str, InputOptions], name: str, row: Mapping[str, Any] | None) -> Value:
    """Return what a declared input is, given its row. LookupError says which was probably meant."""
    options = inputs.get(name)
    if options is None:
        raise LookupError(unknown(inputs, name))
    if row is not None:
        try:
            return options.checked(row.get("value"))
        except ValueError:
            return options.initial
    return options.initial


def unknown(inputs: Mapping[str, Any], name: str) -> str:
    """Say that an input is not declared, and which was probably meant."""
    hint = probably_meant(name, inputs) or (f"there are {', '.join(sorted(inputs))}" if inputs else "")
    return f"there is no input {name!r}" + (f", {hint}" if hint else f": declare it with [inputs.{name}]")


class Inputs:
    """The inputs as attributes: `ctx.inputs.guests`."""

    __slots__ = ("_anything", "_declared", "_rows")

    def __init__(self, declared: Mapping[str, InputOptions], rows: Rows, *, anything: bool = False) -> None:
        self._declared = declared
        self._rows = rows
        self._anything = anything

    def __getitem__(self, name: str) -> Any:
        row = self._rows.get(INPUTS, name)
        if self._anything and name not in self._declared:
            if row is None:
                raise LookupError(f"nobody said what the input {name!r} is: in a test, house.input({name!r}, ...) does")
            return row["value"]
        return value_of(self._declared, name, row)

    def __getattr__(self, name: str) -> Any:
        """Return what an input is."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._declared))
