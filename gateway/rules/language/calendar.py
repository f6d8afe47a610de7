"""When it is what time in the house: wall clock, summer time, sunrise and sunset. Pure arithmetic, no clock.

A time of day happens at the first instant at which the house's wall clock shows it *or something later*: 02:30 on the
night that skips from 02:00 to 03:00 is at 03:00, and on the night that shows 02:30 twice it is the first of them.

The sun comes from `astral`, of which only the height above the horizon at an instant is used: its own search for
sunrise misses days where sunset and UTC midnight are near each other (sffjunkie/astral#83, #86, #102).  Sunrise of a
day is the crossing in the half day before its solar noon, sunset the one in the half day after, even if that is past
midnight.  Where the sun does not set, both are at solar midnight; where it does not rise, both at solar noon: the limit
of the days before.  So "sunset..sunrise" is never in polar day and always in polar night.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from gateway.clock import NS_PER_S
from gateway.errors import probably_meant
from gateway.quantity import duration_s
from gateway.rules.options import Location

DAY_S = 86_400
DAY_MINUTES = 24 * 60
OFFSET_S_MAX = DAY_S // 2  # before or after the sun
SUN_DAYS_KEPT_MAX = 64  # answers about the sun that are remembered
PLACES_KEPT_MAX = 8
SunEvent = Literal["dawn", "sunrise", "sunset", "dusk"]
HEIGHTS: dict[str, float] = {"dawn": -6.0, "sunrise": -0.833, "sunset": -0.833, "dusk": -6.0}
"""Degrees of the sun's centre: refraction and half its disc make 0.833; civil twilight ends at 6."""
_TIME = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_BETWEEN: dict[str, tuple[int, int]] = {"dawn": (1, 11), "sunrise": (3, 12), "sunset": (15, 22), "dusk": (15, 24)}
"""Hours in which each happens in most places: decides whether "22:00..sunrise" ends on the next day."""
_CLOCK = re.compile(r"[\d:]+")
_SUN = re.compile(r"([a-z]+)\s*(?:([+-])\s*(\S.*))?")


class SunTime(NamedTuple):
    """When the sun does something on a day; `happens` is False in polar day and night."""

    time_ns: int
    happens: bool


class Place:
    """The house's wall clock and sky. Raises LookupError for the sun when nobody said where the house is."""

    def __init__(self, timezone: tzinfo, location: Location | None = None) -> None:
        self.timezone = timezone
        self.location = location
        self._suns: OrderedDict[tuple[date, str], SunTime] = OrderedDict()

    def day(self, time_ns: int) -> date:
        """Return the date the wall clock shows."""
        return self.local(time_ns).date()

    def local(self, time_ns: int) -> datetime:
        """Return what the wall clock shows, in whole seconds."""
        return datetime.fromtimestamp(time_ns // NS_PER_S, self.timezone)

    def instant(self, day: date, second: int) -> int:
        """Return when (ns) the wall clock first shows a second of a day (86400: its end), or something later."""
        wanted = datetime.combine(day, time()) + timedelta(seconds=second)
        exact = round(wanted.replace(tzinfo=self.timezone).timestamp())
        if self._shown(exact) == wanted:
            return exact * NS_PER_S
        low = round(wanted.replace(tzinfo=self.timezone, fold=1).timestamp())  # skipped: find where the clock jumps
        high = exact
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._shown(middle) >= wanted else (middle, high)
        return high * NS_PER_S

    def instants(self, day: date, second: int) -> list[int]:
        """Return every instant at which the wall clock shows a second of a day: none, one or two."""
        wanted = datetime.combine(day, time()) + timedelta(seconds=second)
        found = {round(wanted.replace(tzinfo=self.timezone, fold=fold).timestamp()) for fold in (0, 1)}
        return [at * NS_PER_S for at in sorted(found) if self._shown(at) == wanted]

    def _shown(self, seconds: int) -> datetime:
        return datetime.fromtimestamp(seconds, self.timezone).replace(tzinfo=None, fold=0)

    def sun(self, day: date, event: SunEvent) -> SunTime:
        """Return when the sun rises, sets, or dawn or dusk is on a day; to the second."""
        found = self._suns.get((day, event))
        if found is None:
            found = self._suns[day, event] = self._sun(day, event)
            if len(self._suns) > SUN_DAYS_KEPT_MAX:
                self._suns.popitem(last=False)
        return found

    def _sun(self, day: date, event: SunEvent) -> SunTime:
        noon = self._noon(day)
        other = self._noon(day + timedelta(days=-1 if event in ("dawn", "sunrise") else 1))
        midnight, height = (noon + other) // 2, HEIGHTS[event]
        if self._height(noon) <= height:
            return SunTime(noon * NS_PER_S, False)
        if self._height(midnight) > height:
            return SunTime(midnight * NS_PER_S, False)
        up, down = noon, midnight
        while abs(up - down) > 1:
            middle = (up + down) // 2
            up, down = (middle, down) if self._height(middle) > height else (up, middle)
        return SunTime(max(up, down) * NS_PER_S, True)

    def _noon(self, day: date) -> int:
        """Return the solar noon (s) that is nearest to noon on the wall clock."""
        from astral.julian import julianday, julianday_to_juliancentury
        from astral.sun import eq_of_time

        clock_noon = self.instant(day, DAY_S // 2) // NS_PER_S
        mean = round(datetime.combine(day, time(12), UTC).timestamp() - self._observer.longitude * 240)
        mean += round((clock_noon - mean) / DAY_S) * DAY_S
        century = julianday_to_juliancentury(julianday(datetime.fromtimestamp(mean, UTC)))
        return mean - round(eq_of_time(century) * 60)

    def _height(self, seconds: int) -> float:
        from astral import Observer
        from astral.sun import elevation

        observer = Observer(self._observer.latitude, self._observer.longitude)
        return elevation(observer, datetime.fromtimestamp(seconds, UTC), with_refraction=False)

    @property
    def _observer(self) -> Location:
        if self.location is None:
            raise LookupError("nobody said where the house is: add latitude and longitude to [gateway.location]")
        return self.location


@lru_cache(PLACES_KEPT_MAX)
def place_of(timezone: tzinfo, location: Location | None) -> Place:
    """Return the place, with what is known of it: an engine that begins anew need not look at the sky again."""
    return Place(timezone, location)


def minute_of(text: str) -> int:
    """Read ``"06:30"`` as minutes after midnight, 24:00 included. ValueError says what to write."""
    found = _TIME.fullmatch(text.strip())
    minutes = int(found[1]) * 60 + int(found[2]) if found else DAY_MINUTES + 1
    if minutes > DAY_MINUTES:
        raise ValueError(f'{text!r} is no time of the day: write "06:30" or "22:00"')
    return minutes


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of day: of the clock, or of the sun with an offset. `text` is what the author wrote."""

    text: str
    second: int = 0  # of the day; with a sun event: after it
    event: SunEvent | None = None

    @classmethod
    def read(cls, text: str) -> Moment:
        """Read ``"07:30"``, ``"sunset"`` or ``"sunset-15m"``. ValueError says what to write."""
        if not isinstance(text, str):
            raise ValueError(f'{text!r} is no time of day: write such as "07:30" or "sunset-15m"')
        wanted = text.strip().lower()
        if _CLOCK.fullmatch(wanted):
            return cls(wanted, minute_of(wanted) * 60)
        word = _SUN.fullmatch(wanted)
        if word is None or word[1] not in get_args(SunEvent):
            hint = probably_meant(word[1], get_args(SunEvent)) if word else None
            raise ValueError(
                f"{text!r} is no time of day: "
                + (hint or 'write such as "07:30", "sunset-15m" (there are dawn, sunrise, sunset, dusk)')
            )
        offset = round(duration_s(word[3])) if word[3] else 0
        if offset > OFFSET_S_MAX:
            raise ValueError(f"{text!r}: at most 12h before or after the sun")
        event: SunEvent = word[1]  # type: ignore[assignment] # it is one of them
        return cls(wanted, -offset if word[2] == "-" else offset, event)

    def on(self, day: date, place: Place) -> SunTime:
        """Return when it is on a day; what the sun does not do has no offset."""
        if self.event is None:
            return SunTime(place.instant(day, self.second), True)
        at, happens = place.sun(day, self.event)
        return SunTime(at + self.second * NS_PER_S * happens, happens)

    def ends_later(self, begin: Moment) -> bool:
        """Return whether a span from `begin` to here ends on the day it begins on."""
        if self.event == begin.event:
            return self.second > begin.second
        return self._usual()[1] > begin._usual()[0]

    def _usual(self) -> tuple[float, float]:
        """Return between which hours of the day it usually is."""
        if self.event is None:
            return (self.second / 3600, self.second / 3600)
        first, last = _BETWEEN[self.event]
        return (first + self.second / 3600, last + self.second / 3600)
