"""The durable tables as they will be once everything open is committed: in memory, for reading at once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.journal.batch import Rows


class Tables:
    """Table -> key -> value. A value is shared with who put it: it is stored as it is when its batch is sealed."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def set(self, table: str, key: str, value: Any | None) -> None:
        """Set a row; None deletes it."""
        rows = self.of(table)
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value

    def get(self, table: str, key: str) -> Any | None:
        """Return a row, or None."""
        rows = self.rows.get(table)
        return None if rows is None else rows.get(key)

    def of(self, table: str) -> dict[str, Any]:
        """Return a table, to be changed."""
        rows = self.rows.get(table)
        if rows is None:
            rows = self.rows[table] = {}
        return rows

    def view(self, table: str) -> Mapping[str, Any]:
        """Return a table read-only; it follows later changes."""
        return MappingProxyType(self.of(table))
