"""How much of a bus may be lost on units that do not answer. Pure.

Waiting for a unit that is not there is time taken from the others.  So all time lost comes out of one account, which
fills with `LOST_SHARE` of the time that passes and holds at most a burst: over any stretch, units that fail take no
more than burst + share * stretch, however many they are.
"""

from __future__ import annotations

LOST_SHARE = 0.1  # of the time of a bus
BURST_S = 3.0  # what may be lost at once: the retries of a unit that just failed
BURST_TIMEOUTS = 2  # or so many of the longest timeout, if that is more


class Budget:
    """The account of one bus. Times are seconds of any clock that does not step."""

    def __init__(self, longest_timeout_s: float, now_s: float) -> None:
        self.burst_s = max(BURST_S, BURST_TIMEOUTS * longest_timeout_s)
        self.lost_s = 0.0
        self._left_s = self.burst_s
        self._at_s = now_s

    def spend(self, seconds: float, now_s: float) -> None:
        """Take note that so much was lost; it may be more than there was."""
        self._fill(now_s)
        self.lost_s += seconds
        self._left_s -= seconds

    def allows(self, seconds: float, now_s: float) -> bool:
        """Return whether so much may be risked now."""
        self._fill(now_s)
        return self._left_s >= seconds - 1e-9

    def when(self, seconds: float, now_s: float) -> float:
        """Return the time at which so much may be risked."""
        self._fill(now_s)
        return now_s + max(0.0, seconds - self._left_s) / LOST_SHARE

    def _fill(self, now_s: float) -> None:
        self._left_s = min(self.burst_s, self._left_s + LOST_SHARE * max(0.0, now_s - self._at_s))
        self._at_s = max(self._at_s, now_s)
