"""A TOML document that knows on which line each key stands, so that every fault can say where.

`tomllib` reads the values; `_Scanner` walks the same text again only to find places. The scanner relies
on tomllib having accepted the text, so it is short and lenient. A place is named by a path of keys and
array indices: ``("field", 2, "unit")`` is the unit in the third ``[[field]]``.

Faults come as `errors.ConfigError` that holds every fault found, each with file, line and, for a word
nobody knows, what was probably meant.  Source: TOML 1.0.0.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import inspect as shape

from gateway.errors import ConfigError, Fault, probably_meant

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024  # a file a person writes; tomllib slows down far below this

Place = tuple[str | int, ...]
T = TypeVar("T")

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|' r"'''.*?'{3,5}(?!')|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
    re.DOTALL,
)
_AT_LINE = re.compile(r" ?\(at line (\d+), column \d+\)| ?\(at end of document\)")


class Document:
    """A parsed TOML file: `data` as tomllib gives it, and the line of every key in it."""

    def __init__(self, text: str, file: Path | str) -> None:
        """Parse `text`; `file` is only its name in faults. Raises ConfigError on a syntax error."""
        self.file = file
        self.text = text
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError([_syntax_fault(file, text, str(error))]) from None
        except RecursionError:
            raise ConfigError([Fault(file, None, "nested too deeply")]) from None

    @classmethod
    def of(cls, data: dict[str, Any], file: Path | str) -> Document:
        """Take a document that was never a file: its faults have no line."""
        made = cls("", file)
        made.data = data
        return made

    @classmethod
    def read(cls, file: Path) -> Document:
        """Read and parse a file. Raises ConfigError if it cannot be read, is not UTF-8 or not TOML."""
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise ConfigError([Fault(file, None, error.strerror or str(error))]) from None
        if len(raw) > DOCUMENT_BYTES_MAX:
            raise ConfigError([Fault(file, None, f"{len(raw)} bytes, the limit is {DOCUMENT_BYTES_MAX}")])
        try:
            return cls(raw.decode("utf-8-sig").replace("\r\n", "\n"), file)
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise ConfigError([Fault(file, line, f"byte 0x{raw[error.start]:02x} is not UTF-8")]) from None

    @cached_property
    def _lines(self) -> dict[Place, int]:
        """Where every key stands: looked for when something is wrong, because mostly nothing is."""
        return _Scanner(self.text).lines

    def line(self, at: Place) -> int | None:
        """Return the line of a key, or of the nearest table around it; None for the empty place."""
        for end in range(len(at), 0, -1):
            found = self._lines.get(at[:end])
            if found is not None:
                return found
        return None

    def fault(self, at: Place, what: str, hint: str | None = None) -> Fault:
        """Make a Fault at a place in this document."""
        return Fault(self.file, self.line(at), what, hint, at)

    def convert(self, kind: type[T], at: Place = ()) -> T:
        """Convert the table at a place into a msgspec Struct. Raises ConfigError with every fault in it.

        `kind` should forbid unknown fields; defaults and `__post_init__` checks (ValueError) apply.
        """
        value = self.data
        for key in at:
            value = value[key]  # type: ignore[index]  # an int key belongs to a list of tables
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            faults = list(self._faults(shape.type_info(kind), value, at))
            raise ConfigError(faults or [self.fault(at, str(error))]) from None

    def _faults(self, kind: shape.Type, value: Any, at: Place) -> Iterator[Fault]:
        """Find what is wrong below a place: msgspec stops at the first fault, a person wants them all."""
        if isinstance(kind, shape.Metadata):
            kind = kind.type
        said = _tag_fault(kind, value)
        if said is not None:
            yield self.fault((*at, said[0]), said[1], said[2])
            return
        if isinstance(kind, shape.UnionType):
            kind = _chosen(kind, value)
        if isinstance(kind, shape.StructType) and isinstance(value, dict):
            yield from self._struct_faults(kind, value, at)
        elif isinstance(kind, shape.DictType) and isinstance(value, dict):
            for key, inner in value.items():
                yield from self._leaf_faults(kind.key_type, key, (*at, key))
                yield from self._faults(kind.value_type, inner, (*at, key))
        elif isinstance(kind, (shape.ListType, shape.VarTupleType)) and isinstance(value, list):
            for index, inner in enumerate(value):
                yield from self._faults(kind.item_type, inner, (*at, index))
        else:
            yield from self._leaf_faults(kind, value, at)

    def _struct_faults(self, kind: shape.StructType, value: dict[str, Any], at: Place) -> Iterator[Fault]:
        fields = {field.encode_name: field for field in kind.fields}
        known = [*fields, kind.tag_field] if kind.tag_field else list(fields)
        found = False
        for key in value.keys() - set(known) if kind.forbid_unknown_fields else ():
            found = True
            yield self.fault((*at, key), f"unknown key {key!r}", probably_meant(key, known))
        for name, field in fields.items():
            if name in value:
                for fault in self._faults(field.type, value[name], (*at, name)):
                    found = True
                    yield fault
            elif field.required:
                found = True
                yield self.fault(at, f"missing key {name!r}")
        if not found:  # each key alone is right: what is left is the table's own check
            yield from self._leaf_faults(kind, value, at)

    def _leaf_faults(self, kind: shape.Type, value: Any, at: Place) -> Iterator[Fault]:
        try:
            msgspec.convert(value, _type_of(kind))
        except msgspec.ValidationError as error:
            name = f"{at[-1]!r}: " if at and isinstance(at[-1], str) and not isinstance(kind, shape.StructType) else ""
            what = re.sub(r" - at `\$.*`$", "", str(error))
            known = _words(kind)
            if known:
                what = f"{value!r} is not one of {', '.join(map(repr, known))}"
            hint = probably_meant(value, known) if isinstance(value, str) else None
            yield self.fault(at, name + what, hint)


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise ConfigError if there is any fault."""
    found = sorted(faults, key=lambda fault: (str(fault.file), fault.line or 0))
    if found:
        raise ConfigError(found)


def _syntax_fault(file: Path | str, text: str, message: str) -> Fault:
    place = _AT_LINE.search(message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    return Fault(file, line, f"not TOML: {_AT_LINE.sub('', message)}")


def _chosen(kind: shape.UnionType, value: Any) -> shape.Type:
    """Pick the member of a union that a value was probably meant to be."""
    wanted: tuple[type, ...] = ()
    if isinstance(value, dict):
        structs = [t for t in kind.types if isinstance(t, shape.StructType)]
        tagged = [t for t in structs if t.tag_field and value.get(t.tag_field) == t.tag]
        if tagged or len(structs) == 1:
            return (tagged or structs)[0]
        wanted = (shape.DictType,)
    elif isinstance(value, list):
        wanted = (shape.ListType, shape.VarTupleType)
    return next((t for t in kind.types if wanted and isinstance(t, wanted)), kind)


def _tag_fault(kind: shape.Type, value: Any) -> tuple[str, str, str | None] | None:
    """Return (key, what, hint) when a table of several types does not say one of them."""
    kinds = kind.types if isinstance(kind, shape.UnionType) else (kind,)
    tagged = [t for t in kinds if isinstance(t, shape.StructType) and t.tag_field]
    if not tagged or not isinstance(value, dict):
        return None
    key, known = str(tagged[0].tag_field), [str(t.tag) for t in tagged]
    if key not in value:
        return key, f"missing key {key!r}", f"it is one of {', '.join(known)}"
    if value[key] in known:
        return None
    word = str(value[key])
    return key, f"{key!r}: {word!r} is not one of {', '.join(map(repr, known))}", probably_meant(word, known)


def _words(kind: shape.Type) -> list[str]:
    """Return the words a Literal or Enum allows, so that a fault can list them."""
    if isinstance(kind, shape.LiteralType):
        return [str(value) for value in kind.values]
    if isinstance(kind, shape.EnumType):
        return [str(member.value) for member in kind.cls]
    if isinstance(kind, shape.UnionType):
        return [word for member in kind.types for word in _words(member)]
    return []


def _type_of(kind: shape.Type) -> Any:
    """Turn what `msgspec.inspect` says back into a type that `msgspec.convert` takes."""
    if isinstance(kind, (shape.StructType, shape.EnumType, shape.CustomType)):
        return kind.cls
    if isinstance(kind, shape.LiteralType):
        return _literal(kind.values)
    if isinstance(kind, shape.UnionType):
        members = [_type_of(member) for member in kind.types]
        union = members[0]
        for member in members[1:]:
            union = union | member
        return union
    remake = _REMAKE.get(type(kind))
    return remake(kind) if remake else Any


def _literal(values: tuple[Any, ...]) -> Any:
    return Literal[values]


def _number(kind: Any) -> Any:
    base = int if isinstance(kind, shape.IntType) else float
    limits = {name: getattr(kind, name) for name in ("gt", "ge", "lt", "le") if getattr(kind, name) is not None}
    return Annotated[base, msgspec.Meta(**limits)] if limits else base


def _text(kind: Any) -> Any:
    limits = {n: getattr(kind, n) for n in ("min_length", "max_length", "pattern") if getattr(kind, n) is not None}
    return Annotated[str, msgspec.Meta(**limits)] if limits else str


def _sequence(kind: Any) -> Any:
    return list[_type_of(kind.item_type)]  # type: ignore[misc]


def _mapping(kind: Any) -> Any:
    return dict[_type_of(kind.key_type), _type_of(kind.value_type)]  # type: ignore[misc]


_REMAKE: dict[type, Any] = {
    shape.IntType: _number,
    shape.FloatType: _number,
    shape.StrType: _text,
    shape.BoolType: lambda _: bool,
    shape.NoneType: lambda _: None,
    shape.ListType: _sequence,
    shape.VarTupleType: _sequence,
    shape.DictType: _mapping,
}


class _Scanner:
    """Finds the line of every key in TOML that tomllib has accepted."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._text = text
        self._at = 0
        self._counted = (0, 1)  # (position, its line): lines are counted onwards, never from the start
        self._arrays: dict[Place, int] = {}  # index of the last [[table]] of that name
        self._document()

    def _document(self) -> None:
        table: Place = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _line(self) -> int:
        position, line = self._counted
        line += self._text.count("\n", position, self._at)
        self._counted = (self._at, line)
        return line

    def _header(self) -> Place:
        many = self._text.startswith("[[", self._at)
        line = self._line()
        self._at += 2 if many else 1
        keys = self._keys()
        self._at += 2 if many else 1
        place: Place = ()
        for depth, key in enumerate(keys):
            place = (*place, key)
            if many and depth == len(keys) - 1:
                self._arrays[place] = self._arrays.get(place, -1) + 1
            if place in self._arrays:
                self.lines.setdefault(place, line)
                place = (*place, self._arrays[place])
            self.lines.setdefault(place, line)
        self.lines[place] = line  # the header itself says more than an earlier [a.b] that implied it
        return place

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._text.startswith(".", self._skip(_SPACE)):
            self._at += 1
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        start = self._skip(_SPACE)
        if self._text[start] not in "\"'":
            self._skip(_BARE)
            return self._text[start : self._at]
        self._skip(_STRING)
        return str(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])

    def _pair(self, table: Place) -> None:
        line = self._line_at_key()
        keys = self._keys()
        self._at += 1  # the equals sign
        place = table
        for key in keys:
            place = (*place, key)
            self.lines.setdefault(place, line)
        self._value(place)

    def _line_at_key(self) -> int:
        self._skip(_SPACE)
        return self._line()

    def _value(self, place: Place) -> None:
        opening = self._text[self._skip(_SPACE)]
        if opening in "\"'":
            self._skip(_STRING)
        elif opening == "[":
            self._members("]", place)
        elif opening == "{":
            self._members("}", place)
        else:
            self._skip(_SCALAR)

    def _members(self, closing: str, place: Place) -> None:
        self._at += 1
        index = 0
        while not self._text.startswith(closing, self._skip(_BLANK)):
            if closing == "]":
                self.lines[(*place, index)] = self._line()
                self._value((*place, index))
                index += 1
            else:
                self._pair(place)
            if self._text.startswith(",", self._skip(_BLANK)):
                self._at += 1
        self._at += 1
