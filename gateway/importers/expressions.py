"""Expressions of templates: a recursive descent that knows paths, words, tables and comparisons, and nothing else.

`shapes.py` has what they come to, `templates.py` says what comes of them.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.importers.shapes import (
    NOTHING,
    Const,
    Dict,
    Path,
    Table,
    Test,
    Unclear,
    Value,
    Words,
    choice,
    either,
    filtered,
    is_changed,
    is_there,
    keys_of,
    number_of,
    numeric,
    truth,
)
from gateway.profiles.values import text_of

TOKENS_MAX = 200
DEPTH_MAX = 12
ENTRIES_MAX = 64  # of a dictionary

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>==|!=|<=|>=|[-+*/().,:\[\]{}|<>%~]))"
)


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
            while is_there(test, value) and self._accept("and"):
                test = self._comparison()
            other: Value = self._ternary() if self._accept("else") else Const("")
            value = value if is_there(test, value) else choice(test, value, other)
        self._depth -= 1
        return value

    def _comparison(self) -> Value:
        if self._accept("not"):
            value = self._comparison()
            test = truth(value) if isinstance(value, Path) else value
            if not isinstance(test, Test):
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
            if not isinstance(right, Words | Dict):
                raise Unclear("in something that is no list of words")
            words = right.words if isinstance(right, Words) else tuple(right.entries)
        elif isinstance(right, Const):
            words = (text_of(right.value),)
        else:
            raise Unclear("a comparison of two values")
        test = Test(left, words, holds=mark in ("==", "in"))
        if self._peek() == "and":
            raise Unclear("'and'")
        return either(test, self._comparison()) if self._accept("or") else test

    def _sum(self) -> Value:
        value = self._product()
        while mark := self._accept("+", "-"):
            right, sign = self._product(), 1 if mark == "+" else -1
            if isinstance(value, Const) and isinstance(right, Path):  # 100 - x
                path = numeric(right)
                value = path._replace(scale=sign * path.scale, offset=number_of(value) + sign * path.offset)
                continue
            path = numeric(value)
            value = path._replace(offset=path.offset + sign * number_of(right))
        return value

    def _product(self) -> Value:
        value = self._filtered()
        while mark := self._accept("*", "/"):
            number = number_of(self._filtered())
            if mark == "/" and not number:
                raise Unclear("a division by 0")
            factor = number if mark == "*" else 1 / number
            path = numeric(value)
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
            value = filtered(name, value, arguments)
        return value

    def _postfix(self, value: Value) -> Value:
        while True:
            if self._accept("."):
                kind, name = self._next()
                if name == "get" and self._peek() == "(":
                    value = self._got(value)
                elif name == "keys" and isinstance(value, Dict) and self._accept("("):
                    self._expect(")")
                elif kind in ("name", "number") and isinstance(value, Path) and not is_changed(value):
                    value = Path((*keys_of(value), name))
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
            return found._replace(otherwise=None if text.lower() in NOTHING else text)
        return filtered("default", found, [default])

    def _member(self, value: Value, key: Value) -> Value:
        if isinstance(value, Dict) and isinstance(key, Path):
            return Table(key, value.entries, None)
        constant = key.value if isinstance(key, Const) else None
        is_key = isinstance(constant, str) or (isinstance(constant, int) and constant >= 0)
        if is_key and isinstance(value, Path) and not is_changed(value):
            return Path((*keys_of(value), str(constant)))
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
            return Const(-number_of(self._primary()))
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

    def _dictionary(self) -> Dict:
        entries: dict[str, str] = {}
        while not self._accept("}"):
            key = text_of(self._constant())
            self._expect(":")
            entries[key] = text_of(self._constant())
            self._accept(",")
            if len(entries) > ENTRIES_MAX:
                raise Unclear("a long dictionary")
        return Dict(entries)

    def _words(self, end: str, *first: str) -> Words:
        words = list(first)
        while not self._accept(end):
            words.append(text_of(self._constant()))
            self._accept(",")
        return Words(tuple(words))

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
