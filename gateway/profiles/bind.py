"""Binding: a message of a profile and one device, put together once and then used for every message of it.

What depends on the device (its names, its kind, `invert`) is decided here, so that decoding decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from gateway.errors import DecodeError
from gateway.event import LaneName
from gateway.profiles.compiled import CompiledField, CompiledMessage
from gateway.profiles.devices import Devices
from gateway.profiles.pointer import ABSENT, Read, compile_pointer, first_of, key_among, top_segment
from gateway.profiles.report import Known, Policy, notes_of
from gateway.profiles.template import NameTemplate, Segment
from gateway.profiles.values import Convert, plain_number, reader, text_of
from gateway.profiles.vocabulary import FAMILY_OF_KIND, KIND_OF_CLASS, Meaning, meaning

NAME_CHARS_MAX = 256  # of a device's id; topics can be longer, devices are not

SHAPES_MAX = 64  # sets of keys whose plan is kept for a device

_pointer = lru_cache(maxsize=1024)(compile_pointer)


class BoundField(NamedTuple):
    """One field of one device."""

    name: str
    convert: Convert
    always: bool  # judged even when the value is the known one (heartbeat, pending)
    never: bool  # kept in memory, never an event
    read: Read
    top: tuple[Segment, ...] | None
    aliased: bool  # several keys: the one in use is noted
    event: str | None
    off: str | None  # the event of a bool that became false
    unit: str | None
    lane: LaneName
    quiet: bool
    policy: Policy
    fallback: Any
    reset_ns: int = 0  # so long after it became true it is false by itself
    counter: Read | None = None  # of a momentary field: no news unless this has moved


Step = tuple[str, str | None, Convert | None, bool, bool, BoundField]
"""Name, key (None: the field's `read` finds it), convert (None: a plain number), always, never, the field."""
Plan = tuple[Step, ...]
"""The fields that messages with the same keys have."""


class Bound:
    """One message and one device."""

    __slots__ = (
        "_as", "_fields", "aliases", "captures", "device_class", "id", "known", "listed", "message", "momentary",
        "name", "plain", "plans", "refused", "silence_ns", "silent_until", "subject", "via",
    )  # fmt: skip

    def __init__(self, message: CompiledMessage, source: str, captures: Mapping[str, str], name: str) -> None:
        """Name the device; `fields_for` completes it."""
        self.message = message
        self.captures = dict(captures)
        self.id = name
        self.subject = f"{source}/{name}"
        self.name = message.name.render(captures) if message.name else name.partition(":")[2]
        self.device_class = message.device_class
        self.listed = False  # devices.toml says which profile reads it
        self.refused = False  # devices.toml says that another profile reads this device, or does not say this one
        self.silence_ns = message.silence_ns
        self.plain = is_state(message)
        via = f"{source}/{message.via.render(captures)}" if message.via else ""
        self.via = via if via != self.subject else ""  # a board is not behind itself
        self._as = "", False  # the device's kind and whether it is inverted
        self._fields: tuple[BoundField, ...] | None = None
        self.momentary: tuple[BoundField, ...] = ()  # made with `fields`
        self.known = False  # its profile is noted among the values
        self.aliases: dict[str, str] = {}
        self.silent_until: dict[str, int] = {}  # field -> wall time (ns) before which its known value is no news
        self.plans: dict[tuple[str, ...], Plan] = {}

    def fields_for(self, devices: Devices) -> Bound:
        """Make the fields of this device, as installed."""
        self.subject = devices.stable(self.subject)
        device = devices.get(self.subject)
        kind = (device.kind if device else None) or KIND_OF_CLASS[self.device_class]
        invert = bool(device and device.invert)
        said = device.profile if device else ""
        self.refused = said != self.message.profile and bool(said or self.message.installed)
        self.listed = bool(said)
        self._as = kind, invert
        self._fields = None
        return self

    @property
    def fields(self) -> tuple[BoundField, ...]:
        """Return the fields that are state. Made when the first message comes: most topics fit many profiles."""
        if self._fields is None:
            kind, invert = self._as
            made = [(f, _bound_field(f, self.captures, kind, invert=invert)) for f in self.message.fields]
            self._fields = tuple(field for source, field in made if not source.momentary)
            self.momentary = tuple(field for source, field in made if source.momentary)
        return self._fields

    def plan(self, keys: tuple[str, ...]) -> Plan:
        """Decide once which fields a message with these top-level keys has, and where."""
        plan: list[Step] = []
        for field in self.fields:
            key = key_among(field.top, keys) if field.top is not None else None
            if key is not None or field.top is None:
                convert = None if field.convert is plain_number else field.convert
                plan.append((field.name, key, convert, field.always, field.never, field))
        while len(self.plans) >= SHAPES_MAX:
            del self.plans[next(iter(self.plans))]
        self.plans[keys] = found = tuple(plan)
        return found


def _part(pointer: str, member: Any) -> str:
    value = _pointer(pointer)(member)
    if value is ABSENT or value is None or value == "" or value.__class__ in (dict, list):
        raise DecodeError(f"no device: {pointer} is {'missing' if value is ABSENT else text_of(value)}")
    return text_of(value)


def is_state(message: CompiledMessage) -> bool:
    """Return whether a message is plain state: no word about presence, no event, no picture, nothing to learn."""
    if message.learn or (message.time and message.time.historical):
        return False
    return not (message.availability or message.blob or message.event)


def identity(template: NameTemplate, captures: Mapping[str, str], member: Any) -> str:
    """Return a device's id from captures and the message. DecodeError when it has none that can be used."""
    name = template.render(captures, lambda pointer: _part(pointer, member))
    if len(name) > NAME_CHARS_MAX:
        raise DecodeError(f"a device's id of {len(name)} characters, the limit is {NAME_CHARS_MAX}")
    if not name.isprintable() or name.endswith(":"):
        raise DecodeError("a device's id is empty or holds control characters")
    return name


def found_by(template: NameTemplate, member: Any) -> dict[str, str]:
    """Return what the paths of an id found in a message, by path: ``{/node}`` in a command is that."""
    found = ((path, _pointer(path)(member)) for path in template.paths)
    return {path: text_of(value) for path, value in found if value is not ABSENT}


def types_of(means: Meaning, kind: str) -> tuple[str | None, str | None]:
    """Return the types (changed or true, false) of a field of a device of this kind."""
    return (
        means.event.format(kind=kind) if means.event else None,
        means.off.format(kind=kind) if means.off else None,
    )


def _bound_field(field: CompiledField, captures: Mapping[str, str], kind: str, *, invert: bool) -> BoundField:
    name, means = field.name.render(captures), field.meaning
    other = field.if_kind.get(FAMILY_OF_KIND.get(kind, ""))
    if other:
        name, means = other, meaning(other) or means
    event, off = (field.event, None) if field.event else types_of(means, kind)
    read, top = field.read, field.top
    if field.captured:
        read, top = _captured(field, captures)
    silent = event is None  # what raises nothing is not worth a write either
    return BoundField(
        name,
        _inverted(field.convert) if invert and field.invertible else field.convert,
        (field.policy.timed or field.reset_ns > 0) and not silent,
        silent or field.policy.never,
        read,
        top,
        top is not None and len(top) > 1,
        event,
        off,
        means.unit,
        means.lane,
        means.quiet,
        Policy(never=True) if silent else field.policy,
        field.fallback,
        field.reset_ns,
        field.counter,
    )


def _captured(field: CompiledField, captures: Mapping[str, str]) -> tuple[Read, tuple[Segment, ...] | None]:
    """Compile the pointers of a field with the captures of this device filled in."""
    pointers = list(field.captured or ())
    for name, text in captures.items():
        escaped = text.replace("~", "~0").replace("/", "~1")
        pointers = [pointer.replace(f"{{{name}}}", escaped) for pointer in pointers]
    top = tuple(segment for pointer in pointers if (segment := top_segment(pointer)))
    plain = len(top) == len(pointers) and not field.source.when and not field.source.valid_if
    return reader(field.source, first_of(pointers)), top if plain else None


def _inverted(convert: Convert) -> Callable[[Any, Any], Any]:
    def inverted(raw: Any, whole: Any) -> Any:
        value = convert(raw, whole)
        return not value if value.__class__ is bool else value

    return inverted


def note_alias(bound: Bound, known: Known, field: BoundField, key: str | None) -> None:
    """Remember under which of its keys the device reports a field; commands answer in kind."""
    if key is None or field.top is None:
        return
    bound.aliases[field.name] = key
    notes = notes_of(known)
    if key != notes.get("alias", {}).get(field.name, field.top[0].literal):
        notes.setdefault("alias", {})[field.name] = key
