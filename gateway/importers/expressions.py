"""Expressions of templates: a recursive descent that knows paths, words, tables and comparisons, and nothing else.

`templates.py` says what comes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.profiles.values import text_of

TOKENS_MAX = 200
DEPTH_MAX = 12
ENTRIES_MAX = 64  # of a dictionary

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>==|!=|<=|>=|[-+*/().,:\[\]{}|<>%~]))"
)
_NOTHING = frozenset({"", "none", "null", "unknown", "unavailable"})
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


class Const(NamedTuple):
    """A word or number of the template itself."""

    value: Any


class _Dict(NamedTuple):
    entries: dict[str, str]


class _Words(NamedTuple):
    words: tuple[str, ...]


class _Test(NamedTuple):
    path: Path
    words: tuple[str, ...]
    holds: bool  # for these words; otherwise for all others


Shape = Path | Table
Value = Path | Table | Const | _Dict | _Words | _Test


def shape(value: Value) -> Shape:
    """Return what an expression comes to. Raises Unclear when that is no value of the message."""
    if isinstance(value, _Test):
        words = dict.fromkeys(value.words, text_of(value.holds))
        return Table(value.path, words, text_of(not value.holds))
    if not isinstance(value, Path | Table):
        raise Unclear("no value of the message")
    return value


def choice(test: Value, yes: Value, no: Value) -> Value:
    """Return what an if comes to. Raises Unclear."""
    if isinstance(test, Path):
        test = _truth(test)
    if not isinstance(test, _Test):
        raise Unclear("a condition that is no comparison of one value with words")
    if not test.holds:
        yes, no = no, yes
    if isinstance(no, Table) and isinstance(yes, Const) and no.path == test.path:  # one of several
        return no._replace(map={**no.map, **dict.fromkeys(test.words, text_of(yes.value))})
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
    return Table(test.path, found, None if other.lower() in _NOTHING else other)


def _truth(path: Path) -> _Test:
    if path.keys is None or path.number:
        raise Unclear("whether text is true")
    return _Test(path, _FALSE, holds=False)


class Parser:
    """A recursive descent over one expression."""

    def __init__(self, text: str, names: dict[str, Value]) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._names = names
        self._depth = 0

    def whole(self) -> Value:
        """Read all of it. Raises Unclear."""
        value = self._ternary()
        if self._at < len(self._tokens):
            raise Unclear(f"{self._tokens[self._at][1]!r}")
        return value

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise Unclear("an expression that breaks off")
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, *marks: str) -> str:
        if self._at < len(self._tokens) and self._tokens[self._at][0] != "text" and self._peek() in marks:
            return self._next()[1]
        return ""

    def _expect(self, mark: str) -> None:
        if not self._accept(mark):
            raise Unclear(f"{self._peek()!r} where {mark!r} was expected")

    def _ternary(self) -> Value:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Unclear("nested too deeply")
        value = self._comparison()
        if self._accept("if"):
            test = self._comparison()
            other: Value = Const("")
            if self._accept("else"):
                other = self._ternary()
            value = value if test == Const(value) else choice(test, value, other)
        self._depth -= 1
        return value

    def _comparison(self) -> Value:
        if self._accept("not"):
            value = self._comparison()
            test = _truth(value) if isinstance(value, Path) else value
            if not isinstance(test, _Test):
                raise Unclear("not")
            return test._replace(holds=not test.holds)
        left = self._sum()
        if self._accept("is"):
            self._expect("defined")
            return Const(left)
        mark = self._accept("==", "!=", "in", "not", "<", ">", "<=", ">=", "and", "or")
        if not mark:
            return left
        if mark == "not":
            self._expect("in")
        if mark not in ("==", "!=", "in", "not") or not isinstance(left, Path) or left.scale != 1 or left.offset:
            raise Unclear(f"{mark!r}")
        right = self._sum()
        if mark in ("in", "not"):
            if not isinstance(right, _Words | _Dict):
                raise Unclear("in something that is no list of words")
            words = right.words if isinstance(right, _Words) else tuple(right.entries)
        elif isinstance(right, Const):
            words = (text_of(right.value),)
        else:
            raise Unclear("a comparison of two values")
        if self._peek() in ("and", "or"):
            raise Unclear(f"{self._peek()!r}")
        return _Test(left, words, holds=mark in ("==", "in"))

    def _sum(self) -> Value:
        value = self._product()
        while mark := self._accept("+", "-"):
            number = _number(self._product())
            path = _numeric(value)
            value = path._replace(offset=path.offset + (number if mark == "+" else -number))
        return value

    def _product(self) -> Value:
        value = self._filtered()
        while mark := self._accept("*", "/"):
            number = _number(self._filtered())
            if mark == "/" and not number:
                raise Unclear("a division by 0")
            factor = number if mark == "*" else 1 / number
            path = _numeric(value)
            value = path._replace(scale=path.scale * factor, offset=path.offset * factor)
        return value

    def _filtered(self) -> Value:
        value = self._postfix(self._primary())
        while self._accept("|"):
            name = self._next()[1]
            arguments: list[Value] = []
            if self._accept("("):
                while not self._accept(")"):
                    arguments.append(self._ternary())
                    self._accept(",")
            value = _filter(name, value, arguments)
        return value

    def _postfix(self, value: Value) -> Value:
        while True:
            if self._accept("."):
                kind, name = self._next()
                if name == "get" and self._peek() == "(":
                    value = self._got(value)
                elif name == "keys" and isinstance(value, _Dict) and self._accept("("):
                    self._expect(")")
                elif kind in ("name", "number") and isinstance(value, Path) and not _is_changed(value):
                    value = Path((*_keys(value), name))
                else:
                    raise Unclear(f".{name}")
            elif self._accept("["):
                inner = self._ternary()
                self._expect("]")
                value = self._member(value, inner)
            else:
                return value

    def _got(self, value: Value) -> Value:
        self._expect("(")
        key = self._ternary()
        default: Value = Const(None)
        if self._accept(","):
            default = self._ternary()
        self._expect(")")
        found = self._member(value, key)
        if not isinstance(default, Const):
            raise Unclear("a default that is no word")
        text = text_of(default.value)
        if isinstance(found, Table):
            return found._replace(otherwise=None if text.lower() in _NOTHING else text)
        return _filter("default", found, [default])

    def _member(self, value: Value, key: Value) -> Value:
        if isinstance(value, _Dict) and isinstance(key, Path):
            return Table(key, value.entries, None)
        constant = key.value if isinstance(key, Const) else None
        is_key = isinstance(constant, str) or (isinstance(constant, int) and constant >= 0)
        if is_key and isinstance(value, Path) and not _is_changed(value):
            return Path((*_keys(value), str(constant)))
        raise Unclear("a look-up of something else than a key")

    def _primary(self) -> Value:
        kind, text = self._next()
        if kind == "text":
            return Const(re.sub(r"\\(.)", r"\1", text[1:-1]))
        if kind == "number":
            return Const(float(text) if "." in text else int(text))
        if kind == "name":
            return self._name(text)
        if text == "-" and self._tokens[self._at : self._at + 1] and self._tokens[self._at][0] == "number":
            return Const(-_number(self._primary()))
        if text == "(":
            value = self._ternary()
            if isinstance(value, Const) and self._accept(","):
                return self._words(")", text_of(value.value))
            self._expect(")")
            return value
        if text == "{":
            return self._dictionary()
        if text == "[":
            return self._words("]")
        raise Unclear(f"{text!r}")

    def _name(self, text: str) -> Value:
        constant = {"true": True, "false": False, "none": None}
        if text.lower() in constant:
            return Const(constant[text.lower()])
        if text in self._names:
            return self._names[text]
        if text == "value_json":
            return Path(())
        if text == "value":
            return Path(None)
        raise Unclear(f"{text[:40]!r}")

    def _dictionary(self) -> _Dict:
        entries: dict[str, str] = {}
        while not self._accept("}"):
            key = text_of(self._constant())
            self._expect(":")
            entries[key] = text_of(self._constant())
            self._accept(",")
            if len(entries) > ENTRIES_MAX:
                raise Unclear("a long dictionary")
        return _Dict(entries)

    def _words(self, end: str, *first: str) -> _Words:
        words = list(first)
        while not self._accept(end):
            words.append(text_of(self._constant()))
            self._accept(",")
        return _Words(tuple(words))

    def _constant(self) -> Any:
        value = self._primary()
        if not isinstance(value, Const):
            raise Unclear("a dictionary or list of something else than words")
        return value.value


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    text = text.strip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None or len(found) >= TOKENS_MAX:
            raise Unclear(f"{text[at : at + 20]!r}")
        kind = token.lastgroup or ""
        found.append((kind, token[kind]))
        at = token.end()
    return found


def _keys(path: Path) -> tuple[str, ...]:
    if path.keys is None:
        raise Unclear("a member of text")
    return path.keys


def _is_changed(path: Path) -> bool:
    return path.number or path.folded or path.scale != 1.0 or path.offset != 0.0


def _numeric(value: Value) -> Path:
    if not isinstance(value, Path):
        raise Unclear("arithmetic with words")
    return value._replace(number=True)


def _number(value: Value) -> float:
    if not isinstance(value, Const) or isinstance(value.value, bool) or not isinstance(value.value, int | float):
        raise Unclear("arithmetic with two values")
    return value.value


def _filter(name: str, value: Value, arguments: Sequence[Value]) -> Value:
    if name in ("is_defined", "string", "trim"):
        return value
    if name in ("default", "d"):
        return _defaulted(value, arguments)
    known = _FILTERS.get(name)
    if known is None:
        raise Unclear(f"| {name[:20]}")
    if isinstance(value, _Test):
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
    if isinstance(value, Table) and value.otherwise is None and text.lower() not in _NOTHING:
        return value._replace(otherwise=text)  # of what is not in the table, not of what is not there
    if not isinstance(default, Const) or text.lower() not in _NOTHING:
        raise Unclear("| default with a value")
    return value


_FILTERS: dict[str, Callable[[Path], Path]] = {
    "float": lambda path: path._replace(number=True),
    "int": lambda path: path._replace(number=True),
    "round": lambda path: path._replace(number=True),
    "lower": lambda path: path._replace(folded=True),
    "upper": lambda path: path._replace(folded=True),
}
