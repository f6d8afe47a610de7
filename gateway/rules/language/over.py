"""Windows in time, as declared: ``over=sliding("5m", count=3)``; and the sums that are kept of what falls into one.

What is kept of a window does not grow with its events: how many, sum, smallest, largest, first and last value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from gateway.errors import probably_meant
from gateway.quantity import duration
from gateway.rules.language.calendar import DAY_S
from gateway.rules.language.definition import NS_PER_S, FieldTest, Per, Test, Threshold, duration_ns
from gateway.rules.language.house import field_name

Kind = Literal["tumbling", "sliding", "session"]
WINDOW_CLOSED = "window_closed"  # type of the event a rule gets when a window is over
AGGREGATES = ("count", "min", "max", "mean", "sum", "first", "last")
GRACE_NS = 10 * NS_PER_S  # how long a window that is over waits for events that were on their way
TEXT_CHARS_MAX = 100  # of a first or last value that is kept
LENGTH_NS_MIN = NS_PER_S


class Sums(msgspec.Struct, array_like=True):
    """What is kept of events; times are those of the events, in ns."""

    count: int
    since: int  # of the earliest
    until: int  # of the latest
    first: Any = None
    last: Any = None
    numbers: int = 0  # how many of the values were numbers
    sum: float = 0.0
    min: float | None = None
    max: float | None = None

    def add(self, other: Sums) -> None:
        """Take in others."""
        if other.since < self.since:
            self.since, self.first = other.since, other.first
        if other.until >= self.until:
            self.until, self.last = other.until, other.last
        self.count += other.count
        self.numbers += other.numbers
        self.sum += other.sum
        for value in (other.min, other.max):
            if value is not None:
                self.min = value if self.min is None else min(self.min, value)
                self.max = value if self.max is None else max(self.max, value)

    @property
    def mean(self) -> float | None:
        """The mean of the values that were numbers; None without one."""
        return self.sum / self.numbers if self.numbers else None


def sums_of(time_ns: int, value: Any) -> Sums:
    """Return what is kept of one event."""
    kept = value[:TEXT_CHARS_MAX] if isinstance(value, str) else value if _is_plain(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Sums(1, time_ns, time_ns, kept, kept)
    return Sums(1, time_ns, time_ns, kept, kept, 1, float(value), float(value), float(value))


class Window(msgspec.Struct, frozen=True):
    """What came in in a window: `event.window` of a rule with `over=`."""

    count: int
    begin: datetime
    end: datetime
    sum: float = 0.0
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    first: Any = None
    last: Any = None


@dataclass(frozen=True, slots=True)
class Over:
    """A sort of window, the field it is about, and what must be so of it."""

    kind: Kind
    length_ns: int  # of a session: the silence that ends it
    field: str = ""
    tests: tuple[tuple[str, FieldTest], ...] = ()
    per: Per = "device"
    grace_ns: int = GRACE_NS

    def holds(self, sums: Sums) -> bool:
        """Return whether all that must be so is."""
        return all(test.holds(getattr(sums, name)) for name, test in self.tests)

    @property
    def text(self) -> str:
        """What it is, for a person."""
        about = f" of {self.field}" if self.field else ""
        tests = "".join(f", {name}{test.text}" for name, test in self.tests)
        return f"{self.kind} {duration(self.length_ns / NS_PER_S)}{about}{tests}"


def tumbling(
    length: str | float,
    *,
    field: str = "",
    per: Per = "device",
    grace: str | float = "10s",
    **tests: str | float | Threshold,
) -> Over:
    """Windows side by side: the rule runs when one that had events is over.

    length    such as "15m", counted from midnight in the house; at most a day
    field     of the events, for min, max, mean, sum, first and last
    per       "device": each its own window; "room" or "house": one for all devices in it
    grace     how long a window that is over waits for events that were on their way
    tests     what must be so of it, such as count=3 (at least three), mean=">25", max=above(30)
    """
    over = _over("tumbling", length, field, per, grace, tests)
    if over.length_ns > DAY_S * NS_PER_S:
        raise ValueError(f"tumbling({length!r}): at most 24h")
    return over


def sliding(length: str | float, *, field: str = "", per: Per = "device", **tests: str | float | Threshold) -> Over:
    """Look back from each event: the rule runs at the one that makes the tests true, again after one that does not.

    length    such as "5m": the event itself and those of this time before it
    field     of the events, for min, max, mean, sum, first and last
    per       "device": each its own window; "room" or "house": one for all devices in it
    tests     what must be so of it, such as count=3 (at least three), mean=">25"; without any it runs at each event
    """
    return _over("sliding", length, field, per, "0s", tests)


def session(
    gap: str | float,
    *,
    field: str = "",
    per: Per = "device",
    grace: str | float = 0,
    **tests: str | float | Threshold,
) -> Over:
    """Events without a longer silence between them: the rule runs when the silence has come.

    gap       such as "5m": the silence that ends a session
    field, per, grace, tests   as those of tumbling
    """
    return _over("session", gap, field, per, grace, tests)


def _over(kind: Kind, length: str | float, field: str, per: Per, grace: str | float, tests: Mapping[str, Any]) -> Over:
    length_ns = duration_ns(length)
    if length_ns < LENGTH_NS_MIN:
        raise ValueError(f"{kind}({length!r}): at least 1 s")
    if per not in ("device", "room", "house"):
        raise ValueError(f'{kind}: per={per!r}: write "device", "room" or "house"')
    for name in tests:
        if name not in AGGREGATES:
            hint = probably_meant(name, (*AGGREGATES, "field", "per", "grace")) or f"there are {', '.join(AGGREGATES)}"
            raise ValueError(f"{kind} has no {name!r}, {hint}")
        if name != "count" and not field:
            raise ValueError(f'{kind}: {name} of what? add field="temperature", or another field of the event')
    read = tuple((name, _test(name, wanted)) for name, wanted in tests.items())
    return Over(kind, length_ns, field_name(field) if field else "", read, per, duration_ns(grace))


def _test(name: str, wanted: Any) -> FieldTest:
    if isinstance(wanted, Threshold):
        return wanted
    if name == "count" and isinstance(wanted, int) and not isinstance(wanted, bool):
        wanted = f">={wanted}"
    try:
        return Test(wanted)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float))
