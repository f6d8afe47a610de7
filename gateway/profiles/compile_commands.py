"""The [[command]] tables of a profile, checked."""

from __future__ import annotations

import re

from gateway import units
from gateway.document import Place
from gateway.errors import DecodeError, probably_meant
from gateway.profiles import language as lang
from gateway.profiles.check import Check
from gateway.profiles.compiled import captures_of
from gateway.profiles.outgoing import serial_bytes
from gateway.profiles.template import NameTemplate, TopicTemplate
from gateway.profiles.times import duration_ns
from gateway.profiles.values import steps_of
from gateway.profiles.vocabulary import meaning

_SERIAL = ("line", "hex", "write")
_BRACES = re.compile(r"\{[^{}]*\}")


def compile_commands(check: Check, profile: lang.Profile) -> dict[str, tuple[lang.Command, ...]]:
    """Check the commands; of one name there may be several."""
    found: dict[str, tuple[lang.Command, ...]] = {}
    lists = [m.fields for m in profile.message if isinstance(m.fields, list)]
    named = {f.name: f for fields in [profile.field, *lists] for f in fields}
    for i, command in enumerate(profile.command):
        at: Place = ("command", i)
        _check_way(check, profile, command, at)
        for key, name in (("field", command.field), ("confirm", command.confirm and command.confirm.field)):
            if name and name not in named:
                check.fault((*at, key), f"no field {name!r} here", probably_meant(name, named))
        for key in ("rate", "expires"):
            check.attempt((*at, key), duration_ns, getattr(command, key))
        if command.confirm:
            _check_confirm(check, profile, command, command.confirm, (*at, "confirm"))
        if command.unit and command.unit not in units.UNITS:
            check.fault((*at, "unit"), f"unknown unit {command.unit!r}", probably_meant(command.unit, units.UNITS))
        if command.arg:
            _check_argument(check, command.arg, (*at, "arg"))
        if command.inverse:
            _check_inverse(check, command, named.get(command.field or ""), at)
        found[command.name] = (*found.get(command.name, ()), command)
    return found


def _check_way(check: Check, profile: lang.Profile, command: lang.Command, at: Place) -> None:
    """Check where it goes: a topic, a port, a unit on a bus."""
    serial = profile.link.kind == "serial"
    kind = next(key for key in ("json", "text", *_SERIAL) if getattr(command, key) is not None)
    if command.topic:
        check.attempt((*at, "topic"), NameTemplate, command.topic)
    if command.topic and kind in _SERIAL:
        check.fault((*at, "topic"), f"a `{kind}` has no `topic`: it goes to the port")
    if not command.topic and not serial:
        check.fault(at, "missing key 'topic'")
    if kind in _SERIAL and not serial:
        check.fault((*at, kind), f"`{kind}` needs kind = 'serial'")
    if command.hex is not None:
        try:
            serial_bytes(command.hex, dict.fromkeys(captures_of(command), "00"), 0)
        except DecodeError as error:
            check.fault((*at, "hex"), str(error))
    known = set(NameTemplate(profile.device.id).paths) if _is_template(profile.device.id) else set()
    known |= {
        path for m in profile.message if m.device and _is_template(m.device) for path in NameTemplate(m.device).paths
    }
    for name in sorted(captures_of(command)):
        if name.startswith("/") and name not in known:
            hint = probably_meant(name, known)
            check.fault(at, f"{{{name}}} is not known of a device: its id is not made of it", hint)


def _is_template(text: str) -> bool:
    try:
        NameTemplate(text)
    except ValueError:
        return False
    return True


def _check_confirm(
    check: Check, profile: lang.Profile, command: lang.Command, confirm: lang.Confirm, at: Place
) -> None:
    check.attempt((*at, "within"), duration_ns, confirm.within)
    if confirm.topic and check.attempt((*at, "topic"), NameTemplate, confirm.topic) and not _is_read(profile, confirm):
        check.fault((*at, "topic"), f"no message here reads {confirm.topic!r}")
    if not (confirm.field or confirm.topic or confirm.readback or command.field):
        check.fault(at, "nothing confirms it: write `field`, `topic` or `readback`")


def _is_read(profile: lang.Profile, confirm: lang.Confirm) -> bool:
    """Return whether a message reads the topic that confirms: told by one made up for the captures."""
    topic = _BRACES.sub("x", confirm.topic or "").split("/")
    found = (text for message in profile.message if message.fields for text in message.topics)
    return any(_fits(text, topic) for text in [*found, *profile.link.topics])


def _fits(text: str, topic: list[str]) -> bool:
    try:
        template = TopicTemplate(text)
    except ValueError:
        return True  # said where it stands
    defaults = {segment.default: "x" for segment in template.segments if segment.default}
    return template.bound(defaults).match(topic) is not None or template.bound({}).match(topic) is not None


def _check_argument(check: Check, argument: lang.Argument, at: Place) -> None:
    if argument.unit:
        unit = units.UNITS.get(argument.unit)
        if unit is None:
            check.fault((*at, "unit"), f"unknown unit {argument.unit!r}", probably_meant(argument.unit, units.UNITS))
        elif unit.code != argument.unit:
            check.fault((*at, "unit"), f"{argument.unit!r} is not what rules say", f"write {unit.code!r}")
    if (argument.type == "enum") is not bool(argument.values):
        check.fault(at, "an enum has `values`, and nothing else has")
    limits = [key for key in ("unit", "min", "max", "step") if getattr(argument, key) is not None]
    if argument.type != "number" and limits:
        check.fault((*at, limits[0]), f"{limits[0]!r} is for a number")
    if argument.min is not None and argument.max is not None and argument.min > argument.max:
        check.fault((*at, "min"), f"min {argument.min:g} is more than max {argument.max:g}")
    if argument.step is not None and argument.step <= 0:
        check.fault((*at, "step"), "a step is more than 0")


def _check_inverse(check: Check, command: lang.Command, field: lang.Field | None, at: Place) -> None:
    for key in ("map", "unit"):
        if getattr(command, key):
            check.fault((*at, key), f"either {key!r} or `inverse`")
    if field is None:
        check.fault((*at, "inverse"), "`inverse` needs the `field` that is read")
        return
    if field.unit_from or field.guard or field.value is not None or field.source == "":
        check.fault((*at, "inverse"), f"{field.name!r} cannot be turned round: write `map` or `unit`")
        return
    means = meaning(field.name)
    steps = check.attempt(("field",), steps_of, field, means.unit if means else None)
    if steps is not None and steps[0] == 0:
        check.fault((*at, "inverse"), f"{field.name!r} has a scale of 0")
