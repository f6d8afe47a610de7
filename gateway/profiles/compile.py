"""A profile's tables to functions: everything that can be decided before a message comes is decided here, once.

`compile_profile` takes a document and returns a `Compiled` profile, or raises ConfigError with every fault in
it, each on its line.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import partial
from typing import Final

from gateway.document import Document, Place, raise_faults
from gateway.errors import probably_meant
from gateway.framing.options import framer_of
from gateway.profiles import language as lang
from gateway.profiles.check import Check, pointers_of
from gateway.profiles.compile_commands import compile_commands
from gateway.profiles.compile_fields import compile_field, compile_time
from gateway.profiles.compile_learn import (
    asks_learned,
    check_learned,
    compile_dedup,
    compile_learn,
    conditions_of,
)
from gateway.profiles.compiled import Compiled, CompiledAvailability, CompiledEvent, CompiledMessage, captures_of
from gateway.profiles.payloads import ParseOrError, compile_payload
from gateway.profiles.pointer import first_of, segments_of
from gateway.profiles.polls import without_polls
from gateway.profiles.repeats import CompiledDedup
from gateway.profiles.template import NameTemplate, Segment, TopicTemplate
from gateway.profiles.times import duration_ns
from gateway.profiles.vocabulary import EVENTS_OF_MESSAGES
from gateway.profiles.writes import compile_writes

FRAMES: Final = ("{port}",)  # the topic of a frame is its source's name


def compile_profile(document: Document) -> Compiled:
    """Check and compile one document. Raises ConfigError with every fault found."""
    work = _Compilation(document, document.convert(lang.Profile))
    compiled = work.run()
    raise_faults(work.check.faults)
    return compiled


def _parent(pointer: str | None) -> str:
    return (pointer or "").rpartition("/")[0]


def _is_plain(segments: Sequence[Segment] | None) -> bool:
    """Return whether only the last segment is a capture."""
    return segments is not None and all((s.literal is None) is (s is segments[-1]) for s in segments)


def _asks(when: Sequence[lang.Condition]) -> tuple[str, ...] | None:
    if any(not (wanted.exists is not None and wanted.path) or "{" in _parent(wanted.path) for wanted in when):
        return None  # also for what was learned: it is not in the message
    return tuple(_parent(wanted.path) for wanted in when)


class _Compilation:
    """Compiles one profile."""

    def __init__(self, document: Document, profile: lang.Profile) -> None:
        self.profile = profile
        self.check = Check(document)

    def run(self) -> Compiled:
        """Compile everything; what could not be compiled is None, and then there are faults."""
        writes = compile_writes(self.check, self.profile)
        profile = self.profile = without_polls(self.check, self.profile)
        self.check.device_class(profile.device_class, ("device_class",))
        self._check_link(profile.link)
        self._empty = self.check.conditions(profile.decode.skip, ("decode", "skip"))
        check_learned(self.check, profile)
        heartbeat = profile.availability.heartbeat if profile.availability else ""
        self._silence_ns: int = self.check.attempt(("availability", "heartbeat"), duration_ns, heartbeat) or 0
        messages = [self._learn(table, i) for i, table in enumerate(profile.learn)]
        messages += [self._message(m, ("message", i), i) for i, m in enumerate(profile.message)]
        plain: list[lang.Message] = []
        if profile.link.topics or (profile.link.kind == "serial" and not profile.message):
            plain = [lang.Message(topics=profile.link.topics, when=profile.decode.when)]
            messages.append(self._message(plain[0], ("decode",), len(messages), topics_at=("link", "topics")))
        if profile.availability and (profile.availability.map or not profile.availability.heartbeat):
            messages.append(self._availability_message(profile.availability, len(messages)))
        if not messages:
            self.check.fault((), "no topics: a profile has [link] topics or [[message]]")
        self._check_groups()
        return Compiled(
            profile,
            str(self.check.document.file),
            tuple(messages),
            tuple(self.check.topics(profile.link.ignore, ("link", "ignore"))),
            compile_commands(self.check, profile),
            {f.name: f for m in [*profile.message, *plain] for f in profile.fields_of(m)},
            frozenset(name for command in profile.command for name in captures_of(command)),
            self._silence_ns,
            writes,
        )

    def _check_link(self, link: lang.Link) -> None:
        """Say so when a key belongs to the other kind of link, or a serial one lacks what a port needs."""
        foreign = ("topics", "except", "ignore") if link.kind == "serial" else ("baud", "mode", "framing", "ports")
        for key in foreign:
            if key in self.check.document.data.get("link", {}):
                self.check.fault(("link", key), f"{key!r} is not for kind = {link.kind!r}")
        for key in ("baud", "framing") if link.kind == "serial" else ():
            if getattr(link, key) is None:
                self.check.fault(("link",), f"missing key {key!r}: a serial profile says how its port is read")
        if link.framing is not None:
            self.check.attempt(("link", "framing"), framer_of, link.framing)

    def _check_groups(self) -> None:
        """Say so when a group of fields is read by no message, or a message reads a group that is empty."""
        profile = self.profile
        read = {m.fields or "" for m in profile.message if not isinstance(m.fields, list)}
        if profile.link.topics or not profile.message:
            read.add("")
        there = {field.group for field in profile.field}
        for i, field in enumerate(profile.field):
            if field.group not in read:
                self.check.fault(
                    ("field", i), f"no message reads the group {field.group!r}", probably_meant(field.group, read)
                )
        for i, message in enumerate(profile.message):
            if isinstance(message.fields, str) and message.fields not in there:
                hint = probably_meant(message.fields, there)
                self.check.fault(("message", i, "fields"), f"no [[field]] of the group {message.fields!r}", hint)

    def _message(self, message: lang.Message, at: Place, order: int, topics_at: Place | None = None) -> CompiledMessage:
        serial = self.profile.link.kind == "serial"
        if not message.topics and not serial:
            self.check.fault(at, "missing key 'topics'")
        topics = self.check.topics(message.topics or (FRAMES if serial else []), topics_at or (*at, "topics"))
        captures = frozenset.intersection(*(t.captures for t in topics)) if topics else frozenset()
        each = self.check.attempt((*at, "each"), segments_of, message.each) if message.each else None
        per = self.check.attempt((*at, "per"), segments_of, message.per) if message.per else None
        if message.each and message.per:
            self.check.fault((*at, "per"), "either `each` or `per`")
        captures |= {segment.name for segment in [*(each or ()), *(per or ())] if segment.name}
        if message.device_class:
            self.check.device_class(message.device_class, (*at, "device_class"))
        profile = self.profile
        excluded = [*profile.link.exclude, *message.exclude]
        fields = profile.fields_of(message)
        places: list[Place] = [(*at, "fields", i) for i in range(len(fields))]
        if not isinstance(message.fields, list):
            places = [("field", i) for i, field in enumerate(profile.field) if field in fields]
        time = message.time or profile.time
        form, parse = self._payload(message, at)
        return CompiledMessage(
            profile=profile.id,
            order=order,
            topics=tuple(topics),
            exclude=tuple(t for text in excluded if (t := self.check.attempt((*at, "except"), TopicTemplate, text))),
            format=form,
            parse=parse,
            when=self.check.conditions(message.when, (*at, "when")),
            asks=_asks(message.when),
            root=self.check.attempt((*at, "root"), first_of, [message.root]) if message.root else None,
            each=each,
            parent=self.check.attempt((*at, "each"), first_of, [_parent(message.each)]) if _is_plain(each) else None,
            per=per,
            skip=(*self._empty, *self.check.conditions(message.skip, (*at, "skip"))),
            empty=self._empty,
            device=self._identity(message, at, captures),
            installed=profile.device.installed,
            name=self.check.name(message.name or profile.device.name, (*at, "name"), captures),
            device_class=message.device_class or profile.device_class,
            retained=message.retained or profile.link.retained,
            fields=tuple(compile_field(self.check, f, at, captures) for f, at in zip(fields, places, strict=True)),
            time=compile_time(self.check, time, (*at, "time")) if time else None,
            event=self._event(message, at),
            blob=self._blob(message.blob, (*at, "blob")) if message.blob else None,
            label=self.check.name(message.blob.label, (*at, "blob", "label"), captures) if message.blob else None,
            availability=self._online(message.availability, (*at, "availability")) if message.availability else None,
            dedup=self._dedup(message, at),
            learn=None,
            silence_ns=self._silence_ns,
            via=self.check.name(profile.device.via, ("device", "via"), captures) if profile.device.via else None,
            asks_learned=self._asks_learned(message, fields, at),
        )

    def _dedup(self, message: lang.Message, at: Place) -> CompiledDedup | None:
        if message.dedup is None:
            return compile_dedup(self.check, self.profile.link.dedup, ("link", "dedup"))
        return compile_dedup(self.check, message.dedup, (*at, "dedup"))

    def _asks_learned(self, message: lang.Message, fields: Sequence[lang.Field], at: Place) -> bool:
        asks = asks_learned(conditions_of(message, fields))
        if asks and (message.root or message.each or message.per):
            self.check.fault(at, "`learned` is not for messages with `root`, `each` or `per`")
        return asks

    def _learn(self, table: lang.Learn, i: int) -> CompiledMessage:
        at: Place = ("learn", i)
        topics = table.topics or self.profile.link.topics
        read = table.when or any(not isinstance(word, str) or "{/" in word for word in table.set.values())
        form: lang.Format | None = None if read or not topics else "text"  # the topic says it all
        message = lang.Message(topics=topics, when=table.when, device=table.device, fields=[], format=form)
        compiled = self._message(message, at, i - len(self.profile.learn))
        captures = frozenset.intersection(*(t.captures for t in compiled.topics)) if compiled.topics else frozenset()
        words = compile_learn(self.check, table, at, captures)
        return compiled._replace(learn=words, installed=False, dedup=None)

    def _payload(self, message: lang.Message, at: Place) -> tuple[str, ParseOrError]:
        place: Place = (*at, "format") if message.format else ("decode", "format")
        said = isinstance(message.fields, list) and all(field.value is not None for field in message.fields)
        compiled = partial(compile_payload, empty=said or message.availability is not None)  # the topic says it all
        found: tuple[str, ParseOrError] = self.check.attempt(
            place, compiled, message.format or self.profile.decode.format
        )
        return found or ("none", bytes)  # a fault was noted

    def _availability_message(self, online: lang.Availability, order: int) -> CompiledMessage:
        at: Place = ("availability",)
        if not online.topics:
            self.check.fault(at, "missing key 'topics'")
        message = lang.Message(
            topics=online.topics or ["none"],
            format="auto",
            device=online.device,
            retained=online.retained,
            fields=[],
            availability=online,
        )
        return self._message(message, at, order, topics_at=(*at, "topics"))

    def _identity(self, message: lang.Message, at: Place, captures: frozenset[str]) -> NameTemplate:
        text = message.device or self.profile.device.id
        place: Place = (*at, "device") if message.device else ("device", "id")
        dialect, colon, _ = text.partition(":")
        if not colon or not dialect or set(dialect) - set(string.ascii_lowercase + string.digits + "-_"):
            self.check.fault(place, f"{text!r}: an id is <dialect>:<name>, as in 'z2m:{{device}}'")
        return self.check.name(text, place, captures) or NameTemplate("unknown:unknown")

    def _event(self, message: lang.Message, at: Place) -> CompiledEvent | None:
        if message.event is None:
            for key in ("key", "emit_if"):
                if getattr(message, key):
                    self.check.fault((*at, key), f"{key!r} needs an `event`")
            return None
        spec = message.event
        types = {} if isinstance(spec, str) else spec.map
        for name in [spec] if isinstance(spec, str) else types.values():
            if name not in EVENTS_OF_MESSAGES:
                self.check.fault(
                    (*at, "event"), f"unknown event type {name!r}", probably_meant(name, EVENTS_OF_MESSAGES)
                )
        watched = message.emit_if.any_changed if message.emit_if else ()
        return CompiledEvent(
            spec if isinstance(spec, str) else None,
            None if isinstance(spec, str) else self.check.attempt((*at, "event"), first_of, pointers_of(spec.source)),
            types,
            self.check.attempt((*at, "key"), first_of, [message.key]) if message.key else None,
            tuple(self.check.attempt((*at, "emit_if"), first_of, [pointer]) for pointer in watched),
        )

    def _blob(self, blob: lang.Blob, at: Place) -> lang.Blob:
        try:
            bytes.fromhex(blob.magic)
        except ValueError:
            self.check.fault((*at, "magic"), f"{blob.magic!r} is not hexadecimal")
        return blob

    def _online(self, online: lang.Availability, at: Place) -> CompiledAvailability:
        if not online.map:
            self.check.fault(at, "missing key 'map'")
        if online.after_failures and not self.profile.poll:
            self.check.fault((*at, "after_failures"), "'after_failures' needs a [[poll]]")
        return CompiledAvailability(
            self.check.attempt((*at, "from"), first_of, pointers_of(online.source)),
            online.map,
            online.removed,
            online.scope,
            online.agree,
            online.sleepy,
        )
