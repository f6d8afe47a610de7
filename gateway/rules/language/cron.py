"""Times of `@at`: of the clock and the sun, or a cron line. Each gives the instants of a day.

A cron line has five fields (minute hour day-of-month month day-of-week) as in crontab(5): ``*``, lists, ranges, steps,
names; 0 and 7 are Sunday; of day-of-month and day-of-week either is enough when both are said.  Its times are times
on the wall clock; only when the hour is ``*`` does it go by what passes, and runs in both passes of a doubled hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple, Protocol

from gateway.errors import probably_meant
from gateway.rules.language.calendar import Moment, Place
from gateway.rules.language.hours import EVERY_DAY, days_text, read_days

CRON_DAYS_MAX = 366 * 9  # how far ahead a cron line is looked for: 29 February, over a year without one
SUN_DAYS_MAX = 366
DAYS_KEPT_MAX = 128  # days of plans that are remembered
TIMES_MAX = 32  # in one @at
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SUNDAY_FIRST = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Plan(Protocol):
    """When something is to happen, day by day."""

    def __hash__(self) -> int:
        """Return the same for equal plans."""
        ...

    @property
    def text(self) -> str:
        """What the author wrote."""
        ...

    @property
    def days_max(self) -> int:
        """How far ahead it makes sense to look."""
        ...

    @property
    def needs_sun(self) -> bool:
        """Whether it has to be known where the house is."""
        ...

    def on(self, day: date, place: Place) -> Sequence[int]:
        """Return the instants (ns) of a day, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """Times of day, on some days of the week."""

    moments: tuple[Moment, ...]
    days: frozenset[int] = EVERY_DAY
    text: str = ""

    @classmethod
    def read(cls, times: Sequence[str], days: str | Sequence[str] | None) -> Times:
        """Read ``("07:30", "sunset+10m"), "mon-fri"``. ValueError says what to write."""
        if not 0 < len(times) <= TIMES_MAX:
            raise ValueError(f'@at needs a time, such as @at("07:30") or @at(cron="0 7 * * mon"), at most {TIMES_MAX}')
        moments = tuple(Moment.read(text) for text in times)
        said = f"at {', '.join(moment.text for moment in moments)}"
        return cls(moments, read_days(days), said if days is None else f"{said} on {days_text(days)}")

    @property
    def days_max(self) -> int:
        """How far ahead it makes sense to look."""
        return SUN_DAYS_MAX

    @property
    def needs_sun(self) -> bool:
        """Whether it has to be known where the house is."""
        return any(moment.event is not None for moment in self.moments)

    def on(self, day: date, place: Place) -> Sequence[int]:
        """Return the instants of a day; none for a sunset that is not."""
        if day.weekday() not in self.days:
            return ()
        found = (moment.on(day, place) for moment in self.moments)
        return sorted({at for at, happens in found if happens})


class _Field(NamedTuple):
    """A field of a cron line: its name, its numbers, the names it takes for them."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def read(self, text: str) -> frozenset[int]:
        """Read ``*/5``, ``1,3-5``, ``mon-fri``. ValueError says what to write."""
        found: set[int] = set()
        for part in text.lower().split(","):
            span, slash, step = part.partition("/")
            low, dash, high = span.partition("-")
            begin = self.first if span == "*" else self._number(low)
            end = self.last if span == "*" or (slash and not dash) else self._number(high) if dash else begin
            if slash and (not step.isdecimal() or int(step) == 0):
                raise ValueError(f"{self.name} {part!r}: a step is a number from 1 on, such as */5")
            numbers = [*range(begin, end + 1)] if begin <= end else [*range(begin, self.last + 1)]
            numbers += [] if begin <= end else [*range(self.first, end + 1)]
            found.update(numbers[:: int(step) if slash else 1])
        return frozenset(found)

    def _number(self, word: str) -> int:
        if word in self.names:
            return self.names.index(word) + self.first
        if not word.isdecimal():
            hint = probably_meant(word, self.names)
            raise ValueError(f"{word!r} is no {self.name}, " + (hint or f"which are {self.first} to {self.last}"))
        if not self.first <= int(word) <= self.last:
            raise ValueError(f"{self.name} {word}: {self.first} to {self.last}")
        return int(word)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("day of the week", 0, 7, _SUNDAY_FIRST),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron line."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    any_hour: bool
    dates: frozenset[int]  # days of the month
    months: frozenset[int]
    days: frozenset[int]  # of the week, 0 is Monday
    either: bool  # both sorts of days are said, and one is enough

    @classmethod
    def read(cls, line: str) -> Cron:
        """Read ``"*/5 7-9 * * mon-fri"``. ValueError says what to write."""
        words = str(line).split()
        if len(words) != len(_FIELDS):
            raise ValueError(f'cron={line!r}: minute hour day month weekday, such as "*/5 7-9 * * mon-fri"')
        try:
            minutes, hours, dates, months, days = (f.read(word) for f, word in zip(_FIELDS, words, strict=True))
        except ValueError as error:
            raise ValueError(f"cron={line!r}: {error}") from None
        either = not words[2].startswith("*") and not words[4].startswith("*")
        if not either and not any(min(dates) <= _DAYS_OF_MONTH[month - 1] for month in months):
            raise ValueError(f"cron={line!r}: there is no such day, ever")
        week = frozenset((day - 1) % 7 for day in days)
        any_hour = words[1] == "*"
        return cls(line, tuple(sorted(minutes)), tuple(sorted(hours)), any_hour, dates, months, week, either)

    @property
    def days_max(self) -> int:
        """How far ahead it makes sense to look."""
        return CRON_DAYS_MAX

    @property
    def needs_sun(self) -> bool:
        """Whether it has to be known where the house is."""
        return False

    def on(self, day: date, place: Place) -> Sequence[int]:
        """Return the instants of a day."""
        by_date, by_week = day.day in self.dates, day.weekday() in self.days
        if day.month not in self.months or not ((by_date or by_week) if self.either else (by_date and by_week)):
            return ()
        seconds = (hour * 3600 + minute * 60 for hour in self.hours for minute in self.minutes)
        if self.any_hour:
            return sorted(at for second in seconds for at in place.instants(day, second))
        return sorted({place.instant(day, second) for second in seconds})


@lru_cache(DAYS_KEPT_MAX)
def _on(plan: Plan, day: date, place: Place) -> Sequence[int]:
    """Return the instants of a day; `* * * * *` has 1440 of them, and asks for each."""
    return plan.on(day, place)


def next_after(plan: Plan, time_ns: int, place: Place) -> int | None:
    """Return the first instant of a plan behind another; None if there is none as far as it makes sense to look."""
    today = place.day(time_ns)
    best: int | None = None
    for ahead in range(-2, plan.days_max):
        day = today + timedelta(days=ahead)
        if best is not None and place.instant(day - timedelta(days=1), 0) > best:
            return best  # no later day reaches back so far
        later = [at for at in _on(plan, day, place) if at > time_ns]
        if later and (best is None or later[0] < best):
            best = later[0]
    return best


def last_until(plan: Plan, time_ns: int, place: Place, since_ns: int) -> int:
    """Return the last instant of a plan up to another, at least `since_ns`."""
    today, best = place.day(time_ns), since_ns
    for back in range(-2, plan.days_max):
        day = today - timedelta(days=back)
        if place.instant(day + timedelta(days=2), 0) < best:
            break
        best = max([best, *(at for at in _on(plan, day, place) if at <= time_ns)])
    return best
