"""When the next commit begins: latency against wear, decided without a clock or a loop of its own (pure).

A commit writes whole pages, 4 KB at least, however little is in it. Rare commits cost nothing that matters, and
waiting would save none; what wears a card out are many a second for years. So there is an allowance:

    some of it left    events wait SHORT_S: for what arrives with them, and for what rules make of them
    used up            events wait as long as the operator allows, `longest_s`, and so do those behind them

It grows by one commit every `longest_s`, to COMMITS_AHEAD at most. So under lasting load there is a commit every
`longest_s`, and a device that now and then says something has its answer after SHORT_S. Alarms and commands ask
nobody, but their commits count.

A sender with a window (a broker with 20 messages in flight) stops when it is full and waits for us: when STALL_RECORDS
and nothing more within STALL_S have come, waiting on brings nothing.
"""

from __future__ import annotations

from typing import Final

SHORT_S: Final = 0.02
COMMITS_AHEAD: Final = 20  # of the allowance: what a quiet house may save up
STALL_S: Final = 0.02
STALL_RECORDS: Final = 16  # fewer may be a lone device; they wait on


class Pace:
    """The allowance of commits, and the batch that is open. Times are seconds of any steady clock."""

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self._allowed = float(COMMITS_AHEAD)
        self._counted_at = 0.0
        self._due = 0.0
        self._records = 0  # of the open batch when it was looked at last

    def begin(self, now: float) -> float:
        """Take note that the first event of a batch came now; return when to look at it."""
        self._records = 0
        self._due = now + (min(SHORT_S, self.longest_s) if self._grow(now) >= 1 else self.longest_s)
        return min(self._due, now + STALL_S)

    def look(self, now: float, records: int) -> float | None:
        """Return None when it is time to commit the `records` of the open batch, else when to look again."""
        stalled = records >= STALL_RECORDS and records == self._records
        self._records = records
        return None if stalled or now >= self._due else min(self._due, now + STALL_S)

    def committed(self, now: float) -> None:
        """Count a commit."""
        self._allowed = max(0.0, self._grow(now) - 1)

    def _grow(self, now: float) -> float:
        passed, self._counted_at = now - self._counted_at, now
        grown = passed / self.longest_s if self.longest_s else float(COMMITS_AHEAD)
        self._allowed = min(float(COMMITS_AHEAD), self._allowed + grown)
        return self._allowed
