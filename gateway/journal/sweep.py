"""All lanes at once, block by block, in the order of their sequences: for who looks at everything once.

A block is inflated once, where a reader for each lane would inflate it for each. From memory while it is young.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator

import msgspec

from gateway.event import Lane
from gateway.journal.reader import LANES, Blocks
from gateway.journal.segment import Entry

EVERY = tuple(Lane)


class Run(msgspec.Struct, frozen=True, gc=False):
    """Neighbours in one block: records `begin` to `end` (exclusive) of it are asked for."""

    first: int
    lanes: bytes
    raws: list[bytes]
    sequences: tuple[int, ...] | None  # None: `first` and what follows it
    begin: int
    end: int
    wall_ns: int = 0  # when the block was written, as far as the gateway knew

    def sequence(self, place: int) -> int:
        """Return the number of the record at a place."""
        return self.first + place if self.sequences is None else self.sequences[place]


class Sweep(Blocks):
    """Reads every lane, in order. One thread at a time."""

    def runs(self, after: int, through: int, lanes: Collection[Lane] = EVERY) -> Iterator[Run]:
        """Yield what is durable behind `after` up to `through`, without blocks that hold none of `lanes`.

        Blocking: may read from the disk. Damage is skipped. What is given up meanwhile is not there.
        """
        reached = after
        while reached < through:
            young = self._store.tail.blocks_after(reached)
            if young is None:
                entry = next((entry for entry in self._store.view.segments if entry.last > reached), None)
                if entry is None or entry.first > through:
                    return
                if any(entry.spans[lane].count for lane in lanes):
                    yield from self._segment(entry, reached, through, lanes)
                reached = entry.last
                continue
            if not young:
                return
            for block in young:
                if block.first > through:
                    return
                if any(lane in block.lanes for lane in lanes):
                    yield run_of(block.first, block.lanes, block.raws, None, reached, through, block.wall_ns)
            reached = young[-1].last

    def _segment(self, entry: Entry, after: int, through: int, lanes: Collection[Lane]) -> Iterator[Run]:
        index = self._index(entry)
        if index is None:
            return
        known = len(index.offsets)
        for number in range(max(0, bisect_right(index.firsts, after, 0, known) - 1), known):
            if index.firsts[number] > through:
                return
            if any(index.counts[number * LANES + lane] for lane in lanes):
                found = self._records(entry, index, number)
                if found is not None:
                    run = run_of(found.first, found.lanes, found.raws, found.sequences, after, through, found.wall_ns)
                    if run.begin < run.end:
                        yield run


def run_of(
    first: int,
    lanes: bytes,
    raws: list[bytes],
    sequences: tuple[int, ...] | None,
    after: int,
    through: int,
    wall_ns: int,
) -> Run:
    """Return of one block what lies behind `after` up to `through`."""
    if sequences is None:
        begin, end = max(0, after + 1 - first), min(len(raws), through + 1 - first)
    else:
        begin, end = bisect_right(sequences, after), bisect_left(sequences, through + 1)
    return Run(first, lanes, raws, sequences, begin, end, wall_ns)
