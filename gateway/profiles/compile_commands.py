"""The [[command]] tables of a profile, checked."""

from __future__ import annotations

from gateway import units
from gateway.document import Place
from gateway.errors import probably_meant
from gateway.profiles import language as lang
from gateway.profiles.check import Check
from gateway.profiles.template import NameTemplate


def compile_commands(check: Check, profile: lang.Profile) -> dict[str, tuple[lang.Command, ...]]:
    """Check the commands; of one name there may be several."""
    found: dict[str, tuple[lang.Command, ...]] = {}
    lists = [m.fields for m in profile.message if isinstance(m.fields, list)]
    named = {f.name for fields in [profile.field, *lists] for f in fields}
    for i, command in enumerate(profile.command):
        at: Place = ("command", i)
        if command.topic:
            check.attempt((*at, "topic"), NameTemplate, command.topic)
        if command.field and command.field not in named:
            check.fault((*at, "field"), f"no field {command.field!r} here", probably_meant(command.field, named))
        for unit in (command.unit, command.arg.unit if command.arg else None):
            if unit and unit not in units.UNITS:
                check.fault((*at, "unit"), f"unknown unit {unit!r}", probably_meant(unit, units.UNITS))
        found[command.name] = (*found.get(command.name, ()), command)
    return found
