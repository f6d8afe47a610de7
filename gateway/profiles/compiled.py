"""What a profile is once it is compiled: everything that could be decided before a message came."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gateway.profiles import language as lang
from gateway.profiles.payloads import ParseOrError
from gateway.profiles.pointer import Read
from gateway.profiles.repeats import CompiledDedup
from gateway.profiles.report import Policy
from gateway.profiles.template import NameTemplate, Segment, TopicTemplate
from gateway.profiles.times import Form
from gateway.profiles.values import Convert, Test
from gateway.profiles.vocabulary import Meaning
from gateway.profiles.writes import CompiledWrite


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
    reset_ns: int
    counter: Read | None
    event: str | None
    if_kind: dict[str, str]


class CompiledTime(NamedTuple):
    """Where a device's time stands."""

    read: Read
    form: Form
    skew_ns: int
    historical: Test | None


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
    agree: str
    sleepy: bool


Teach = Callable[[Mapping[str, str], Any], str]
"""Captures and message -> a word to learn. Raises DecodeError when the message has none."""


class CompiledLearn(NamedTuple):
    """One [[learn]]: words by name."""

    words: tuple[tuple[str, Teach], ...]


class CompiledMessage(NamedTuple):
    """One shape of message of one profile."""

    profile: str
    order: int  # its place in the file
    topics: tuple[TopicTemplate, ...]
    exclude: tuple[TopicTemplate, ...]
    format: str  # messages with the same one share the document
    parse: ParseOrError
    when: tuple[Test, ...]
    asks: tuple[str, ...] | None  # `when` asks only which keys these objects have; None: it asks for values
    root: Read | None
    each: tuple[Segment, ...] | None
    parent: Read | None  # the object whose members `each` visits, when one pointer leads to it
    per: tuple[Segment, ...] | None
    skip: tuple[Test, ...]
    empty: tuple[Test, ...]  # what holds nothing to report whichever message of the profile it would be
    device: NameTemplate
    installed: bool  # reads only devices that devices.toml gives this profile
    name: NameTemplate | None
    device_class: str
    retained: lang.Retained
    fields: tuple[CompiledField, ...]
    time: CompiledTime | None
    event: CompiledEvent | None
    blob: lang.Blob | None
    label: NameTemplate | None
    availability: CompiledAvailability | None
    dedup: CompiledDedup | None
    learn: CompiledLearn | None
    silence_ns: int  # so long without a message, and the device is offline; 0: no matter
    via: NameTemplate | None  # the device it is behind
    asks_learned: bool  # conditions ask for what was learned of the device


class Compiled(NamedTuple):
    """A profile, ready to use."""

    source: lang.Profile
    file: str
    messages: tuple[CompiledMessage, ...]
    ignore: tuple[TopicTemplate, ...]
    commands: dict[str, tuple[lang.Command, ...]]  # of one name: the first whose captures the device has
    fields: dict[str, lang.Field]  # by name, for the inverse of commands
    needed: frozenset[str]  # the captures its commands need
    silence_ns: int  # so long without a message, and its devices are offline; 0: no matter
    writes: dict[str, tuple[CompiledWrite | None, ...]]  # beside `commands`: those to polled units


_CAPTURE = re.compile(r"\{(\w+|/[\w/]+)\}")


def captures_of(command: lang.Command) -> frozenset[str]:
    """Return the captures (or paths of the device's id) a command's topic and payload need."""
    if command.write is not None:
        return frozenset({"address"})
    texts = f"{command.topic} {command.text} {command.line} {command.hex} {command.json}"
    return frozenset([*command.needs, *_CAPTURE.findall(texts)])
