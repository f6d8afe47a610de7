"""The open batch, and the block that it becomes: what one group commit holds. No I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import Deflate, Header
from gateway.journal.options import LEAVE_ALARMS, RESERVE_SEGMENTS
from gateway.journal.segment import NO_SPANS, Entry, Span, spans_of

Rows = dict[str, dict[str, Any]]
"""Table changes: table -> key -> value, None deletes."""


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Where a block went and what changed with it. Made by the worker, read by the loop."""

    header: Header
    offset: int
    length: int
    active: Entry
    sealed: tuple[Entry, ...]  # segments left with this block


class Block(msgspec.Struct, gc=False, kw_only=True):
    """A closed batch on its way to the disk."""

    batch: int
    first: int  # sequence of the first event, or of the next one when there is none
    raws: list[bytes]
    lanes: bytes
    spans: tuple[Span, ...]
    changes: bytes  # packed table changes
    wall_ns: int
    boot_ns: int
    flags: int = 0
    leave: int = RESERVE_SEGMENTS  # how many free segments it must leave alone
    table_changes: Rows = {}  # what `changes` packs, for a batch that is opened again
    size: int = 0  # bytes of all events
    payload: Deflate | None = None  # kept for a second attempt
    placed: Placed | None = None  # set by `Writer.write`

    @property
    def last(self) -> int:
        """Sequence of the last event; one less than `first` when there is none."""
        return self.first + len(self.raws) - 1

    def make_way(self, *behind: bytes | bytearray) -> None:
        """Take from the alarms' reserve when one waits behind it: blocks keep their order."""
        if any(Lane.ALARM in lanes for lanes in behind):
            self.leave = min(self.leave, LEAVE_ALARMS)

    def change(self, table: str, key: str, value: Any) -> None:
        """Change a row that it carries, while it is not on the disk."""
        self.table_changes[table][key] = value
        self.changes, self.payload = record.encode_changes(self.table_changes), None


class Batch:
    """What was appended and put since the last one was closed."""

    def __init__(self, flags: int = 0) -> None:
        self.raws: list[bytes] = []
        self.lanes = bytearray()
        self.changes: Rows = {}
        self.flags = flags
        self.size = 0

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.raws or self.changes)

    def put(self, table: str, key: str, value: Any) -> None:
        """Change a row; the last change of a key wins."""
        rows = self.changes.get(table)
        if rows is None:
            rows = self.changes[table] = {}
        rows[key] = value

    def prepend(self, block: Block) -> None:
        """Take a closed batch back in front of this one."""
        self.raws = block.raws + self.raws
        self.lanes = bytearray(block.lanes) + self.lanes
        self.size += block.size
        for table, rows in block.table_changes.items():
            self.changes[table] = {**rows, **self.changes.get(table, {})}
        self.flags |= block.flags & (blocks.START | blocks.CLEAN)

    def block(self, number: int, last_sequence: int, clock: Clock) -> Block:
        """Close it. `last_sequence` is its last event's, or that of the last event before it."""
        lanes = bytes(self.lanes)
        first = last_sequence - len(lanes) + 1
        return Block(
            batch=number,
            first=first,
            raws=self.raws,
            lanes=lanes,
            spans=spans_of(lanes, range(first, first + len(lanes))) if lanes else NO_SPANS,
            changes=record.encode_changes(self.changes),
            wall_ns=clock.wall_ns(),
            boot_ns=clock.boot_ns(),
            flags=self.flags | unsynced(clock),
            leave=LEAVE_ALARMS if Lane.ALARM in lanes else RESERVE_SEGMENTS,
            size=self.size,
            table_changes=self.changes,
        )


def unsynced(clock: Clock) -> int:
    """Return the block flag that says whether the wall clock can be believed."""
    return 0 if clock.synced() else blocks.UNSYNCED
