"""The durable tables as they were at a time: a segment's checkpoint, and the changes of the blocks behind it.

Read-only, from an `Inspection`. What was given up is not there any more: then nobody knows the tables of that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from gateway.errors import JournalError
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.block import Header
from gateway.journal.checkpoint import Image
from gateway.journal.compression import Codec
from gateway.journal.inspection import Inspection
from gateway.journal.segment import Entry, Found


class AsOf(msgspec.Struct, frozen=True):
    """What was durable at a time."""

    after: int  # sequence of the last record that was on the disk by then
    tables: dict[str, dict[str, Any]] | None  # None: the journal does not reach back so far, or that place is damaged


def as_of(inspection: Inspection, wall_ns: int) -> AsOf:
    """Return how things stood when the clock showed `wall_ns`. BLOCKING: reads at most one segment."""
    return _look(
        inspection,
        lambda entry: 0 < entry.wall_first < wall_ns,  # 0: damaged from end to end
        lambda header: header.wall_ns >= wall_ns,
    )


def before(inspection: Inspection, sequence: int) -> AsOf:
    """Return how things stood before the block with a record was written. BLOCKING: reads at most one segment."""
    return _look(
        inspection,
        lambda entry: entry.first <= sequence,
        lambda header: header.events > 0 and header.first + header.events > sequence,
    )


def _look(inspection: Inspection, began: Callable[[Entry], bool], over: Callable[[Header], bool]) -> AsOf:
    chain = [entry for entry in inspection.entries if not entry.survivors]
    found = [entry for entry in chain if began(entry)]
    if not found:
        return AsOf(max(0, chain[0].first - 1) if chain else 0, None)
    entry = found[-1]
    try:
        return _within(inspection, entry, over)
    except (OSError, JournalError):  # given up while it was read, or damaged
        return AsOf(entry.first - 1, None)


def _within(inspection: Inspection, entry: Entry, over: Callable[[Header], bool]) -> AsOf:
    image: Image | None = None
    after = entry.first - 1
    for found in _blocks(inspection, entry):
        header = found.header
        if image is not None and over(header):
            break
        assert found.payload is not None
        if header.flags & blocks.CHECKPOINT:
            image = Image.decode(found.payload)
            continue
        if header.flags & blocks.SURVIVORS:
            continue
        records = record.decode(found.payload, header.first, header.events)
        if image is not None:
            image.apply(records.changes)
        after = max(after, header.first + header.events - 1)
    return AsOf(after, None if image is None else image.values())


def _blocks(inspection: Inspection, entry: Entry) -> Iterator[Found]:
    with inspection.walking(entry, Codec(keys=inspection.store.keys)) as parts:
        yield from (part for part in parts if isinstance(part, Found))
