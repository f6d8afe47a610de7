"""Records on their way to the rule worker: the newest in memory, older ones from the journal.

`add` keeps the newest `records_max` records (and `bytes_max`); when there are more, the oldest are forgotten
and `behind` says that the journal must be read up to there first.  The same covers a start with a cursor far
behind, a worker that is slow, and one that died: what it had in flight is given back by `rewind`.

Records come and go in lists, as they were fed; nothing here costs anything for a single one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

Record = tuple[int, bytes]
"""Sequence and stored bytes."""


class Backlog:
    """In sequence order; positions are sequences. Nothing is given out twice except after `rewind`."""

    def __init__(self, after: int, last: int, records_max: int, bytes_max: int) -> None:
        self._lists: deque[tuple[list[Record], int]] = deque()  # records, and their bytes
        self._records = 0
        self._bytes = 0
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._in_flight: deque[Sequence[Record]] = deque()
        self._forgotten = last  # records up to here have to come from the journal
        self._position = after  # given out up to here
        self.committed = after  # outcome known up to here
        self.offered = max(after, last)  # everything up to here was either added or of no interest

    def add(self, records: list[Record]) -> None:
        """Add records, later ones than all before; forget the oldest when there are too many."""
        size = sum([len(raw) for _, raw in records])
        self._lists.append((records, size))
        self._records += len(records)
        self._bytes += size
        while self._records > self._records_max or self._bytes > self._bytes_max:
            self._forgotten = self._pop()[-1][0]

    def _pop(self) -> list[Record]:
        records, size = self._lists.popleft()
        self._records -= len(records)
        self._bytes -= size
        return records

    def _push_front(self, records: list[Record]) -> None:
        if records:
            size = sum([len(raw) for _, raw in records])
            self._lists.appendleft((records, size))
            self._records += len(records)
            self._bytes += size

    def __len__(self) -> int:
        """Return how many records wait in memory."""
        return self._records

    @property
    def behind(self) -> bool:
        """Return whether the journal has to be read before what is in memory."""
        return self._position < self._forgotten

    @property
    def position(self) -> int:
        """Return the sequence up to which records were given out."""
        return self._position

    @property
    def in_flight(self) -> int:
        """Return how many batches were given out and have no outcome yet."""
        return len(self._in_flight)

    @property
    def idle(self) -> bool:
        """Return whether there is nothing to do."""
        return not self._lists and not self._in_flight and not self.behind

    @property
    def next(self) -> int:
        """Return the sequence of the record in memory that is given out next; 0: there is none."""
        return self._lists[0][0][0][0] if self._lists else 0

    def take(self, limit: int, last: int | None = None) -> Sequence[Record]:
        """Give out `limit` records from memory, more when they were fed together; not while `behind`.

        `last`: none that were fed behind this sequence.
        """
        taken: list[Record] = []
        while self._lists and len(taken) < limit and (last is None or self.next <= last):
            taken = taken + self._pop() if taken else self._pop()
        if taken:
            self._give(taken)
        return taken

    def read(self, records: Sequence[Record], through: int) -> None:
        """Give out records read from the journal, which was looked at up to `through`."""
        if records:
            self._give(records)
        self._position = max(self._position, through)
        while self._lists and self._lists[0][0][0][0] <= self._position:
            self._push_front([record for record in self._pop() if record[0] > self._position])
        if not self._in_flight:
            self.committed = self._position

    def _give(self, records: Sequence[Record]) -> None:
        self._in_flight.append(records)
        self._position = records[-1][0]

    def done(self, upto: int) -> None:
        """Take note of an outcome: of the oldest batch, or of its first records."""
        while self._in_flight and self._in_flight[0][-1][0] <= upto:
            self._in_flight.popleft()
        self.committed = upto
        self.settle()

    def settle(self) -> int:
        """Return up to where nothing has to be run again; what was of no interest counts as done."""
        if self.idle:
            self.committed = max(self.committed, self.offered)
        return self.committed

    def rewind(self) -> None:
        """Take back what has no outcome: the worker is gone."""
        known = max(self._forgotten, self.committed)  # done, or to be read from the journal
        for batch in reversed(self._in_flight):
            for record in reversed(batch):  # one by one, so that they can be given out so
                self._push_front([record] if record[0] > known else [])
        self._in_flight.clear()
        self._position = self.committed

    def forget(self) -> None:
        """Leave everything behind that was offered: there are no rules, and those that come begin with the present."""
        self._lists.clear()
        self._records = self._bytes = 0
        self._in_flight.clear()
        self._forgotten = self._position = self.committed = self.offered

    def reread(self, upto: int) -> None:
        """Have all records up to a sequence come from the journal, with those left out; nothing is in flight."""
        if upto > self._position:
            self._forgotten = max(self._forgotten, upto)
        while self._lists and self._lists[0][0][0][0] <= upto:
            self._push_front([record for record in self._pop() if record[0] > upto])
