"""All fault codes by what people type."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from gateway.codes import clock, config, disk, rules, service, sources, targets
from gateway.codes.code import PREFIX, Code
from gateway.errors import probably_meant

HUNDREDS: tuple[tuple[ModuleType, str], ...] = (
    (config, "config, devices.toml, profiles"),
    (targets, "targets, routes, notifications"),
    (sources, "sources, devices, serial lines"),
    (disk, "disk, journal, dead letters"),
    (rules, "rules, alerts"),
    (clock, "clock, identity"),
    (service, "the service: reload, apply, the program itself"),
)
"""The module of 1xx, of 2xx … and what is in it."""


def constants(module: ModuleType) -> Iterator[tuple[str, Code]]:
    """Yield (name in the source, code) of one hundred."""
    return ((name, found) for name, found in vars(module).items() if isinstance(found, Code))


CODES: dict[str, Code] = {str(code): code for module, _ in HUNDREDS for _, code in constants(module)}


def looks_like_one(word: str) -> bool:
    """Return whether a person meant a fault code: EG-204, eg-204, EG204, but not the id of an event."""
    digits = word.upper().removeprefix("EG").lstrip("-")
    return word[:2].upper() == "EG" and (digits.isdecimal() or not digits)


def find(word: str) -> Code:
    """Return the code that a person typed. KeyError with a hint when there is none."""
    name = PREFIX + word.upper().removeprefix("EG").lstrip("-")
    if found := CODES.get(name):
        return found
    hint = probably_meant(name, CODES) or f"there are {', '.join(CODES)}"
    raise KeyError(f"there is no fault code {name}, {hint}")
