"""When to wait a little before reading a socket again, so that one read brings many messages (pure).

At a thousand messages a second each would cost a wake-up, a read, a write and a turn of everything behind them.
Waiting helps a client that streams and only hurts one that waits for each answer, so it is tried and judged: a wait
that did not at least double what a read brings is not repeated for a while.
"""

from __future__ import annotations

from typing import Final

STREAK: Final = 8  # reads that came soon after the one before, until a wait is tried
REST: Final = 200  # such reads after a wait that brought nothing
ENOUGH_BYTES: Final = 16 * 1024  # a read of this size is worth its cost


class Gather:
    """One socket's habit. `wait_s` is how long the caller waits when `wait` says so."""

    __slots__ = ("_last", "_single", "_streak", "_waited", "wait_s")

    def __init__(self, wait_s: float) -> None:
        self.wait_s = wait_s
        self._last = 0.0
        self._single = 0  # bytes that a read brought without waiting
        self._streak = 0
        self._waited = False

    def wait(self, nbytes: int, now: float) -> bool:
        """Judge a read of `nbytes`; return whether to wait before the next one."""
        since, self._last = now - self._last, now
        if nbytes >= ENOUGH_BYTES:
            self._waited = False
        elif self._waited:
            self._waited = nbytes >= 2 * self._single
            if not self._waited:
                self._streak = -REST
        else:
            self._single = nbytes
            self._streak = self._streak + 1 if since < self.wait_s else min(self._streak, 0)
            self._waited = self._streak >= STREAK
        return self._waited
