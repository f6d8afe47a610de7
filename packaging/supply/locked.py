"""The locked libraries: name and version from the lock, licence and author from the package's own metadata."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
_LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)\s*(?:;\s*(.*?))?\s*\\?$", re.MULTILINE)

ALLOWED = ("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "EPL-2.0", "ISC", "MIT", "MPL-2.0", "PSF-2.0")
"""Licences a library of ours may have: those that let Apache-2.0 code be given on with it, unchanged."""

READ_BY_A_PERSON = {  # their metadata says "BSD", or nothing; the text in the package or its sources says which
    "aiomqtt": "BSD-3-Clause",
    "pyserial": "BSD-3-Clause",
    "pysocks": "BSD-3-Clause",
}


@dataclass(frozen=True)
class Library:
    """One library that the gateway is given on with."""

    name: str  # as the lock writes it
    version: str
    licence: str  # SPDX expression
    author: str
    summary: str


def pins(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, version) of each line of a lock that is for Linux."""
    for name, version, marker in _LINE.findall(text):
        if "win32" not in marker:
            yield name.lower(), version


def libraries(lock: Path = LOCK) -> list[Library]:
    """Return what the lock names, with what the installed package says of itself; ValueError where they differ."""
    return [_library(name, version) for name, version in pins(lock.read_text(encoding="utf-8"))]


def _library(name: str, version: str) -> Library:
    data: Mapping[str, str] = dict(importlib.metadata.metadata(name).items())  # type: ignore[attr-defined] # a Message
    if data["Version"] != version:
        raise ValueError(f"{name} {version} is locked, {data['Version']} is installed; type: ./dev setup")
    author = data.get("Author") or (data.get("Author-email") or "").split(",")[0].partition("<")[0].strip().strip('"')
    return Library(name, version, _licence(name, data), author, data.get("Summary") or "")


def _licence(name: str, data: Mapping[str, str]) -> str:
    said = data.get("License-Expression") or READ_BY_A_PERSON.get(name) or data.get("License") or ""
    return " ".join(said.split())


def refused(expression: str) -> list[str]:
    """Return the licences in an SPDX expression that are not allowed, or the whole when it is none.

    `A OR B` is good when one of them is; `A AND B` when both are.
    """
    tokens = re.findall(r"[()]|[A-Za-z0-9.+-]+", expression)
    if not tokens or "".join(tokens) != expression.replace(" ", ""):
        return [expression or "no licence"]
    found, rest = _any_of(tokens)
    return found if not rest else [expression]


def _any_of(tokens: list[str]) -> tuple[list[str], list[str]]:
    worst, rest = _all_of(tokens)
    while rest and rest[0] == "OR":
        other, rest = _all_of(rest[1:])
        worst = worst and other and worst + other
    return worst, rest


def _all_of(tokens: list[str]) -> tuple[list[str], list[str]]:
    found, rest = _one(tokens)
    while rest and rest[0] == "AND":
        more, rest = _one(rest[1:])
        found = found + more
    return found, rest


def _one(tokens: list[str]) -> tuple[list[str], list[str]]:
    if not tokens:
        return ["nothing after AND or OR"], []
    if tokens[0] == "(":
        found, rest = _any_of(tokens[1:])
        return found, rest[1:]
    return ([] if tokens[0] in ALLOWED else [tokens[0]]), tokens[1:]
