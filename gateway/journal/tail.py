"""The newest blocks in memory: what readers that keep up read, and never from the disk.

A house that is quiet writes a block for each event, so what a block costs beside its events counts, too: of a `Block`
only what readers want is kept, and the limit is of memory, not of events.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import Final

import msgspec

from gateway.journal.batch import Block

TAIL_BLOCKS_MAX: Final = 256  # blocks looked at under one lock
BLOCK_BYTES: Final = 320  # memory of a block in here, beside its records
RECORD_BYTES: Final = 56  # memory of a record, beside its bytes
ROOM: Final = 1.5  # memory of a record's bytes: the encoder leaves up to half as many unused behind them


class Young(msgspec.Struct, frozen=True, gc=False):
    """A durable block, as far as readers want it."""

    first: int  # sequence of its first record
    raws: list[bytes]
    lanes: bytes
    wall_ns: int
    memory_bytes: int  # at most, about

    @property
    def last(self) -> int:
        """Sequence of its last record."""
        return self.first + len(self.raws) - 1

    @classmethod
    def of(cls, block: Block) -> Young:
        """Keep what is wanted of a block."""
        memory_bytes = BLOCK_BYTES + len(block.raws) * RECORD_BYTES + round(block.size * ROOM)
        return cls(block.first, block.raws[:], block.lanes, block.wall_ns, memory_bytes)  # a copy has no spare room


class Tail:
    """The newest blocks, in at most `bytes_max` of memory."""

    def __init__(self, bytes_max: int, after: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._blocks: list[Young | None] = []  # those that left memory are None, and cut off now and then
        self._lasts: list[int] = []  # last sequence of each
        self._gone = 0  # how many leading ones have left
        self._bytes = 0
        self.after = after
        """Everything with a greater sequence is here."""

    def add(self, block: Block) -> None:
        """Take a durable block that holds events; the oldest leave."""
        young = Young.of(block)
        with self._lock:
            self._blocks.append(young)
            self._lasts.append(young.last)
            self._bytes += young.memory_bytes
            while self._bytes > self._bytes_max:
                self._drop()
            if self._gone > 1024 and self._gone * 2 > len(self._blocks):
                del self._lasts[: self._gone], self._blocks[: self._gone]
                self._gone = 0

    def forget(self, through: int) -> None:
        """Drop what lies at or before a sequence: its segment was given up, what survives of it is on the disk."""
        with self._lock:
            while self._gone < len(self._blocks) and self.after < through:
                self._drop()

    def _drop(self) -> None:
        old = self._blocks[self._gone]
        assert old is not None
        self._blocks[self._gone] = None
        self._bytes -= old.memory_bytes
        self.after = old.last
        self._gone += 1

    def blocks_after(self, after: int) -> list[Young] | None:
        """Return the first TAIL_BLOCKS_MAX blocks behind sequence `after`; None when some have left memory."""
        with self._lock:
            if after < self.after:
                return None
            start = bisect_right(self._lasts, after, self._gone)
            return self._blocks[start : start + TAIL_BLOCKS_MAX]  # type: ignore[return-value]
