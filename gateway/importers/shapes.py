"""What the expressions of templates come to: a value of the message, words that stand for it, a table, a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from gateway.profiles.values import text_of

NOTHING = frozenset({"", "none", "null", "unknown", "unavailable"})
_FALSE = ("false", "0", "", "null")


class Unclear(ValueError):
    """A template that is none of the shapes; its text says what was met."""


class Path(NamedTuple):
    """A value of the message: where it is, and a factor."""

    keys: tuple[str, ...] | None  # None: the payload itself
    scale: float = 1.0
    offset: float = 0.0
    number: bool = False
    folded: bool = False  # in one case


class Table(NamedTuple):
    """A value of the message, and what stands for it."""

    path: Path
    map: dict[str, str]  # text form -> text form
    otherwise: str | None  # None: unknown
    through: bool = False  # what is not in the map stands for itself


class Const(NamedTuple):
    """A word or number of the template itself."""

    value: Any


class Dict(NamedTuple):
    """A dictionary of the template."""

    entries: dict[str, str]


class Words(NamedTuple):
    """A list of the template."""

    words: tuple[str, ...]


class Test(NamedTuple):
    """Whether a value is one of some words."""

    path: Path
    words: tuple[str, ...]
    holds: bool  # for these words; otherwise for all others


Shape = Path | Table
Value = Path | Table | Const | Dict | Words | Test


def shape(value: Value) -> Shape:
    """Return what an expression comes to. Raises Unclear when that is no value of the message."""
    if isinstance(value, Test):
        words = dict.fromkeys(value.words, text_of(value.holds))
        return Table(value.path, words, text_of(not value.holds))
    if not isinstance(value, Path | Table):
        raise Unclear("no value of the message")
    return value


def choice(test: Value, yes: Value, no: Value) -> Value:
    """Return what an if comes to. Raises Unclear."""
    if isinstance(test, Path):
        test = truth(test)
    if not isinstance(test, Test):
        raise Unclear("a condition that is no comparison of one value with words")
    if not test.holds:
        yes, no = no, yes
    if isinstance(no, Table) and isinstance(yes, Const) and no.path == test.path:  # one of several
        return no._replace(map={**no.map, **dict.fromkeys(test.words, text_of(yes.value))})
    if no == test.path and isinstance(yes, Const):
        return Table(test.path, dict.fromkeys(test.words, text_of(yes.value)), None, through=True)
    if not isinstance(no, Const):
        raise Unclear("an if whose other side is no word")
    if isinstance(yes, Const):
        found = dict.fromkeys(test.words, text_of(yes.value))
    elif yes == test.path:
        found = {word: word for word in test.words}
    elif isinstance(yes, Table) and yes.path == test.path and yes.map.keys() >= set(test.words):
        found = {word: yes.map[word] for word in test.words}
    else:
        raise Unclear("an if about another value than it shows")
    other = text_of(no.value)
    return Table(test.path, found, None if other.lower() in NOTHING else other)


def is_there(test: Value, value: Value) -> bool:
    """Return whether a test says only that a value, or what it is in, is defined."""
    path, asked = value.path if isinstance(value, Table) else value, test.value if isinstance(test, Const) else None
    if not isinstance(path, Path) or not isinstance(asked, Path):
        return False
    return path.keys is asked.keys or bool(asked.keys and path.keys and path.keys[: len(asked.keys)] == asked.keys)


def as_sent(words: Iterable[str]) -> Iterator[str | float]:
    """Yield words as a message may have them: a number may be one, or its text."""
    for word in words:
        yield word
        try:
            yield float(word)
        except ValueError:
            continue


def truth(path: Path) -> Test:
    """Return whether a value is true. Raises Unclear."""
    if path.keys is None or path.number:
        raise Unclear("whether text is true")
    return Test(path, _FALSE, holds=False)


def either(one: Value, other: Value) -> Test:
    """Return what two comparisons come to, of which one has to hold. Raises Unclear."""
    if not (isinstance(one, Test) and isinstance(other, Test) and one.holds and other.holds and one.path == other.path):
        raise Unclear("'or'")
    return one._replace(words=(*one.words, *other.words))


def keys_of(path: Path) -> tuple[str, ...]:
    """Return where a member is. Raises Unclear."""
    if path.keys is None:
        raise Unclear("a member of text")
    return path.keys


def is_changed(path: Path) -> bool:
    """Return whether it is no longer what the message says."""
    return path.number or path.folded or path.scale != 1.0 or path.offset != 0.0


def numeric(value: Value) -> Path:
    """Return a value that is reckoned with. Raises Unclear."""
    if not isinstance(value, Path):
        raise Unclear("arithmetic with words")
    return value._replace(number=True)


def number_of(value: Value) -> float:
    """Return a number of the template. Raises Unclear."""
    if not isinstance(value, Const) or isinstance(value.value, bool) or not isinstance(value.value, int | float):
        raise Unclear("arithmetic with two values")
    return value.value


def filtered(name: str, value: Value, arguments: Sequence[Value]) -> Value:
    """Return what a filter makes of a value. Raises Unclear."""
    if name in ("is_defined", "string", "trim"):
        return value
    if name in ("default", "d"):
        return _defaulted(value, arguments)
    known = _FILTERS.get(name)
    if known is None:
        raise Unclear(f"| {name[:20]}")
    if isinstance(value, Test):
        value = shape(value)
    if isinstance(value, Table) and name in ("lower", "upper"):
        return value
    if isinstance(value, Const) and isinstance(value.value, int | float):
        return value  # `x / 9 | round(1)` rounds the 9
    if not isinstance(value, Path):
        raise Unclear(f"| {name} of something else than a value of the message")
    return known(value)


def _defaulted(value: Value, arguments: Sequence[Value]) -> Value:
    default = arguments[0] if arguments else Const("")
    if isinstance(value, Table) and default == value.path:
        return value
    text = text_of(default.value) if isinstance(default, Const) else ""
    if isinstance(value, Table) and value.otherwise is None and text.lower() not in NOTHING:
        return value._replace(otherwise=text)  # of what is not in the table, not of what is not there
    if not isinstance(default, Const) or text.lower() not in NOTHING:
        raise Unclear("| default with a value")
    return value


_FILTERS: dict[str, Callable[[Path], Path]] = {
    "float": lambda path: path._replace(number=True),
    "int": lambda path: path._replace(number=True),
    "round": lambda path: path._replace(number=True),
    "lower": lambda path: path._replace(folded=True),
    "upper": lambda path: path._replace(folded=True),
}
