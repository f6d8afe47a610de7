"""How long to wait before the next try: tenacity's full jitter, as a number instead of a sleep.

The n-th wait is uniform in 0..min(`longest_s`, `first_s` * 2**(n-1)): a fleet that lost its cloud at one moment does
not come back at one moment.
"""

from __future__ import annotations

from typing import Any, cast

from tenacity import RetryCallState, wait_random_exponential

ATTEMPTS_MAX = 60  # beyond this the wait is at its longest anyway, and 2**n stays a small number


class Backoff:
    """Counts failures in a row and says how long to wait after each."""

    __slots__ = ("_strategy", "failures")

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._strategy = wait_random_exponential(multiplier=first_s, max=longest_s)
        self.failures = 0

    def next_s(self) -> float:
        """Count one more failure and return the seconds to wait."""
        self.failures += 1
        return self.after_s(self.failures)

    def after_s(self, failures: int) -> float:
        """Return a wait for so many failures in a row, without counting."""
        call = RetryCallState(cast("Any", None), None, (), {})  # the strategy reads the attempt's number only
        call.attempt_number = min(max(failures, 1), ATTEMPTS_MAX)
        return self._strategy(call)

    def reset(self) -> None:
        """Count from the start: it worked."""
        self.failures = 0
