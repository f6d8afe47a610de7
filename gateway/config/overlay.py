"""gateway.toml and the files of gateway.d over it, merged into one document that knows where each value is from.

Overlays are merged in the order of their names: a table is merged key by key, anything else replaces what
was there. ``${name}`` in a text is replaced by the key of that name under ``[variables]``, after merging, so
that a fleet shares one gateway.toml and each site has a file with three lines::

    [variables]
    site = "berlin-3"

A bundle for many sites has such a file for each in ``sites/``; the one that is chosen is merged last, and ``${site}``
is its name where nobody says something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.document import Document, Place
from gateway.errors import ConfigError, Fault, probably_meant

OVERLAYS_MAX = 100
BEGINNINGS_MAX = 8  # tries to find the part of a broken file that can be read
_VARIABLE = re.compile(r"\$(\$|\{([^}]*)\})")


class Overlaid(Document):
    """Several documents as one: `convert` and `fault` work as in `Document`, places lead to the right file."""

    def __init__(self, documents: Sequence[Document], given: Mapping[str, str] | None = None) -> None:
        """Merge; the first is the base, which names the file in faults about nothing in particular.

        `given` are variables that [variables] may overrule.
        """
        self._documents = tuple(documents)
        self._given = dict(given or {})
        self.file = documents[0].file
        self.text = documents[0].text
        self.data = {}
        self._written: dict[Place, Place] = {}
        for document in documents:
            _merge(self.data, document.data)

    @property
    def texts(self) -> dict[str, str]:
        """Return what was merged: file -> its text, the base first."""
        return {str(document.file): document.text for document in self._documents}

    @property
    def given(self) -> Mapping[str, str]:
        """Return the variables that no file has to set."""
        return self._given

    def renamed(self, at: Place, written: Place) -> None:
        """Say that a value is known as `at` from now on, and stands as `written` in a file."""
        self._written[at] = written

    def owner(self, at: Place) -> Document:
        """Return the last document that has the key at a place, or the nearest table around it."""
        for end in range(len(at), 0, -1):
            for document in reversed(self._documents):
                if document.line(at[:end]) is not None and _has(document.data, at[:end]):
                    return document
        return self._documents[0]

    def line(self, at: Place) -> int | None:
        """Return the line of a key in the file that has it."""
        at = self._written.get(at, at)
        return self.owner(at).line(at)

    def fault(self, at: Place, what: str, hint: str | None = None) -> Fault:
        """Make a Fault at a place, in the file that has it."""
        at = self._written.get(at, at)
        return self.owner(at).fault(at, what, hint)

    def section(self, name: str) -> dict[str, Any]:
        """Return a top-level table; an empty one when it is missing or something else stands there."""
        table = self.data.get(name)
        return table if isinstance(table, dict) else {}

    def origin(self, at: Place) -> str | None:
        """Say where a value was set as ``file:line``; None when nobody set it."""
        at = self._written.get(at, at)
        for document in reversed(self._documents):
            value: Any = document.data
            for depth, key in enumerate(at):
                if not isinstance(value, (dict, list)):  # a text that is short for a table
                    return f"{document.file}:{document.line(at[:depth])}"
                if not _has(value, (key,)):
                    break
                value = value[key]  # type: ignore[index]  # an int belongs to a list
            else:
                return f"{document.file}:{document.line(at)}"
        return None

    def substitute(self) -> list[Fault]:
        """Put the variables in; returns the faults: unknown variables, variables that are no text."""
        variables = self.data.get("variables", {})
        if not isinstance(variables, dict):
            return [self.fault(("variables",), "[variables] must be a table of texts")]
        variables = {**self._given, **variables}
        faults = [
            self.fault(("variables", name), f"variable {name!r} must be a text or a number")
            for name, value in variables.items()
            if isinstance(value, (dict, list))
        ]
        for at, text in list(_texts(self.data, ())):
            try:
                replaced = _VARIABLE.sub(lambda found: _value(found, variables), text)
            except KeyError as error:
                name = error.args[0]
                faults.append(self.fault(at, f"unknown variable ${{{name}}}", probably_meant(name, variables)))
            else:
                _put(self.data, at, replaced)
        return faults


def read_overlaid(file: Path, site: Path | None = None) -> Overlaid:
    """Read a config file, the ``*.toml`` of ``gateway.d`` beside it and the file of a site.

    Raises ConfigError with all faults.
    """
    files = [*files_of(file), *([site] if site else [])]
    if len(files) > OVERLAYS_MAX:
        raise ConfigError([Fault(file.parent / "gateway.d", None, f"more than {OVERLAYS_MAX} files")])
    documents: list[Document] = []
    faults: list[Fault] = []
    for path in files:
        try:
            documents.append(Document.read(path))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return Overlaid(documents, {"site": site.stem} if site else {})


def files_of(file: Path) -> list[Path]:
    """Return a config file and what is merged over it, in that order."""
    return [file, *sorted((file.parent / "gateway.d").glob("*.toml"))]


def as_far_as_it_goes(file: Path) -> dict[str, Any]:
    """Return what the files say, each up to its first fault; for what has to work with a broken config, too."""
    documents = [_beginning(path) for path in files_of(file)[:OVERLAYS_MAX]]
    return Overlaid(documents).data


def _beginning(file: Path) -> Document:
    try:
        return Document.read(file)
    except ConfigError as error:
        line = error.faults[0].line
    for _ in range(BEGINNINGS_MAX):
        try:
            lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines(keepends=True)
            return Document("".join(lines[: (line or 1) - 1]), file)
        except ConfigError as error:
            line = min(error.faults[0].line or 1, (line or 1) - 1)
        except OSError:
            break
    return Document("", file)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        below = base.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            _merge(below, value)
        else:
            base[key] = _copy(value)


def _copy(value: Any) -> Any:
    """Copy tables and lists: merging and substituting must not change the documents."""
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _has(data: Any, at: Place) -> bool:
    for key in at:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _texts(value: Any, at: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        if "$" in value and at[0] != "variables":
            yield at, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*at, index))


def _value(found: re.Match[str], variables: dict[str, Any]) -> str:
    return "$" if found[1] == "$" else str(variables[found[2].strip()])


def _put(data: Any, at: Place, value: str) -> None:
    for key in at[:-1]:
        data = data[key]
    data[at[-1]] = value
