"""A profile's tables to functions: everything that can be decided before a message comes is decided here, once.

`compile_profile` takes a document and returns a `Compiled` profile, or raises ConfigError with every fault in
it, each on its line.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway import units
from gateway.document import Document, Place, raise_faults
from gateway.errors import Fault, probably_meant
from gateway.profiles import language as lang
from gateway.profiles.pointer import Read, first_of, segments_of, top_segment
from gateway.profiles.report import Policy, policy_of
from gateway.profiles.template import NameTemplate, Segment, TopicTemplate
from gateway.profiles.times import Form, duration_ns
from gateway.profiles.values import Convert, Misfit, Test, condition, converter, reader
from gateway.profiles.vocabulary import (
    EVENTS_OF_MESSAGES,
    FAMILY_OF_KIND,
    FIELDS,
    KIND_OF_CLASS,
    Meaning,
    event_types,
    meaning,
)


class CompiledField(NamedTuple):
    """One field, ready to read."""

    name: NameTemplate
    top: tuple[Segment, ...] | None  # all alternatives are top-level keys: the fast case
    read: Read
    convert: Convert
    meaning: Meaning
    policy: Policy
    captured: tuple[str, ...] | None  # pointers that hold captures: compiled for each device
    source: lang.Field
    fallback: Any
    invertible: bool
    momentary: bool
    event: str | None
    if_kind: dict[str, str]


class CompiledTime(NamedTuple):
    """Where a device's time stands."""

    read: Read
    form: Form
    skew_ns: int


class CompiledEvent(NamedTuple):
    """The event a whole message is."""

    type: str | None
    read: Read | None
    types: dict[str, str]
    key: Read | None
    watched: tuple[Read, ...]  # raise only if one of these changed; empty: always


class CompiledAvailability(NamedTuple):
    """How online is read."""

    read: Read
    map: dict[str, bool]
    removed: str | None
    scope: str


class CompiledMessage(NamedTuple):
    """One shape of message of one profile."""

    profile: str
    order: int  # its place in the file
    topics: tuple[TopicTemplate, ...]
    exclude: tuple[TopicTemplate, ...]
    format: lang.Format
    when: tuple[Test, ...]
    asks: tuple[str, ...] | None  # `when` asks only which keys these objects have; None: it asks for values
    root: Read | None
    each: tuple[Segment, ...] | None
    parent: Read | None  # the object whose members `each` visits, when one pointer leads to it
    per: tuple[Segment, ...] | None
    skip: tuple[Test, ...]
    device: NameTemplate
    name: NameTemplate | None
    device_class: str
    retained: lang.Retained
    fields: tuple[CompiledField, ...]
    time: CompiledTime | None
    event: CompiledEvent | None
    blob: lang.Blob | None
    label: NameTemplate | None
    availability: CompiledAvailability | None


class Compiled(NamedTuple):
    """A profile, ready to use."""

    source: lang.Profile
    file: str
    messages: tuple[CompiledMessage, ...]
    ignore: tuple[TopicTemplate, ...]
    commands: dict[str, tuple[lang.Command, ...]]  # of one name: the first whose captures the device has
    fields: dict[str, lang.Field]  # by name, for the inverse of commands
    needed: frozenset[str]  # the captures its commands need


def compile_profile(document: Document) -> Compiled:
    """Check and compile one document. Raises ConfigError with every fault found."""
    work = _Compilation(document, document.convert(lang.Profile))
    compiled = work.run()
    raise_faults(work.faults)
    return compiled


_CAPTURE = re.compile(r"\{(\w+)\}")


def captures_of(command: lang.Command) -> frozenset[str]:
    """Return the captures a command's topic and payload need."""
    return frozenset(_CAPTURE.findall(f"{command.topic} {command.text} {command.json}"))


def _pointers(source: lang.Pointers) -> list[str]:
    return [source] if isinstance(source, str) else source


def _parent(pointer: str | None) -> str:
    return (pointer or "").rpartition("/")[0]


def _is_plain(segments: Sequence[Segment] | None) -> bool:
    """Return whether only the last segment is a capture."""
    return segments is not None and all((s.literal is None) is (s is segments[-1]) for s in segments)


def _asks(when: Sequence[lang.Condition]) -> tuple[str, ...] | None:
    if any(wanted.equals is not None or "{" in _parent(wanted.path) or not wanted.path for wanted in when):
        return None
    return tuple(_parent(wanted.path) for wanted in when)


class _Compilation:
    """Compiles one profile; collects faults on the way, so that all of them are reported."""

    def __init__(self, document: Document, profile: lang.Profile) -> None:
        self.document, self.profile = document, profile
        self.faults: list[Fault] = []

    def run(self) -> Compiled:
        """Compile everything; what could not be compiled is None, and then there are faults."""
        profile = self.profile
        self._check_class(profile.device_class, ("device_class",))
        messages = [self._message(m, ("message", i), i) for i, m in enumerate(profile.message)]
        plain: list[lang.Message] = []
        if profile.link.topics:
            plain = [lang.Message(topics=profile.link.topics, format=profile.decode.format, when=profile.decode.when)]
            messages.append(self._message(plain[0], ("decode",), len(messages), topics_at=("link", "topics")))
        if profile.availability:
            messages.append(self._availability_message(profile.availability, len(messages)))
        if not messages:
            self._fault((), "no topics: a profile has [link] topics or [[message]]")
        self._check_groups()
        return Compiled(
            profile,
            str(self.document.file),
            tuple(messages),
            tuple(self._topics(profile.link.ignore, ("link", "ignore"))),
            self._commands(),
            {f.name: f for m in [*profile.message, *plain] for f in profile.fields_of(m)},
            frozenset(name for command in profile.command for name in captures_of(command)),
        )

    def _check_groups(self) -> None:
        """Say so when a group of fields is read by no message, or a message reads a group that is empty."""
        profile = self.profile
        read = {m.fields or "" for m in profile.message if not isinstance(m.fields, list)}
        if profile.link.topics:
            read.add("")
        there = {field.group for field in profile.field}
        for i, field in enumerate(profile.field):
            if field.group not in read:
                self._fault(
                    ("field", i), f"no message reads the group {field.group!r}", probably_meant(field.group, read)
                )
        for i, message in enumerate(profile.message):
            if isinstance(message.fields, str) and message.fields not in there:
                hint = probably_meant(message.fields, there)
                self._fault(("message", i, "fields"), f"no [[field]] of the group {message.fields!r}", hint)

    def _fault(self, at: Place, what: str, hint: str | None = None) -> None:
        self.faults.append(self.document.fault(at, what, hint))

    def _try(self, at: Place, make: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return make(*arguments)
        except Misfit as error:
            self._fault((*at, error.key), str(error))
        except ValueError as error:
            self._fault(at, str(error))
        return None

    def _check_class(self, name: str, at: Place) -> None:
        if name not in KIND_OF_CLASS:
            self._fault(at, f"unknown device_class {name!r}", probably_meant(name, KIND_OF_CLASS))

    def _topics(self, topics: Sequence[str], at: Place) -> list[TopicTemplate]:
        found = [self._try((*at, i), TopicTemplate, text) for i, text in enumerate(topics)]
        for i, template in enumerate(found):
            if template and template.bound({}).filter() == "#":
                self._fault((*at, i), f"{template.text!r} would subscribe to everything: begin with a literal level")
        return [template for template in found if template]

    def _message(self, message: lang.Message, at: Place, order: int, topics_at: Place | None = None) -> CompiledMessage:
        topics = self._topics(message.topics, topics_at or (*at, "topics"))
        captures = frozenset.intersection(*(t.captures for t in topics)) if topics else frozenset()
        each = self._try((*at, "each"), segments_of, message.each) if message.each else None
        per = self._try((*at, "per"), segments_of, message.per) if message.per else None
        if message.each and message.per:
            self._fault((*at, "per"), "either `each` or `per`")
        captures |= {segment.name for segment in [*(each or ()), *(per or ())] if segment.name}
        if message.device_class:
            self._check_class(message.device_class, (*at, "device_class"))
        profile = self.profile
        excluded = [*profile.link.exclude, *message.exclude]
        fields = profile.fields_of(message)
        places: list[Place] = [(*at, "fields", i) for i in range(len(fields))]
        if not isinstance(message.fields, list):
            places = [("field", i) for i, field in enumerate(profile.field) if field in fields]
        time = message.time or profile.time
        return CompiledMessage(
            profile=profile.id,
            order=order,
            topics=tuple(topics),
            exclude=tuple(t for text in excluded if (t := self._try((*at, "except"), TopicTemplate, text))),
            format=message.format,
            when=self._conditions(message.when, (*at, "when")),
            asks=_asks(message.when),
            root=self._try((*at, "root"), first_of, [message.root]) if message.root else None,
            each=each,
            parent=self._try((*at, "each"), first_of, [_parent(message.each)]) if _is_plain(each) else None,
            per=per,
            skip=self._conditions(message.skip, (*at, "skip")),
            device=self._identity(message, at, captures),
            name=self._name(message.name or profile.device.name, (*at, "name"), captures),
            device_class=message.device_class or profile.device_class,
            retained=message.retained or profile.link.retained,
            fields=tuple(self._field(f, at, captures) for f, at in zip(fields, places, strict=True)),
            time=self._time(time, (*at, "time")) if time else None,
            event=self._event(message, at),
            blob=self._blob(message.blob, (*at, "blob")) if message.blob else None,
            label=self._name(message.blob.label, (*at, "blob", "label"), captures) if message.blob else None,
            availability=self._online(message.availability, (*at, "availability")) if message.availability else None,
        )

    def _availability_message(self, online: lang.Availability, order: int) -> CompiledMessage:
        at: Place = ("availability",)
        if not online.topics:
            self._fault(at, "missing key 'topics'")
        message = lang.Message(
            topics=online.topics or ["none"],
            format="auto",
            device=online.device,
            retained=online.retained,
            fields=[],
            availability=online,
        )
        return self._message(message, at, order, topics_at=(*at, "topics"))

    def _conditions(self, conditions: Sequence[lang.Condition], at: Place) -> tuple[Test, ...]:
        return tuple(self._try((*at, i), condition, wanted) for i, wanted in enumerate(conditions))

    def _name(self, text: str | None, at: Place, captures: frozenset[str]) -> NameTemplate | None:
        template: NameTemplate | None = self._try(at, NameTemplate, text) if text else None
        for name in template.captures - captures if template else ():
            self._fault(at, f"nothing captures {{{name}}}", probably_meant(name, captures))
        for path in template.paths if template else ():
            self._try(at, segments_of, path)
        return template

    def _identity(self, message: lang.Message, at: Place, captures: frozenset[str]) -> NameTemplate:
        text = message.device or self.profile.device.id
        place: Place = (*at, "device") if message.device else ("device", "id")
        dialect, colon, _ = text.partition(":")
        if not colon or not dialect or set(dialect) - set(string.ascii_lowercase + string.digits + "-_"):
            self._fault(place, f"{text!r}: an id is <dialect>:<name>, as in 'z2m:{{device}}'")
        return self._name(text, place, captures) or NameTemplate("unknown:unknown")

    def _field(self, field: lang.Field, at: Place, captures: frozenset[str]) -> CompiledField:
        template = self._name(field.name, (*at, "name"), captures) or NameTemplate("unknown")
        known = meaning(field.name)
        if known is None:
            self._fault((*at, "name"), f"unknown field {field.name!r}", probably_meant(field.name, FIELDS))
            known = Meaning("text")
        for family, name in field.if_kind.items():
            if family not in FAMILY_OF_KIND.values():
                self._fault((*at, "if_kind"), f"{family!r} is no family of kinds")
            if meaning(name) is None:
                self._fault((*at, "if_kind"), f"unknown field {name!r}", probably_meant(name, FIELDS))
        self._check_event(field.event, (*at, "event"))
        pointers = _pointers(field.source)
        captured = any(f"{{{name}}}" in pointer for pointer in pointers for name in captures)
        top = tuple(self._try((*at, "from"), top_segment, pointer) for pointer in pointers)
        read = self._try((*at, "from"), first_of, pointers)
        return CompiledField(
            name=template,
            top=None if None in top or field.when or field.valid_if else top,
            read=self._try(at, reader, field, read),
            convert=self._try(at, converter, field, known),
            meaning=known,
            policy=self._try((*at, "report"), policy_of, field.report) or Policy(),
            captured=tuple(pointers) if captured else None,
            source=field,
            fallback=field.fallback,
            invertible=field.invertible,
            momentary=field.momentary,
            event=field.event,
            if_kind=field.if_kind,
        )

    def _check_event(self, name: str | None, at: Place) -> None:
        if name and name not in event_types():
            self._fault(at, f"unknown event type {name!r}", probably_meant(name, event_types()))

    def _time(self, time: lang.Time, at: Place) -> CompiledTime:
        return CompiledTime(
            self._try((*at, "from"), first_of, _pointers(time.source)),
            time.format,
            self._try((*at, "max_skew"), duration_ns, time.max_skew) or 0,
        )

    def _event(self, message: lang.Message, at: Place) -> CompiledEvent | None:
        if message.event is None:
            for key in ("key", "emit_if"):
                if getattr(message, key):
                    self._fault((*at, key), f"{key!r} needs an `event`")
            return None
        spec = message.event
        types = {} if isinstance(spec, str) else spec.map
        for name in [spec] if isinstance(spec, str) else types.values():
            if name not in EVENTS_OF_MESSAGES:
                self._fault((*at, "event"), f"unknown event type {name!r}", probably_meant(name, EVENTS_OF_MESSAGES))
        watched = message.emit_if.any_changed if message.emit_if else ()
        return CompiledEvent(
            spec if isinstance(spec, str) else None,
            None if isinstance(spec, str) else self._try((*at, "event"), first_of, _pointers(spec.source)),
            types,
            self._try((*at, "key"), first_of, [message.key]) if message.key else None,
            tuple(self._try((*at, "emit_if"), first_of, [pointer]) for pointer in watched),
        )

    def _blob(self, blob: lang.Blob, at: Place) -> lang.Blob:
        try:
            bytes.fromhex(blob.magic)
        except ValueError:
            self._fault((*at, "magic"), f"{blob.magic!r} is not hexadecimal")
        return blob

    def _online(self, online: lang.Availability, at: Place) -> CompiledAvailability:
        return CompiledAvailability(
            self._try((*at, "from"), first_of, _pointers(online.source)), online.map, online.removed, online.scope
        )

    def _commands(self) -> dict[str, tuple[lang.Command, ...]]:
        found: dict[str, tuple[lang.Command, ...]] = {}
        lists = [m.fields for m in self.profile.message if isinstance(m.fields, list)]
        named = {f.name for fields in [self.profile.field, *lists] for f in fields}
        for i, command in enumerate(self.profile.command):
            at: Place = ("command", i)
            self._try((*at, "topic"), NameTemplate, command.topic)
            if command.field and command.field not in named:
                self._fault((*at, "field"), f"no field {command.field!r} here", probably_meant(command.field, named))
            for unit in (command.unit, command.arg.unit if command.arg else None):
                if unit and unit not in units.UNITS:
                    self._fault((*at, "unit"), f"unknown unit {unit!r}", probably_meant(unit, units.UNITS))
            found[command.name] = (*found.get(command.name, ()), command)
        return found
