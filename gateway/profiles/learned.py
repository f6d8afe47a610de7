"""What devices said once and messages need later: what a sensor is (its presentation), which profile a teach-in named.

Learned words are notes of a device (`report.NOTES`, "learned"): journalled with its values and known again after a
restart. Conditions ask for them by ``learned = "child_kind"``; to that end they are put into the message under
`LEARNED`, where pointers find them. The word `profile` names the profile that reads a device whose messages do not
say what it is.

Bounds: `compile_learn.WORDS_MAX` words of a device (they stand in the profile), each of `WORD_CHARS_MAX` characters.
"""

from __future__ import annotations

from typing import Any

from gateway.profiles.bind import Bound
from gateway.profiles.compiled import CompiledLearn
from gateway.profiles.context import Context, Decoded
from gateway.profiles.report import NOTES, notes_of
from gateway.profiles.values import LEARNED

WORD_CHARS_MAX = 64
PROFILE = "profile"  # this word is the profile that reads the device, unless devices.toml says another


def recall(context: Context, subject: str | None, document: Any) -> None:
    """Put what was learned of a device into a message, for conditions."""
    if document.__class__ is dict:
        known = context.values.get(subject) if subject else None
        document[LEARNED] = known.get(NOTES, {}).get("learned", {}) if known else {}


def refuses(context: Context, bound: Bound) -> bool:
    """Return whether this profile must not read a device: another was named for it, or none was and one must be."""
    if not bound.refused or bound.listed:
        return bound.refused
    known = context.values.get(bound.subject)
    return not known or known.get(NOTES, {}).get("learned", {}).get(PROFILE) != bound.message.profile


def learn(context: Context, bound: Bound, spec: CompiledLearn, member: Any, out: Decoded) -> None:
    """Remember the words of a message."""
    said = {name: teach(bound.captures, member)[:WORD_CHARS_MAX] for name, teach in spec.words}
    known = context.values.get(bound.subject)
    if known is None:
        context.admit(bound.subject)
        known = context.values[bound.subject] = {NOTES: {}}
    learned = notes_of(known).setdefault("learned", {})
    if any(learned.get(name) != word for name, word in said.items()):
        learned.update(said)
        out.changed.append(bound.subject)
    words = ", ".join(f"{name} = {word}" for name, word in said.items())
    out.ignored = f"{bound.message.profile}: learned {words}"
