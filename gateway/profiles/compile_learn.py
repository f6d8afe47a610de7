"""The [[learn]] tables of a profile, as messages that remember, and what makes messages the same (`dedup`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.document import Place
from gateway.errors import DecodeError
from gateway.profiles import language as lang
from gateway.profiles.check import Check, pointers_of
from gateway.profiles.compiled import CompiledLearn, Teach
from gateway.profiles.pointer import ABSENT, compile_pointer, first_of, segments_of
from gateway.profiles.repeats import CompiledDedup
from gateway.profiles.template import NameTemplate
from gateway.profiles.times import duration_ns
from gateway.profiles.values import shown, text_of

WORDS_MAX = 16  # that one profile may learn of a device


def compile_learn(check: Check, table: lang.Learn, at: Place, captures: frozenset[str]) -> CompiledLearn:
    """Compile what one [[learn]] remembers."""
    if not table.set:
        check.fault((*at, "set"), "nothing to learn: `set` is empty")
    words = []
    for name, source in table.set.items():
        place: Place = (*at, "set", name)
        if isinstance(source, str):
            template = check.name(source, place, captures)
            teach = _from_template(template) if template else None
        else:
            read = check.attempt(place, first_of, pointers_of(source.source))
            teach = _from_message(read, source.map)
        if teach is not None:
            words.append((name, teach))
    return CompiledLearn(tuple(words))


def check_learned(check: Check, profile: lang.Profile) -> None:
    """Say so when a condition asks for what nothing learns, or more is learned than is kept."""
    names = {name for table in profile.learn for name in table.set}
    if len(names) > WORDS_MAX:
        check.fault(("learn", 0), f"{len(names)} words to learn, at most {WORDS_MAX}")
    check.learned = names


def asks_learned(conditions: Iterable[lang.Condition]) -> bool:
    """Return whether one of these asks for what was learned."""
    return any(condition.learned is not None for condition in conditions)


def conditions_of(message: lang.Message, fields: Iterable[lang.Field]) -> list[lang.Condition]:
    """Return every condition that reading a message asks."""
    found = [*message.when, *message.skip]
    for field in fields:
        found += [*field.when, *([field.valid_if] if field.valid_if else [])]
    return found


def compile_dedup(check: Check, dedup: lang.Dedup | None, at: Place) -> CompiledDedup | None:
    """Compile what makes two messages the same."""
    if dedup is None:
        return None
    window = check.attempt((*at, "window"), duration_ns, dedup.window)
    if window == 0:
        check.fault((*at, "window"), "a window of no length: write how long a repeat may come after the first")
    return CompiledDedup(
        window or 0,
        dedup.window,
        tuple(check.attempt((*at, "key", i), compile_pointer, key) for i, key in enumerate(dedup.key)),
        tuple(check.attempt((*at, "ignore", i), segments_of, path) or () for i, path in enumerate(dedup.ignore)),
    )


def _from_template(template: NameTemplate) -> Teach:
    def teach(captures: Mapping[str, str], member: Any) -> str:
        return template.render(captures, lambda path: _text(compile_pointer(path)(member), path))

    return teach


def _from_message(read: Callable[[Any], Any], words: Mapping[str, str]) -> Teach:
    def teach(_: Mapping[str, str], member: Any) -> str:
        text = _text(read(member), "the word")
        return words.get(text, words.get("else", text)) if words else text

    return teach


def _text(raw: Any, what: str) -> str:
    if raw is ABSENT or raw is None or raw.__class__ in (dict, list):
        raise DecodeError(f"nothing to learn: {what} is {shown(raw) if raw is not ABSENT else 'missing'}")
    return text_of(raw)
