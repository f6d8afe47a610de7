"""Which messages came lately, so that one sent again is known, also after a restart (sans-io).

A trace is a message's packet identifier, a CRC-32 of its topic and payload, and when it came. Traces are numbered and
kept as rows of up to PAGE traces each, so that a message changes one small row and not all of them. Two rules keep a
trace from swallowing a real message, one that was sent when nobody was listening:

* a row may be durable only with the events of its messages or after them: `rows` leaves out what the inbox has not;
* after a restart a trace counts only if it was at most RESTORED_WITHIN_S old when the last commit was made. That is
  less than cursor moves wait, so that the commit which follows a quiet event ends the life of its trace.

What is left: a message equal to one of these last seconds, with the same packet identifier, whose first sending was
lost with the connection or the process, is taken for that one.

Row: when its last trace came (8 bytes, seconds of the caller's clock in that run), then 7 bytes a trace: place in the
page (1), packet identifier (2), CRC-32 (4); big-endian.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Final
from zlib import crc32

from gateway.mqtt.packet import Publish

PAGE: Final = 16
TRACES_MAX: Final = 4096  # more than a client that ignores our Receive Maximum (3.1.1) has in flight
RESTORED_WITHIN_S: Final = 3.0
_TIME: Final = struct.Struct(">d")
_ENTRY: Final = struct.Struct(">BHI")

Trace = tuple[int, int, int, float]  # number, packet identifier, CRC-32, when it came (seconds)


def fingerprint(publish: Publish) -> int:
    """Return the CRC-32 of topic and payload."""
    return crc32(publish.payload, crc32(publish.topic.encode()))


class Traces:
    """The traces of one session, oldest first, at most `size`."""

    __slots__ = ("_late", "_put", "_stale", "recent")

    def __init__(self, size: int = TRACES_MAX) -> None:
        self.recent: deque[Trace] = deque(maxlen=size)
        self._put: dict[int, int] = {}  # page -> number of its last trace that is in a row
        self._late: set[int] = set()  # numbers of traces that are in no row yet
        self._stale: set[int] = set()  # pages whose row lacks one that was late

    @property
    def pages(self) -> Iterable[int]:
        """Return the pages that have a row."""
        return self._put.keys()

    def latest(self, packet_id: int) -> tuple[int, float] | None:
        """Return (CRC-32, when) of the latest message with an identifier."""
        for _, its_id, crc, at in reversed(self.recent):
            if its_id == packet_id:
                return crc, at
        return None

    def postpone(self, packet_id: int) -> Callable[[], None]:
        """Keep the latest trace of an identifier out of all rows until what is returned is called."""
        number = next((number for number, its_id, _, _ in reversed(self.recent) if its_id == packet_id), 0)
        self._late.add(number)

        def appended() -> None:
            self._late.discard(number)
            self._stale.add(number // PAGE)

        return appended

    def restamp(self, now: float) -> None:
        """Let every trace be of now: its client is about to send again what it has no answer to."""
        self._replace((number, packet_id, crc, now) for number, packet_id, crc, _ in self.recent)

    def forget(self, oldest: float, but: Iterable[int] = ()) -> None:
        """Drop traces from before a time, except of some packet identifiers."""
        kept = set(but)
        self._replace(trace for trace in self.recent if trace[3] >= oldest or trace[1] in kept)

    def _replace(self, traces: Iterator[Trace]) -> None:
        self.recent = deque(traces, self.recent.maxlen)

    def trim(self, oldest: float, but: Container[int] = ()) -> None:
        """Drop the oldest traces up to the first that is from after a time, or that is of one of some identifiers."""
        recent = self.recent
        while recent and recent[0][3] < oldest and recent[0][1] not in but:
            recent.popleft()

    def rows(self, handed: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield (page, row) for pages with traces up to number `handed` that no row has; None deletes a page's row.

        Costs what has come since the last call, not what is remembered.
        """
        first = self.recent[0][0] // PAGE if self.recent else handed // PAGE + 1
        while self._put and (page := next(iter(self._put))) < first:
            del self._put[page]
            yield page, None
        for page, traces in self._news(handed).items():
            last = traces[0]
            self._put[page] = last[0]
            entries = (_ENTRY.pack(number % PAGE, packet_id, crc) for number, packet_id, crc, _ in reversed(traces))
            yield page, _TIME.pack(last[3]) + b"".join(entries)
        self._stale.clear()

    def _news(self, handed: int) -> dict[int, list[Trace]]:
        """Return the traces of pages whose row lacks some, newest first; the oldest page first."""
        pages: dict[int, list[Trace]] = {}
        for trace in reversed(self.recent):
            number = trace[0]
            if number <= handed and number not in self._late:
                page = number // PAGE
                if page not in pages:
                    if self._put.get(page, -1) >= number and page not in self._stale:
                        if not self._stale:
                            break  # its row has its last trace, so has every row before
                        continue
                    pages[page] = []
                pages[page].append(trace)
        return dict(reversed(pages.items()))

    def restore(self, rows: Mapping[int, bytes], committed: float, now: float) -> int:
        """Take rows of an earlier run back, `committed` at its last commit; return the number of the last trace.

        The next `rows` gives them out again, as of this run, and deletes those that no longer count.
        """
        last = 0
        for page in sorted(rows):
            row = rows[page]
            age = committed - _TIME.unpack_from(row)[0]
            self._put[page] = -1
            for place, packet_id, crc in _ENTRY.iter_unpack(row[_TIME.size :]):
                last = page * PAGE + place
                if age <= RESTORED_WITHIN_S:
                    self.recent.append((last, packet_id, crc, now - max(age, 0.0)))
        return last
