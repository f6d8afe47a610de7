"""A checkpoint: everything durable except the events, at the head of each segment.

    payload of a CHECKPOINT block: msgpack map
        version   1
        segments  the index: one array per live segment (segment.Entry), the segment it stands in excepted
        tables    {table: {key: value}}: last values, rule state, timers, cursors, deduplication, gaps, ...

Start reads the newest valid one and applies the table changes of the blocks behind it. If it is damaged,
the one of the segment before is as good: the blocks of that segment are applied on top, then those of the
damaged one. Damage loses nothing but the checkpoint's own bytes; so the segment before the newest is never
given up.

`Image` is the durable state as the writer knows it: values stay packed, so that a checkpoint is a joining
of bytes. `tables_bytes` is bounded by a share of the segment, because a checkpoint must fit in one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.errors import JournalError, NewerFormat
from gateway.journal.record import NIL, PackedChanges
from gateway.journal.segment import Entry

VERSION: Final = 1
SEGMENTS: Final = "_segments"
"""The journal's own table in a block's changes: str(life) -> Entry of survivors, or nil: that segment is given up."""


class Checkpoint(msgspec.Struct, gc=False, kw_only=True):
    """The payload of a checkpoint block."""

    version: int
    segments: list[Entry]
    tables: dict[str, dict[str, msgspec.Raw]]


_decode = msgspec.msgpack.Decoder(Checkpoint).decode
_encode = msgspec.msgpack.Encoder().encode
_entry = msgspec.msgpack.Decoder(Entry).decode
_value = msgspec.msgpack.Decoder().decode


class Image:
    """The durable tables and segment index: what a checkpoint written now would hold."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, msgspec.Raw]] = {}
        self.segments: dict[int, Entry] = {}
        self.tables_bytes = 0

    def apply(self, changes: PackedChanges) -> list[Entry]:
        """Apply a block's changes; returns the entries of segments that were given up by it."""
        given_up: list[Entry] = []
        for table, rows in changes.items():
            if table == SEGMENTS:
                given_up += self._segments(rows)
                continue
            mine = self.tables.setdefault(table, {})
            for key, value in rows.items():
                packed = bytes(value)
                before = mine.pop(key, None)
                self.tables_bytes -= 0 if before is None else len(key) + len(bytes(before))
                if packed != NIL:
                    mine[key] = msgspec.Raw(packed)  # a copy: the block's payload need not stay in memory
                    self.tables_bytes += len(key) + len(packed)
        return given_up

    def _segments(self, rows: dict[str, msgspec.Raw]) -> Iterable[Entry]:
        for life, value in rows.items():
            before = self.segments.pop(int(life), None)
            if bytes(value) != NIL:
                self.segments[int(life)] = _entry(value)
            elif before is not None:
                yield before

    def encode(self, sealed: Iterable[Entry] = ()) -> bytes:
        """Return the payload of a checkpoint; `sealed` joins the index with it."""
        segments = [*self.segments.values(), *sealed]
        return _encode(Checkpoint(version=VERSION, segments=segments, tables=self.tables))

    @classmethod
    def decode(cls, payload: bytes) -> Image:
        """Read a checkpoint. Raises JournalError when it is none, NewerFormat when it is for a later program."""
        try:
            checkpoint = _decode(payload)
        except msgspec.MsgspecError as error:
            raise JournalError(f"a checkpoint cannot be read: {error}") from error
        if checkpoint.version > VERSION:
            raise NewerFormat(f"the journal was written by a newer version (checkpoint format {checkpoint.version})")
        image = cls()
        image.segments = {entry.life: entry for entry in checkpoint.segments}
        image.apply(checkpoint.tables)
        return image

    def rows(self, table: str) -> dict[str, Any]:
        """Return one table unpacked."""
        return {key: _value(value) for key, value in self.tables.get(table, {}).items()}

    def values(self) -> dict[str, dict[str, Any]]:
        """Return all tables unpacked, for reading in memory."""
        return {table: self.rows(table) for table in self.tables}
