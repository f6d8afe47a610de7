"""``split``: a line of so many cells with one separator, each with a name: ``12;6;1;0;0;36.5``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gateway.errors import DecodeError
from gateway.profiles.formats.cells import Cell, Kind, cell, shown
from gateway.profiles.formats.table import Parse, Table, line_of

CELLS_MAX = 256  # of one line


class Split(Table, frozen=True, tag="split"):
    """Cells by position. Fewer than `names` are refused unless `least` says how few are enough; more unless `rest`."""

    names: Annotated[list[str], msgspec.Meta(min_length=1, max_length=CELLS_MAX)]
    sep: str = ""  # empty: any white space
    types: dict[str, Kind] = msgspec.field(default_factory=dict)  # by name; default: text
    limit: Annotated[int, msgspec.Meta(ge=1, le=CELLS_MAX)] | None = None  # the last cell takes what is left
    least: Annotated[int, msgspec.Meta(ge=1)] | None = None
    begins: str = ""  # what each line begins with; taken away
    rest: str = ""  # the name of a list of all cells after the named ones
    group: list[str] = msgspec.field(
        default_factory=list
    )  # cells of `rest` belong together by so many, with these names

    def reader(self) -> Parse:
        """Compile. ValueError when a type is given for a name that is not there."""
        known = {*self.names, *self.group}
        for name in self.types.keys() - known - {self.rest}:
            raise ValueError(f"`types`: no cell is called {name!r}")
        if self.group and not self.rest:
            raise ValueError("`group` needs `rest`, the name of the list")
        least = len(self.names) if self.least is None else self.least
        split = self._cells
        named = [(name, cell(self.types.get(name, "text"))) for name in self.names]

        def parse(payload: bytes) -> dict[str, Any]:
            cells = split(line_of(payload))
            if len(cells) < least or len(cells) > CELLS_MAX:
                raise DecodeError(f"{len(cells)} cells, expected {least} or more, at most {CELLS_MAX}")
            document = {name: read_cell(name, kind, text) for (name, kind), text in zip(named, cells, strict=False)}
            if self.rest:
                document[self.rest] = self._others(cells[len(named) :])
            elif len(cells) > len(named):
                raise DecodeError(f"{len(cells)} cells, expected at most {len(named)}")
            return document

        return parse

    def _cells(self, line: str) -> list[str]:
        if self.begins:
            if not line.startswith(self.begins):
                raise DecodeError(f"{shown(line)} does not begin with {shown(self.begins)}")
            line = line[len(self.begins) :]
        times = self.limit - 1 if self.limit else -1
        return line.split(self.sep, times) if self.sep else line.split(None, times)

    def _others(self, cells: list[str]) -> list[Any]:
        if not self.group:
            kind = cell(self.types.get(self.rest, "text"))
            return [read_cell(self.rest, kind, text) for text in cells]
        width = len(self.group)
        if len(cells) % width:
            raise DecodeError(f"{len(cells)} cells are no groups of {width}")
        kinds = [(name, cell(self.types.get(name, "text"))) for name in self.group]
        return [
            {name: read_cell(name, kind, cells[i + n]) for n, (name, kind) in enumerate(kinds)}
            for i in range(0, len(cells), width)
        ]


def read_cell(name: str, kind: Cell, text: str) -> Any:
    """Read a cell; the reason of a DecodeError names it."""
    try:
        return kind(text)
    except DecodeError as error:
        raise DecodeError(f"{name}: {error}") from None
