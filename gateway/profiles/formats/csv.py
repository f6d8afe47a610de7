"""``csv``: a line of cells by RFC 4180: a cell may stand in quotes, and a quote inside is doubled."""

from __future__ import annotations

import csv
from typing import Annotated, Any

import msgspec

from gateway.errors import DecodeError
from gateway.profiles.formats.cells import Kind, cell
from gateway.profiles.formats.split import CELLS_MAX, read_cell
from gateway.profiles.formats.table import Parse, Table, line_of


class Csv(Table, frozen=True, tag="csv"):
    """Columns by position; an empty name leaves a column out."""

    columns: Annotated[list[str], msgspec.Meta(min_length=1, max_length=CELLS_MAX)]
    sep: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ","
    types: dict[str, Kind] = msgspec.field(default_factory=dict)  # by name; default: text
    least: Annotated[int, msgspec.Meta(ge=1)] | None = None  # columns that must be there; default: all

    def reader(self) -> Parse:
        """Compile. ValueError when a type is given for a column that is not there."""
        for name in self.types.keys() - set(self.columns):
            raise ValueError(f"`types`: no column is called {name!r}")
        least = len(self.columns) if self.least is None else self.least
        kinds = [(name, cell(self.types.get(name, "text"))) for name in self.columns]

        def parse(payload: bytes) -> dict[str, Any]:
            cells = self._cells(line_of(payload))
            if not least <= len(cells) <= len(kinds):
                raise DecodeError(f"{len(cells)} columns, expected {least} to {len(kinds)}")
            found = zip(kinds, cells, strict=False)
            return {name: read_cell(name, kind, text.strip()) for (name, kind), text in found if name}

        return parse

    def _cells(self, line: str) -> list[str]:
        try:
            return next(csv.reader([line], delimiter=self.sep, strict=True, skipinitialspace=True))
        except (csv.Error, StopIteration) as error:
            raise DecodeError(f"not columns: {error}") from None
