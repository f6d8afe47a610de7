"""How far a consumer of the lane of commands is: a cursor, and what is over behind what still waits.

What waits keeps the cursor back; what is over between and behind it stands in ranges beside the cursor, so that it is
not done again after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from gateway.journal.journal import Journal

DONE_MAX = 64  # ranges; what is over and not in them is done again after a kill


class Position:
    """The row of one consumer in the table "cursors"."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal = journal
        self._key = key
        row = journal.get("cursors", key) or {}
        self.after: int = row.get("after", 0)  # up to here records were read
        self._done: list[list[int]] = [list(each) for each in row.get("done", ())]
        self._earlier = tuple(map(tuple, self._done))  # of an earlier life
        self._saved = self.after

    def was_over(self, sequence: int) -> bool:
        """Return whether a record behind the cursor was over in an earlier life."""
        return any(first <= sequence <= last for first, last in self._earlier)

    def put(self, waiting: Iterable[int]) -> int | None:
        """Put the row, given what still waits, if it changed; returns up to where all is over then."""
        found = sorted(waiting)
        after = found[0] - 1 if found else self.after
        gaps = pairwise([*found, self.after + 1])
        done = [[first + 1, last - 1] for first, last in gaps if last - first > 1][:DONE_MAX]
        if (after, done) == (self._saved, self._done):
            return None
        self._saved, self._done = after, done
        self._journal.put("cursors", self._key, {"after": after, "done": done})
        return after
