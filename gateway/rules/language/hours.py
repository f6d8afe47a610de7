"""Days and hours in which a rule is in force: ``between="22:00-06:00"``, ``days="mon-fri"``.

Hours that go past midnight belong to the day they begin on: ``between="22:00-06:00", days="fri"`` ends on Saturday
at six.  Their edges are those of `calendar.py`; they include their beginning and not their end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from gateway.errors import probably_meant
from gateway.rules.language.calendar import DAY_S, Moment, Place

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
SPANS_MAX = 16  # in one `between`
LOOK_AHEAD_DAYS = 8  # a week, and a day to end in; only the sun of the poles keeps still for longer


class Stretch(NamedTuple):
    """Time in which hours stay open or closed: from `since` on, before `until`."""

    open: bool
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment to another, on the same day or the next."""

    begin: Moment
    end: Moment

    @classmethod
    def read(cls, text: str) -> Span:
        """Read ``"22:00-06:00"`` or ``"sunset-15m..sunrise"``. ValueError says what to write."""
        if not isinstance(text, str):
            raise ValueError(f'{text!r} are no hours: write such as "22:00-06:00" or "sunset-15m..sunrise"')
        parts = text.split("..") if ".." in text else text.split("-")
        if len(parts) != 2:
            raise ValueError(f'{text!r} are no hours: write such as "22:00-06:00" or "sunset-15m..sunrise"')
        begin, end = (Moment.read(part) for part in parts)
        if (begin.event, begin.second) == (end.event, end.second):
            raise ValueError(f'{text!r} ends where it begins: for a whole day write "00:00-24:00"')
        return cls(begin, end)

    def on(self, day: date, place: Place) -> tuple[int, int]:
        """Return from when to when it is, begun on a day; nothing if the end is not behind the beginning."""
        last = day if self.end.ends_later(self.begin) else day + timedelta(days=1)
        return self.begin.on(day, place).time_ns, self.end.on(last, place).time_ns


_WHOLE_DAY = Span(Moment("00:00", 0), Moment("24:00", DAY_S))


@dataclass(frozen=True, slots=True)
class Hours:
    """When a rule is in force."""

    spans: tuple[Span, ...] = (_WHOLE_DAY,)
    days: frozenset[int] = EVERY_DAY  # on which spans begin; 0 is Monday
    text: str = ""

    @classmethod
    def read(cls, between: str | Sequence[str] | None, days: str | Sequence[str] | None) -> Hours | None:
        """Read the two arguments of a decorator; None if neither is given. ValueError says what to write."""
        if between is None and days is None:
            return None
        texts = () if between is None else (between,) if isinstance(between, str) else tuple(between)
        if between is not None and not 0 < len(texts) <= SPANS_MAX:
            raise ValueError(f"between={between!r}: 1 to {SPANS_MAX} spans of hours are wanted")
        spans = tuple(Span.read(text) for text in texts) or (_WHOLE_DAY,)
        said = [f"between {', '.join(texts)}"] if texts else []
        said += [f"on {days_text(days)}"] if days is not None else []
        return cls(spans, read_days(days), " ".join(said))

    @property
    def needs_sun(self) -> bool:
        """Whether it has to be known where the house is."""
        return any(moment.event is not None for span in self.spans for moment in (span.begin, span.end))

    def at(self, time_ns: int, place: Place) -> Stretch:
        """Return the stretch of time that an instant lies in; it may go on the same way behind `until`."""
        today = place.day(time_ns)
        since = place.instant(today - timedelta(days=1), 0)
        until = place.instant(today + timedelta(days=LOOK_AHEAD_DAYS), 0)
        for begin, end in self._merged(today, place):
            if begin <= time_ns < end:
                return Stretch(True, begin, end)
            if end <= time_ns:
                since = max(since, end)
            else:
                until = min(until, begin)
        return Stretch(False, since, until)

    def _merged(self, today: date, place: Place) -> list[tuple[int, int]]:
        """Return the spans around a day in order, those that touch as one."""
        near = [today + timedelta(days=ahead) for ahead in range(-2, LOOK_AHEAD_DAYS)]
        spans = (span.on(day, place) for day in near if day.weekday() in self.days for span in self.spans)
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(span for span in spans if span[0] < span[1]):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged


def read_days(days: str | Sequence[str] | None) -> frozenset[int]:
    """Read ``"mon-fri"``, ``"sat,sun"`` or several of these; None is every day. ValueError says what to write."""
    if days is None:
        return EVERY_DAY
    found: set[int] = set()
    for text in (days,) if isinstance(days, str) else tuple(days):
        if not isinstance(text, str):
            raise ValueError(f'days={days!r}: write such as "mon-fri" or ("sat", "sun")')
        for part in text.lower().split(","):
            first, dash, last = part.strip().partition("-")
            begin = _weekday(first)
            end = _weekday(last) if dash else begin
            found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    if not found:
        raise ValueError(f'days={days!r}: write such as "mon-fri" or ("sat", "sun")')
    return frozenset(found)


def days_text(days: str | Sequence[str]) -> str:
    """Say which days an author named."""
    return days if isinstance(days, str) else ",".join(days)


def _weekday(word: str) -> int:
    short = word.strip()
    if short in WEEK:
        return WEEK.index(short)
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    if short in full:
        return full.index(short)
    hint = probably_meant(short, WEEK) or f"there are {', '.join(WEEK)}"
    raise ValueError(f"there is no day {short!r}, {hint}")
