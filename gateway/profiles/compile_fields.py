"""One [[field]] and [time] of a profile, compiled."""

from __future__ import annotations

from gateway.document import Place
from gateway.errors import probably_meant
from gateway.profiles import language as lang
from gateway.profiles.check import Check, pointers_of
from gateway.profiles.compiled import CompiledField, CompiledTime
from gateway.profiles.pointer import Read, compile_pointer, first_of, top_segment
from gateway.profiles.report import Policy, policy_of
from gateway.profiles.template import NameTemplate
from gateway.profiles.times import duration_ns
from gateway.profiles.values import condition, converter, reader
from gateway.profiles.vocabulary import FAMILY_OF_KIND, FIELDS, Meaning, meaning


def compile_field(check: Check, field: lang.Field, at: Place, captures: frozenset[str]) -> CompiledField:
    """Compile one field; `captures` are those of its message."""
    template = check.name(field.name, (*at, "name"), captures) or NameTemplate("unknown")
    known = meaning(field.name)
    if known is None:
        check.fault((*at, "name"), f"unknown field {field.name!r}", probably_meant(field.name, FIELDS))
        known = Meaning("text")
    for family, name in field.if_kind.items():
        if family not in FAMILY_OF_KIND.values():
            check.fault((*at, "if_kind"), f"{family!r} is no family of kinds")
        if meaning(name) is None:
            check.fault((*at, "if_kind"), f"unknown field {name!r}", probably_meant(name, FIELDS))
    check.event(field.event, (*at, "event"))
    check.conditions(field.when, (*at, "when"))
    if field.valid_if:
        check.conditions([field.valid_if], (*at, "valid_if"))
    pointers = pointers_of(field.source)
    captured = any(f"{{{name}}}" in pointer for pointer in pointers for name in captures)
    top = tuple(check.attempt((*at, "from"), top_segment, pointer) for pointer in pointers)
    read = check.attempt((*at, "from"), first_of, pointers)
    return CompiledField(
        name=template,
        top=None if None in top or field.when or field.valid_if or field.force else top,
        read=check.attempt(at, reader, field, read),
        convert=check.attempt(at, converter, field, known),
        meaning=known,
        policy=check.attempt((*at, "report"), policy_of, field.report) or Policy(),
        captured=tuple(pointers) if captured else None,
        source=field,
        fallback=field.fallback,
        invertible=field.invertible,
        momentary=field.momentary,
        reset_ns=_reset_ns(check, field, known, at),
        counter=_counter(check, field, at),
        event=field.event,
        if_kind=field.if_kind,
    )


def compile_time(check: Check, time: lang.Time, at: Place) -> CompiledTime:
    """Compile where a device's time stands."""
    return CompiledTime(
        check.attempt((*at, "from"), first_of, pointers_of(time.source)),
        time.format,
        check.attempt((*at, "max_skew"), duration_ns, time.max_skew) or 0,
        check.attempt((*at, "historical"), condition, time.historical) if time.historical else None,
    )


def _reset_ns(check: Check, field: lang.Field, known: Meaning, at: Place) -> int:
    if not field.auto_reset:
        return 0
    if known.type != "bool" or field.momentary:
        check.fault((*at, "auto_reset"), "`auto_reset` is for a state that is true or false")
    return check.attempt((*at, "auto_reset"), duration_ns, field.auto_reset) or 0


def _counter(check: Check, field: lang.Field, at: Place) -> Read | None:
    if field.counter is None:
        return None
    if not field.momentary:
        check.fault((*at, "counter"), "`counter` needs `momentary = true`")
    read: Read | None = check.attempt((*at, "counter"), compile_pointer, field.counter)
    return read
