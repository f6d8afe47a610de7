"""``pairs``: keys and values on one line: ``temp=21.5;hum=48``, ``ct1:4.56,ct2:1.23``, ``20;e5;Oregon;ID=5a6d;``.

With a line end for `sep` each pair is a line of its own.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gateway.errors import DecodeError
from gateway.profiles.formats.cells import Kind, cell, shown
from gateway.profiles.formats.split import read_cell
from gateway.profiles.formats.table import Parse, Table, line_of

PAIRS_MAX = 128  # of one line


class Pairs(Table, frozen=True, tag="pairs"):
    """Keys and values. A key that is there twice is refused: two lines ran into each other."""

    sep: Annotated[str, msgspec.Meta(min_length=1)] = ";"
    equals: Annotated[str, msgspec.Meta(min_length=1)] = "="
    leading: list[str] = msgspec.field(default_factory=list)  # names of cells without a key before the pairs
    types: dict[str, Kind] = msgspec.field(default_factory=dict)  # by key; default: `type_else`
    type_else: Kind = "text"
    begins: str = ""  # what each line begins with; taken away
    bare: bool = False  # cells without a key among the pairs are keys that are true; else refused

    def reader(self) -> Parse:
        """Compile. ValueError when the two separators are the same."""
        if self.sep == self.equals:
            raise ValueError("`sep` and `equals` are the same")
        kinds = {name: cell(kind) for name, kind in self.types.items()}
        other = cell(self.type_else)

        def parse(payload: bytes) -> dict[str, Any]:
            cells = self._cells(payload)
            document: dict[str, Any] = {}
            for name in self.leading:
                if not cells or self.equals in cells[0]:
                    break
                document[name] = read_cell(name, kinds.get(name, _TEXT), cells.pop(0))
            for text in cells:
                key, equals, value = text.partition(self.equals)
                key = key.strip()
                if not key or not (equals or self.bare):
                    raise DecodeError(f"{shown(text)} is no pair of key and value")
                if key in document:
                    raise DecodeError(f"{shown(key)} is there twice")
                document[key] = read_cell(key, kinds.get(key, other), value.strip()) if equals else True
            return document

        return parse

    def _cells(self, payload: bytes) -> list[str]:
        ends = self.sep.encode()
        lines = payload.strip(ends).split(ends, PAIRS_MAX) if self.sep in ("\n", "\r\n") else [payload]
        line, *more = map(line_of, lines)
        if not line.startswith(self.begins):
            raise DecodeError(f"{shown(line)} does not begin with {shown(self.begins)}")
        cells = [*line[len(self.begins) :].split(self.sep), *more]
        if cells[-1].strip() == "":
            cells.pop()  # a separator that ends the line
        if not cells or len(cells) > PAIRS_MAX:
            raise DecodeError(f"{len(cells)} pairs, expected 1 to {PAIRS_MAX}")
        return cells


_TEXT = cell("text")
