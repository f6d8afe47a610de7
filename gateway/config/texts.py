"""Texts in a config that stand for something else: durations, sizes, paths, secrets.

Before a table is converted into its options type, `read_texts` replaces these texts by what they mean, as
the type of the option says: a number whose name carries a unit (`max_delay_ms`, `bytes_max`) may be written
``"20ms"`` or ``"1GB"``, a `Path` is relative to the config's folder, a `Secret` is a table that says where.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import inspect as shape

from gateway.document import Document, Place
from gateway.errors import Fault
from gateway.quantity import DURATION_EXAMPLES, SIZE_EXAMPLES, read_as
from gateway.secrets import Secret, secret_of

UNREADABLE = Secret("env", "unreadable")  # stands in for a secret with a fault, so that the rest is still checked


def read_texts(document: Document, kind: type, at: Place, folder: Path) -> Iterator[Fault]:
    """Replace texts in `document.data` at a place by what `kind` says they mean; yields what can't be read."""
    data: Any = document.data
    for key in at[:-1]:
        data = data[key]
    yield from _read(document, shape.type_info(kind), data, at, folder)


def _read(document: Document, kind: shape.Type, container: Any, at: Place, folder: Path) -> Iterator[Fault]:
    key, value = at[-1], container[at[-1]]
    members = _members(kind)
    if _custom(members, Secret):
        yield from _secret(document, container, at, folder)
    elif isinstance(value, str) and _custom(members, Path):
        container[key] = folder / Path(value).expanduser()
    elif isinstance(value, str):
        yield from _number(document, members, container, at)
    elif isinstance(value, dict):
        yield from _table(document, members, value, at, folder)
    elif isinstance(value, list):
        lists = [member for member in members if isinstance(member, (shape.ListType, shape.VarTupleType))]
        for index in range(len(value)) if lists else ():
            yield from _read(document, lists[0].item_type, value, (*at, index), folder)


def _table(
    document: Document, members: list[shape.Type], value: dict[str, Any], at: Place, folder: Path
) -> Iterator[Fault]:
    for member in members:
        if isinstance(member, shape.StructType):
            for field in member.fields:
                if field.encode_name in value:
                    yield from _read(document, field.type, value, (*at, field.encode_name), folder)
            return
        if isinstance(member, shape.DictType):
            for name in list(value):
                yield from _read(document, member.value_type, value, (*at, name), folder)
            return


def _secret(document: Document, container: Any, at: Place, folder: Path) -> Iterator[Fault]:
    fault = document.fault(at, "")  # only its file and line are used: a secret says where it was asked for
    try:
        container[at[-1]] = secret_of(container[at[-1]], folder, fault.file, fault.line)
    except ValueError as error:
        container[at[-1]] = UNREADABLE
        yield document.fault(at, f"{at[-1]!r}: {error}")


def _number(document: Document, members: list[shape.Type], container: Any, at: Place) -> Iterator[Fault]:
    key, text = at[-1], container[at[-1]]
    if not isinstance(key, str) or not any(isinstance(member, (shape.IntType, shape.FloatType)) for member in members):
        return
    if any(isinstance(member, (shape.StrType, shape.LiteralType)) for member in members):
        return
    try:
        number = read_as(key, text)
    except ValueError as error:
        yield document.fault(at, f"{key!r}: {error}")
        return
    if number is None:
        return
    floats = any(isinstance(member, shape.FloatType) for member in members)
    if isinstance(number, float) and not floats:
        examples = SIZE_EXAMPLES if "bytes" in key else DURATION_EXAMPLES
        yield document.fault(at, f"{key!r}: {text!r} is not a whole number of its unit: write {examples}")
        return
    container[key] = number


def _members(kind: shape.Type) -> list[shape.Type]:
    if isinstance(kind, shape.Metadata):
        return _members(kind.type)
    if isinstance(kind, shape.UnionType):
        return [inner for member in kind.types for inner in _members(member)]
    return [kind]


def _custom(members: list[shape.Type], cls: type) -> bool:
    return any(isinstance(member, shape.CustomType) and member.cls is cls for member in members)
