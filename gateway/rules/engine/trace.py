"""What each rule made of the events it looked at, lately: in memory, bounded, and cheap enough to be always on.

A look is a tuple ``(sequence, verdict, detail)``; it becomes words only when somebody asks (`looks.py`).  Each rule has
a ring of its own, so that one that looks at every reading does not push out what the others saw.  Nothing of it is
written to the disk: what a rule *did* is there anyway, as events with `cause` and `actor`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

LOOKS_MAX = 8192  # of all rules; shared out evenly
LOOKS_PER_RULE_MIN, LOOKS_PER_RULE_MAX = 16, 1024
TEXT_CHARS_MAX = 60  # of a value; longer ones are cut, and what is no single value is kept as text
WHAT_CHARS_MAX = 200  # of a fault
TIMES_MAX = 128  # calls of a rule whose time is kept

WHERE: Final = "where"  # (number of the test, value)
MODE: Final = "mode"  # the mode of the house
COOLDOWN: Final = "cooldown"  # ns left
HOURS: Final = "hours"  # why, as text: outside between= and days=, or nobody knows the time
MISSED: Final = "missed"  # why, as text: too late for `missed`
WAITS: Final = "waits"  # why, as text: it is not the only event the rule is about
STEADY: Final = "steady"  # (scope, values): a condition stays what it is
CHANGED: Final = "changed"  # (scope, values): a condition may begin, wait or end
RAN: Final = "ran"  # `Did`
FAILED: Final = "failed"  # (part, scope, what, attempts, us)
PARKED: Final = "parked"  # (part, scope): the rule is in quarantine
GATED: Final = "gated"  # what a gate decided, as text
OVER: Final = "over"  # (part, scope): nothing to call, the condition is over meanwhile

INTEGER_MAX = 2**63 - 1  # that a frame can carry
SMALL = frozenset({bool, int, float, type(None)})  # types a look keeps as they are
Look = tuple[str, str, Any]
"""The record's sequence (16 digits), a verdict, and what it is about."""
Did = tuple[str, str, str, int, int, int, float, bool]
"""Part, scope, the call's name (ids of outputs are derived from it), outputs, changed rows, timers, us, late."""


class Trace:
    """Rings of looks by the index of a rule, and how long calls took. `clock` is in ns; without one all take 0."""

    def __init__(self, rules: int, clock: Callable[[], int] | None = None) -> None:
        self.clock: Callable[[], int] = clock or _no_clock
        self.each = max(LOOKS_PER_RULE_MIN, min(LOOKS_PER_RULE_MAX, LOOKS_MAX // max(1, rules)))
        self.looks: list[deque[Look]] = [deque(maxlen=self.each) for _ in range(rules)]
        self._times_us: list[deque[float]] = [deque(maxlen=TIMES_MAX) for _ in range(rules)]
        self._longest_us = [0.0] * rules
        self._since = ""

    def begin(self, sequence: str) -> None:
        """Take note that rules were loaded; what they make of records behind the first such one is here."""
        self._since = self._since or sequence

    def look(self, rule: int, sequence: str, verdict: str, detail: Any = None) -> None:
        """Take note of what a rule made of a record; `detail` is small and never changed afterwards."""
        if rule >= 0:  # a rule that is gone has no place
            self.looks[rule].append((sequence, verdict, detail))

    def timed(self, rule: int, us: float) -> None:
        """Take note of how long a call took."""
        self._times_us[rule].append(us)
        self._longest_us[rule] = max(us, self._longest_us[rule])

    # ---- asked --------------------------------------------------------------------------------------

    def of(self, rule: int, last: int) -> list[Look]:
        """Return the last looks of a rule, oldest first."""
        return list(self.looks[rule])[-last:] if last else []

    def at(self, rule: int, sequence: str) -> Iterator[Look]:
        """Yield what a rule made of one record."""
        return (look for look in self.looks[rule] if look[0] == sequence)

    def forgotten(self, rule: int, sequence: str) -> bool:
        """Return whether a look at a record may have been pushed out since, or was made before the trace began."""
        looks = self.looks[rule]
        return sequence < self._since or (len(looks) == self.each and sequence < looks[0][0])

    def times_us(self, rule: int) -> tuple[float, float] | None:
        """Return the median of the last calls and the longest of all; None before the first."""
        times = sorted(self._times_us[rule])
        return (times[len(times) // 2], self._longest_us[rule]) if times else None


def kept(value: Any) -> Any:
    """Return a value as a look may keep it: small, and nobody's to change."""
    if type(value) in SMALL and not (type(value) is int and abs(value) > INTEGER_MAX):
        return value
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= TEXT_CHARS_MAX else text[: TEXT_CHARS_MAX - 1] + "…"


def _no_clock() -> int:
    return 0
