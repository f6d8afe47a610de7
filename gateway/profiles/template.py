"""Templates: topics with captures, and the names made of what they captured.

A level of a topic template is literal text around at most one capture::

    {x}              any one level                {x+}        one or more levels (at most once in a template)
    {x:on|off}       one of these words           {x:!a|b*}   anything but these
    {base=home}      "home", unless the source says its prefix is another one
    POWER{n}         literal text around a capture

Words may hold ``*`` for any run of characters and ``?`` for any one. There are no regular expressions to write,
and matching is linear in the length of the topic. Segments of JSON pointers (`pointer.py`) use the same form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.errors import DecodeError

MEMO_MAX = 512  # texts whose match one segment remembers

Captures = dict[str, str]

_SEGMENT = re.compile(r"(?P<prefix>[^{}]*)\{(?P<inner>[^{}]*)\}(?P<suffix>[^{}]*)")
_INNER = re.compile(r"(?P<name>\w+)(?P<many>\+)?(?:=(?P<default>[^+#]+)|:(?P<negated>!)?(?P<words>.+))?")
_PART = re.compile(r"\{([^{}]+)\}")


class Segment(NamedTuple):
    """One level: literal text, or a capture between a prefix and a suffix."""

    literal: str | None
    name: str = ""  # empty for "*", which matches and keeps nothing
    prefix: str = ""
    suffix: str = ""
    many: bool = False
    default: str | None = None
    words: re.Pattern[str] | None = None
    negated: bool = False
    memo: dict[str, str | None] | None = None  # text -> what was captured; devices repeat their keys

    def match(self, text: str) -> str | None:
        """Return what is captured from `text` ("" for a literal), or None when it does not fit."""
        if self.literal is not None:
            return "" if text == self.literal else None
        memo = self.memo
        if memo is None:
            return self._captured(text)
        try:
            return memo[text]
        except KeyError:
            if len(memo) >= MEMO_MAX:
                memo.clear()
            captured = memo[text] = self._captured(text)
            return captured

    def _captured(self, text: str) -> str | None:
        if len(text) <= len(self.prefix) + len(self.suffix):
            return None
        if not (text.startswith(self.prefix) and text.endswith(self.suffix)):
            return None
        inner = text[len(self.prefix) : len(text) - len(self.suffix)]
        if self.words is not None and bool(self.words.fullmatch(inner)) is self.negated:
            return None
        return inner


def parse_segment(text: str) -> Segment:
    """Read one level of a template. Raises ValueError with what is wrong."""
    if text == "*":
        return Segment(None)
    found = _SEGMENT.fullmatch(text)
    if found is None:
        if "{" in text or "}" in text:
            raise ValueError(f"{text!r}: one capture {{x}} a level, no other braces")
        return Segment(text)
    inner = _INNER.fullmatch(found["inner"])
    if inner is None:
        raise ValueError(f"{text!r}: a capture is {{x}}, {{x+}}, {{x:a|b}}, {{x:!a|b}} or {{x=default}}")
    if (inner["many"] or inner["default"]) and (found["prefix"] or found["suffix"]):
        raise ValueError(f"{text!r}: {{x+}} and {{x=default}} stand alone on their level")
    words = inner["words"]
    alternatives = (
        "|".join(re.escape(word).replace(r"\*", ".*").replace(r"\?", ".") for word in words.split("|"))
        if words
        else None
    )
    return Segment(
        None,
        inner["name"],
        found["prefix"],
        found["suffix"],
        many=bool(inner["many"]),
        default=inner["default"],
        words=re.compile(alternatives) if alternatives else None,
        negated=bool(inner["negated"]),
        memo={},
    )


def _pattern(word: str) -> str:
    return re.escape(word).replace(r"\*", ".*").replace(r"\?", ".")


class TopicTemplate:
    """A topic template, parsed; `bound` fills in the prefixes that a source has changed."""

    def __init__(self, text: str) -> None:
        """Parse. Raises ValueError with what is wrong."""
        self.text = text
        if not text or "#" in text or "\0" in text or any(level == "+" for level in text.split("/")):
            raise ValueError(f"{text!r} is no topic template: captures are {{x}}, not + or #")
        self.segments = tuple(parse_segment(level) for level in text.split("/"))
        self._arrange()

    def _arrange(self) -> None:
        many = [i for i, segment in enumerate(self.segments) if segment.many]
        if len(many) > 1:
            raise ValueError(f"{self.text!r}: at most one {{x+}} a template")
        names = [segment.name for segment in self.segments if segment.name]
        if len(names) != len(set(names)):
            raise ValueError(f"{self.text!r}: a capture's name may stand once")
        self.captures = frozenset(names)
        at = many[0] if many else len(self.segments)
        self._head, self._tail = self.segments[:at], self.segments[at + 1 :]
        self._many = self.segments[at] if many else None
        self.specificity = (
            sum(s.literal is not None for s in self.segments),
            sum(len(s.prefix) + len(s.suffix) > 0 or s.words is not None for s in self.segments),
            -len(many),
            len(self.segments),
        )

    def bound(self, prefixes: Mapping[str, str]) -> TopicTemplate:
        """Return this template with each ``{base=default}`` replaced by the prefix in force.

        `prefixes` maps a default to what this source uses instead; a prefix may have several levels.
        """
        if all(segment.default is None for segment in self.segments):
            return self
        segments: list[Segment] = []
        self_defaults: Captures = {}
        for segment in self.segments:
            if segment.default is None:
                segments.append(segment)
                continue
            value = prefixes.get(segment.default, segment.default)
            self_defaults[segment.name] = value
            segments += [Segment(level) for level in value.split("/")]
        bound = object.__new__(TopicTemplate)
        bound.text, bound.segments = self.text, tuple(segments)
        bound._arrange()  # the same class
        bound._defaults = self_defaults
        return bound

    _defaults: Mapping[str, str] = {}

    def match(self, levels: list[str]) -> Captures | None:
        """Return the captures of a topic's levels, or None. Wildcards at the start skip ``$`` topics."""
        head, tail = self._head, self._tail
        if self._many is None:
            if len(levels) != len(head):
                return None
        elif len(levels) <= len(head) + len(tail):
            return None
        if levels[0].startswith("$") and self.segments[0].literal is None:
            return None
        found = dict(self._defaults)
        if not _fits(head, levels, found):
            return None
        if self._many is None:
            return found
        end = len(levels) - len(tail)
        if not _fits(tail, levels[end:], found):
            return None
        captured = self._many.match("/".join(levels[len(head) : end]))
        if captured is None:
            return None
        found[self._many.name] = captured
        return found

    def filter(self) -> str:
        """Return the MQTT topic filter that covers this template."""
        levels = [segment.literal if segment.literal is not None else "+" for segment in self._head]
        return "/".join([*levels, "#"] if self._many else levels)


def _fits(segments: tuple[Segment, ...], levels: list[str], found: Captures) -> bool:
    for segment, level in zip(segments, levels, strict=False):
        captured = segment.match(level)
        if captured is None:
            return False
        if segment.name:
            found[segment.name] = captured
    return True


class NameTemplate:
    """Text with ``{capture}`` and ``{/pointer}`` parts: a device's id, a field's name, a command's topic.

    ``a/{/pointer?}`` is only ``a`` where the message has nothing there.
    """

    def __init__(self, text: str) -> None:
        """Parse. Raises ValueError with what is wrong."""
        self.text = text
        pieces = _PART.split(text)
        if not text or any("{" in piece or "}" in piece for piece in pieces[::2]):
            raise ValueError(f"{text!r}: parts are {{capture}} or {{/path/in/the/message}}")
        self._may_lack = frozenset(i for i in range(1, len(pieces), 2) if pieces[i][0] == "/" and pieces[i][-1] == "?")
        self._pieces = tuple(piece[:-1] if i in self._may_lack else piece for i, piece in enumerate(pieces))
        self.paths = tuple(piece for piece in self._pieces[1::2] if piece.startswith("/"))
        self.captures = frozenset(piece for piece in self._pieces[1::2] if not piece.startswith("/"))

    def render(self, captures: Mapping[str, str], path: Callable[[str], str] | None = None) -> str:
        """Fill in; `path` reads a pointer from the message. KeyError for a capture that is missing."""
        out = list(self._pieces)
        for i in range(1, len(out), 2):
            part = out[i]
            try:
                out[i] = path(part) if path and part.startswith("/") else captures[part]
            except DecodeError:
                if i not in self._may_lack:
                    raise
                out[i - 1], out[i] = out[i - 1].removesuffix("/"), ""
        return "".join(out)


def covers(wide: str, narrow: str) -> bool:
    """Return whether every topic that matches filter `narrow` also matches filter `wide`."""
    wanted, got = wide.split("/"), narrow.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(got) or got[i] == "#" or (level != "+" and level != got[i]):
            return False
    return len(wanted) == len(got)
