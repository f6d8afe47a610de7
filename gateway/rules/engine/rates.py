"""How much a rule puts out and says in a minute, so that one that answers itself by timers fills no disk.

Counted in the time of events, not of a clock: a backtest of a week and the night after an outage are judged as the
week and the night they are.  Each rule has a minute's worth at hand, which fills up again as its time goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.clock import NS_PER_S

OUTPUTS_PER_MINUTE_MAX: Final = 6000
OUTPUT_BYTES_PER_MINUTE_MAX: Final = 4 * 1024 * 1024
LOG_LINES_PER_MINUTE_MAX: Final = 300
_MINUTE_NS = 60 * NS_PER_S


class Bucket:
    """What is at hand of one thing, for one rule."""

    __slots__ = ("_at_ns", "_left", "_most")

    def __init__(self, most: int, at_ns: int) -> None:
        self._most, self._left, self._at_ns = most, float(most), at_ns

    def take(self, wanted: int, at_ns: int) -> bool:
        """Take it if it is there; time that goes back fills nothing, unless the clock was set back."""
        if at_ns < self._at_ns - _MINUTE_NS:
            self._at_ns = at_ns
        if at_ns > self._at_ns:
            self._left = min(self._most, self._left + (at_ns - self._at_ns) * self._most / _MINUTE_NS)
            self._at_ns = at_ns
        if wanted > self._left:
            return False
        self._left -= wanted
        return True


class Rates:
    """The buckets of all rules; nothing is kept of a rule that puts out nothing."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, int], Bucket] = {}

    def output(self, rule: str, at_ns: int, count: int, size: int, refuse: Callable[[str], Exception]) -> None:
        """Count outputs and their bytes. Raises what `refuse` makes of the reason when there are too many."""
        if not self._take(rule, OUTPUTS_PER_MINUTE_MAX, count, at_ns):
            raise refuse(f"more than {OUTPUTS_PER_MINUTE_MAX} outputs in a minute")
        if not self._take(rule, OUTPUT_BYTES_PER_MINUTE_MAX, size, at_ns):
            raise refuse(f"more than {OUTPUT_BYTES_PER_MINUTE_MAX} bytes put out in a minute")

    def says(self, rule: str, at_ns: int, lines: int) -> bool:
        """Return whether a rule may write so many lines to the log now."""
        return self._take(rule, LOG_LINES_PER_MINUTE_MAX, lines, at_ns)

    def _take(self, rule: str, most: int, wanted: int, at_ns: int) -> bool:
        bucket = self._buckets.get((rule, most))
        if bucket is None:
            bucket = self._buckets[rule, most] = Bucket(most, at_ns)
        return bucket.take(wanted, at_ns)
