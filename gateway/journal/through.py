"""Everything of some lanes once, from one end to the other, beside a running gateway: for who reads it all.

Segments are read in large pieces, where a `Sweep` finds each block by an index that it makes first: half the time for
small blocks.  What cannot be read is passed over and counted: damage, or what the gateway gives up meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.errors import JournalError
from gateway.event import Lane
from gateway.journal import block as blocks
from gateway.journal import record
from gateway.journal.compression import Codec
from gateway.journal.inspection import Inspection
from gateway.journal.segment import Entry, Found, Hole
from gateway.journal.sweep import Run, run_of


class Through:
    """One pass over an inspection. `missing` counts records that could not be read."""

    def __init__(self, inspection: Inspection) -> None:
        self.missing = 0
        self._inspection = inspection
        self._codec = Codec(keys=inspection.store.keys)

    def runs(self, after: int, through: int, lanes: Collection[Lane]) -> Iterator[Run]:
        """Yield what lies behind `after` up to `through`, block by block; not from segments without `lanes`."""
        for entry in self._inspection.entries:
            if entry.first > through:
                return
            if entry.last > after and any(entry.spans[lane].count for lane in lanes):
                try:
                    yield from self._segment(entry, after, through)
                except (OSError, JournalError):
                    self.missing += entry.records_next - entry.records_first

    def _segment(self, entry: Entry, after: int, through: int) -> Iterator[Run]:
        with self._inspection.walking(entry, self._codec) as parts:
            for part in parts:
                if isinstance(part, Hole):
                    self.missing += part.records
                if not isinstance(part, Found) or part.header.flags & blocks.CHECKPOINT:
                    continue
                header = part.header
                if header.first > through:
                    return
                if not header.events:
                    continue
                assert part.payload is not None
                found = record.decode(
                    part.payload, header.first, header.events, survivors=bool(header.flags & blocks.SURVIVORS)
                )
                run = run_of(found.first, found.lanes, found.raws, found.sequences, after, through, header.wall_ns)
                if run.begin < run.end:
                    yield run
