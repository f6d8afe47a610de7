"""Hours of the day, on the clock on the wall: ``"22:00-07:00"`` is the night, over midnight too. Pure.

Written with ``-`` or ``..`` between two times; the first belongs to it, the second does not. Which moments are in it
is asked with a datetime in the house's time zone, so that a summer's night is as long as the clock shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MINUTES_PER_DAY = 24 * 60
_TIME = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_BETWEEN = re.compile(r"\s*(?:\.\.|-)\s*")


@dataclass(frozen=True, slots=True)
class Hours:
    """A stretch of every day in minutes after midnight, `end` not included; over midnight when `start` is behind it."""

    start: int
    end: int

    def holds(self, moment: datetime) -> bool:
        """Return whether a moment, given in local time, is in it."""
        minute = moment.hour * 60 + moment.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def ends_after(self, moment: datetime) -> datetime:
        """Return the first end behind a moment that is given in local time, with its zone."""
        midnight = datetime(moment.year, moment.month, moment.day, tzinfo=moment.tzinfo)
        for days in range(3):
            wall = (midnight + timedelta(days=days)).replace(tzinfo=None) + timedelta(minutes=self.end)
            end = wall.replace(tzinfo=moment.tzinfo)
            if end.astimezone(UTC) > moment.astimezone(UTC):
                return end
        raise AssertionError("an end comes every day")

    def __str__(self) -> str:
        return f"{written(self.start)}-{written(self.end)}"


def read_hours(text: str) -> Hours:
    """Read ``"22:00-07:00"``. ValueError says what to write."""
    parts = _BETWEEN.split(text.strip())
    if len(parts) != 2:
        raise ValueError(f'{text!r} are no hours of the day: write "22:00-07:00"')
    start, end = (minute_of(part) for part in parts)
    if start % MINUTES_PER_DAY == end % MINUTES_PER_DAY and (start, end) != (0, MINUTES_PER_DAY):
        raise ValueError(f"{text!r} begins and ends at the same time")
    return Hours(start % MINUTES_PER_DAY, end)


def minute_of(text: str) -> int:
    """Read ``"06:30"`` as minutes after midnight, 24:00 included. ValueError says what to write."""
    found = _TIME.fullmatch(text.strip())
    minutes = int(found[1]) * 60 + int(found[2]) if found else MINUTES_PER_DAY + 1
    if minutes > MINUTES_PER_DAY:
        raise ValueError(f'{text!r} is no time of the day: write "06:30" or "22:00"')
    return minutes


def written(minute: int) -> str:
    """Write minutes after midnight as people do: ``06:30``."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
