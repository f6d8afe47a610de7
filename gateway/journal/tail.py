"""The newest blocks in memory: what readers that keep up read, and never from the disk."""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import Final

from gateway.journal.batch import Block

TAIL_BLOCKS_MAX: Final = 256  # blocks looked at under one lock


class Tail:
    """The newest blocks in memory, at most `bytes_max` of events."""

    def __init__(self, bytes_max: int, after: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._blocks: list[Block | None] = []  # those that left memory are None, and cut off now and then
        self._lasts: list[int] = []  # last sequence of each
        self._gone = 0  # how many leading ones have left
        self._bytes = 0
        self.after = after
        """Everything with a greater sequence is here."""

    def add(self, block: Block) -> None:
        """Take a durable block that holds events; the oldest leave."""
        with self._lock:
            self._blocks.append(block)
            self._lasts.append(block.last)
            self._bytes += block.size
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
        self._bytes -= old.size
        self.after = old.last
        self._gone += 1

    def blocks_after(self, after: int) -> list[Block] | None:
        """Return the first TAIL_BLOCKS_MAX blocks behind sequence `after`; None when some have left memory."""
        with self._lock:
            if after < self.after:
                return None
            start = bisect_right(self._lasts, after, self._gone)
            return self._blocks[start : start + TAIL_BLOCKS_MAX]  # type: ignore[return-value]
