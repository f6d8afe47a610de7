"""Commands: an argument in canonical units -> topic and payload, the inverse of decoding.

Which profile and which topic come from the notes kept beside the device's values; a device that was never
heard cannot be sent to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway import units
from gateway.clock import NS_PER_S
from gateway.errors import DecodeError, probably_meant
from gateway.polling.plan import encoded
from gateway.polling.request import BROADCAST
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.compiled import Compiled, captures_of
from gateway.profiles.language import Argument, Command, Confirm
from gateway.profiles.outgoing import filled, inverse_of, line_bytes, serial_bytes
from gateway.profiles.polls import WRITE
from gateway.profiles.report import NOTES
from gateway.profiles.template import NameTemplate
from gateway.profiles.times import duration_ns
from gateway.profiles.values import number, shown, text_of
from gateway.profiles.writes import CompiledWrite
from gateway.topic import is_name

TEXT_CHARS_MAX = 1024  # of a text argument


class Terms(NamedTuple):
    """What counts for a command beside its bytes. Seconds; 0 is: nothing said."""

    rate_s: float  # at least so long between two of them to one device; of several that wait, the newest
    expires_s: float  # it may wait so long for the device
    once: bool  # never sent again: doing it twice is something else
    confirm: Confirm | None


def terms(catalogue: Catalogue, known: Mapping[str, Any] | None, device_id: str, name: str) -> Terms:
    """Return what counts for a command. Raises DecodeError when the device does not take it."""
    _, command = _found(catalogue, known, device_id, name)
    rate, expires = duration_ns(command.rate) / NS_PER_S, duration_ns(command.expires) / NS_PER_S
    return Terms(rate, expires, command.once, command.confirm)


def _found(
    catalogue: Catalogue, known: Mapping[str, Any] | None, device_id: str, name: str
) -> tuple[Compiled, Command]:
    notes = (known or {}).get(NOTES, {})
    profile = catalogue.profiles.get(notes.get("profile", ""))
    if profile is None:
        raise DecodeError(f"{device_id} has not been heard yet: no profile is known for it")
    command = _fitting(profile.commands.get(name, ()), notes)
    if command is None:
        takes = sorted(commands_of(profile, notes))
        hint = probably_meant(name, takes) or (f"it takes {', '.join(takes)}" if takes else "it takes none")
        raise DecodeError(f"{profile.source.id} has no command {name!r} for this device ({hint})")
    return profile, command


def encode(
    catalogue: Catalogue, known: Mapping[str, Any] | None, device_id: str, name: str, value: Any
) -> tuple[str, bytes]:
    """Return topic and payload. Raises DecodeError saying why the command cannot be sent."""
    profile, command = _found(catalogue, known, device_id, name)
    notes = (known or {}).get(NOTES, {})
    captures = notes.get("captures", {})
    if command.write is not None:
        return _write(profile, command, checked(command.arg, value), captures, device_id)
    sent = _sent(profile, command, checked(command.arg, value))
    # what goes down a serial line goes to its source, whatever the topic
    topic = NameTemplate(command.topic).render(captures) if command.topic else device_id.partition("/")[0]
    if not is_name(topic):
        raise DecodeError(f"{topic!r} is no topic to publish to")
    if command.hex is not None:
        return topic, serial_bytes(command.hex, captures, sent)
    if command.line is not None:
        return topic, line_bytes(profile.source.link.framing, command.line, captures, sent)
    if command.text is not None:
        text = text_of(sent) if command.text == "$value" else command.text.replace("$value", text_of(sent))
        return topic, filled(text, captures).encode()
    content = _fill(command.json, sent, notes.get("alias", {}), profile, captures)
    return topic, json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _write(
    profile: Compiled, command: Command, value: Any, captures: Mapping[str, str], device_id: str
) -> tuple[str, bytes]:
    """Return where a polled unit is written to, and the requests."""
    write = _compiled_write(profile, command)
    if write is None:
        raise DecodeError(f"{profile.source.id} has no request for {command.name!r}")
    done = msgspec.structs.replace(write.encode(value), device=device_id, command=command.name, value=value)
    return f"{device_id.partition('/')[0]}/{captures['address']}/{WRITE}", encoded(done)


def _compiled_write(profile: Compiled, command: Command) -> CompiledWrite | None:
    pairs = zip(profile.commands[command.name], profile.writes[command.name], strict=True)
    return next((write for one, write in pairs if one is command), None)


def expected(
    catalogue: Catalogue, known: Mapping[str, Any] | None, name: str, value: Any
) -> tuple[str, Any, float, float] | None:
    """Return what follows from a command: field, value as the device takes it, how far off, seconds it takes (or 0).

    None when the profile names no field for it.  Raises DecodeError for a value the command does not take.
    """
    notes = (known or {}).get(NOTES, {})
    profile = catalogue.profiles.get(notes.get("profile", ""))
    command = None if profile is None else commands_of(profile, notes).get(name)
    if profile is None or command is None or notes.get("captures", {}).get("address") == str(BROADCAST):
        return None
    confirm = command.confirm
    within_s = duration_ns(confirm.within) / NS_PER_S if confirm is not None else 0.0
    if confirm is not None and confirm.topic:
        found = _echoed(profile, command, confirm.topic, notes.get("captures", {}), checked(command.arg, value))
        return None if found is None else (*found, 0.0, within_s)
    field = (confirm.field if confirm is not None else None) or command.field
    if field is None:
        return None
    near = command.arg.step or 0.0 if command.arg is not None else 0.0
    if (write := _compiled_write(profile, command)) is not None:
        near = max(near, write.resolution)
    return field, checked(command.arg, value), near / 2, within_s


def _echoed(
    profile: Compiled, command: Command, topic: str, captures: Mapping[str, str], value: Any
) -> tuple[str, Any] | None:
    """Return the field that reads what comes back on a topic, and what it reads when that is what was sent."""
    levels = NameTemplate(topic).render(captures).split("/")
    sent = _sent(profile, command, value)
    for message in profile.messages:
        for template in message.topics:
            prefixes = {s.default: captures.get(s.name, s.default) for s in template.segments if s.default}
            found = template.bound(prefixes).match(levels)
            for field in message.fields if found is not None else ():
                return field.name.render({**captures, **(found or {})}), field.convert(sent, sent)
    return None


def commands_of(profile: Compiled, notes: Mapping[str, Any]) -> dict[str, Command]:
    """Return the commands a device takes."""
    found = {name: _fitting(commands, notes) for name, commands in profile.commands.items()}
    return {name: command for name, command in found.items() if command is not None}


def _fitting(commands: Sequence[Command], notes: Mapping[str, Any]) -> Command | None:
    """Return the first of these that is for a device's class, and whose captures are known of it."""
    known = notes.get("captures", {}).keys()
    for command in commands:
        if command.device_class in (None, notes.get("class")) and captures_of(command) <= known:
            return command
    return None


def command_for(profile: Compiled, notes: Mapping[str, Any], field: str) -> str | None:
    """Return the name of the command that sets a field of a device, if there is one."""
    return next((name for name, command in commands_of(profile, notes).items() if command.field == field), None)


def checked(argument: Argument | None, value: Any) -> Any:
    """Return the argument as the command takes it: typed, in range, on a step. DecodeError otherwise."""
    if argument is None:
        if value is not None:
            raise DecodeError("this command takes no value")
        return None
    if argument.type == "number":
        return _number(argument, value)
    if argument.type == "bool":
        if not isinstance(value, bool):
            raise DecodeError(f"{shown(value)} is not true or false")
        return value
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX or not value.isprintable():
        raise DecodeError(f"{shown(value)} is not a text of at most {TEXT_CHARS_MAX} characters")
    if argument.type == "enum" and value not in argument.values:
        near = probably_meant(value, argument.values)
        raise DecodeError(f"{value!r} is not one of {', '.join(argument.values)}" + (f" ({near})" if near else ""))
    return value


def _number(argument: Argument, value: Any) -> float | int:
    if isinstance(value, bool) or value is None:
        raise DecodeError(f"{shown(value)} is not a number")
    given = number(value)
    if given is None or not math.isfinite(given):
        raise DecodeError(f"{shown(value)} is not a number")
    low = -math.inf if argument.min is None else argument.min
    high = math.inf if argument.max is None else argument.max
    if argument.step and low - argument.step < given < high + argument.step:  # farther off it may not be divisible
        given = round(round(given / argument.step) * argument.step, units.DECIMALS)
    if not low <= given <= high:
        raise DecodeError(f"{given:g} is outside {low:g} to {high:g}")
    return int(given) if float(given).is_integer() else given


def _sent(profile: Compiled, command: Command, value: Any) -> Any:
    """Turn a canonical value into the device's own: the inverse map, unit and scale."""
    if command.inverse:
        return inverse_of(profile.fields[command.field or ""], value)
    if command.map:
        text = text_of(value)
        if text not in command.map:
            raise DecodeError(f"{shown(value)} is none of {', '.join(command.map)}")
        return command.map[text]
    if command.scale != 1.0:
        return round(value / command.scale)
    if command.unit and command.arg and command.arg.type == "number":
        scale, offset = units.conversion(command.unit, command.arg.unit or units.UNITS[command.unit].code)
        return round((value - offset) / scale, units.DECIMALS)
    return value


def _fill(template: Any, value: Any, alias: Mapping[str, str], profile: Compiled, captures: Mapping[str, str]) -> Any:
    if template == "$value":
        return value
    if isinstance(template, dict):
        return {_key(k, alias, profile): _fill(v, value, alias, profile, captures) for k, v in template.items()}
    if isinstance(template, list):
        return [_fill(member, value, alias, profile, captures) for member in template]
    if isinstance(template, str) and template.startswith("{") and template.endswith("}"):
        text = filled(template, captures)
        return int(text) if text.isdigit() else text  # a component's number is a number
    return template


def _key(key: str, alias: Mapping[str, str], profile: Compiled) -> str:
    if not key.startswith("$key:"):
        return key
    field = key[5:]
    if field in alias:
        return alias[field]
    source = profile.fields[field].source if field in profile.fields else ""
    first = source if isinstance(source, str) else source[0]
    return first.lstrip("/")
