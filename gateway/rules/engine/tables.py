"""The durable tables as the engine sees them, and an overlay that makes a rule's call all or nothing.

Rows are values msgpack can hold and are never changed in place: whoever wants another row puts a new one.
`Tables.take_changes` gives the keys that changed since the last time, each once, with its last value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

RULE_STATE, TIMERS, HOLDS, ALERTS, MODES = "rule_state", "timers", "holds", "alerts", "modes"
INPUTS = "inputs"
MODE_KEY = "house"  # of the table "modes"
NAMES = (RULE_STATE, TIMERS, HOLDS, ALERTS, MODES, INPUTS)


class Rows(Protocol):
    """What reads and changes rows: the tables themselves, or an overlay over them."""

    def get(self, table: str, key: str) -> Any | None:
        """Return a row, or None."""
        ...

    def put(self, table: str, key: str, row: Any | None) -> None:
        """Set a row; None deletes it."""
        ...

    def keys(self, table: str, prefix: str = "") -> Iterator[str]:
        """Return the keys of a table that begin with `prefix`, sorted."""
        ...


class Tables:
    """All rows, and which of them changed."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        self._tables: dict[str, dict[str, Any]] = {name: dict(tables.get(name, {})) for name in NAMES}
        self._changes: dict[tuple[str, str], Any | None] = {}

    def get(self, table: str, key: str) -> Any | None:
        """Return a row, or None."""
        return self._tables[table].get(key)

    def of(self, table: str) -> Mapping[str, Any]:
        """Return a table as it is now and will be."""
        return self._tables[table]

    def put(self, table: str, key: str, row: Any | None) -> None:
        """Set a row; None deletes it."""
        if row is None:
            if self._tables[table].pop(key, None) is None and (table, key) not in self._changes:
                return
        else:
            self._tables[table][key] = row
        self._changes[table, key] = row

    def keys(self, table: str, prefix: str = "") -> Iterator[str]:
        """Return the keys of a table that begin with `prefix`, sorted."""
        return iter(sorted(key for key in self._tables[table] if key.startswith(prefix)))

    def take_changes(self) -> list[tuple[str, str, Any]]:
        """Return what changed since the last call."""
        changes, self._changes = self._changes, {}
        return [(table, key, row) for (table, key), row in changes.items()]


class Overlay:
    """Changes that are not made yet. `apply` makes them; forgetting the overlay drops them."""

    def __init__(self, below: Tables) -> None:
        self._below = below
        self._changes: dict[tuple[str, str], Any | None] = {}

    def get(self, table: str, key: str) -> Any | None:
        """Return a row as it would be."""
        at = (table, key)
        return self._changes[at] if at in self._changes else self._below.get(table, key)

    def put(self, table: str, key: str, row: Any | None) -> None:
        """Set a row; None deletes it."""
        self._changes[table, key] = row

    def keys(self, table: str, prefix: str = "") -> Iterator[str]:
        """Return the keys of a table that begin with `prefix`, sorted."""
        found = set(self._below.keys(table, prefix))
        for (changed, key), row in self._changes.items():
            if changed == table and key.startswith(prefix):
                (found.discard if row is None else found.add)(key)
        return iter(sorted(found))

    @property
    def count(self) -> int:
        """How many rows would change."""
        return len(self._changes)

    @property
    def changes(self) -> list[tuple[tuple[str, str], Any | None]]:
        """What would change: (table, key) and row."""
        return list(self._changes.items())

    def changed(self, table: str) -> list[str]:
        """Return the keys of a table that would change."""
        return [key for name, key in self._changes if name == table]

    def apply(self) -> None:
        """Make the changes."""
        for (table, key), row in self._changes.items():
            self._below.put(table, key, row)
