"""The journal's own rows: what was damaged is counted once, however often and in whatever pieces it is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.journal.ledger import note_damage
from gateway.journal.options import DAMAGES_MAX
from gateway.journal.reader import Damage


class Rows:
    """One table in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def get(self, table: str, key: str) -> Any | None:
        """Return a row."""
        return self.rows.get(key)

    def put(self, table: str, key: str, value: Any | None) -> None:
        """Set a row."""
        self.rows[key] = value

    def table(self, table: str) -> Mapping[str, Any]:
        """Return all rows."""
        return self.rows


def damage(offset: int, end: int, records: int, life: int = 7) -> Damage:
    """Make one place."""
    return Damage(life, "00000001.segment", offset, end, 1, records)


def test_a_hole_and_the_blocks_in_it_are_one_damage() -> None:
    """A start sees one hole, a reader its blocks one by one: their records are counted once."""
    tables = Rows()
    assert note_damage(tables, damage(1024, 4096, 20), 1)
    assert not note_damage(tables, damage(1024, 2048, 12), 2)
    assert not note_damage(tables, damage(2048, 4096, 8), 3)
    assert note_damage(tables, damage(4096, 5120, 5), 4), "behind it"
    assert note_damage(tables, damage(2048, 4096, 8, life=8), 5), "of another segment"
    assert sum(row["records"] for row in tables.rows.values()) == 33


def test_places_are_bounded_and_their_sum_is_not() -> None:
    """Beyond the limit places are summed in one row."""
    tables = Rows()
    for number in range(DAMAGES_MAX + 10):
        note_damage(tables, damage(number * 512, number * 512 + 512, 2), number)
    assert len(tables.rows) == DAMAGES_MAX + 1
    assert sum(row["records"] for row in tables.rows.values()) == 2 * (DAMAGES_MAX + 10)
