"""Times of day against a brute-force reading of the wall clock, in zones whose clocks jump; and the sun."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import NS_PER_S
from gateway.rules.language.calendar import DAY_S, Moment, Place
from gateway.rules.language.cron import Cron, Times, last_until, next_after
from gateway.rules.language.hours import Hours
from gateway.rules.options import Location

ZONES = {
    name: Place(ZoneInfo(name))
    for name in ("Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "America/St_Johns", "Pacific/Apia", "UTC")
}
CHANGES = {  # days around which the clocks of a zone changed
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25), date(1945, 5, 24)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),  # by half an hour
    "America/Sao_Paulo": (date(2018, 2, 17), date(2018, 11, 4), date(2008, 10, 19)),  # at midnight
    "America/St_Johns": (date(2009, 3, 8), date(2009, 11, 1), date(1988, 4, 3)),  # a minute past midnight, two hours
    "Pacific/Apia": (date(2011, 12, 30), date(2012, 4, 1)),  # a day that never was
    "UTC": (date(2026, 1, 1),),
}
EXAMPLES = 60
MINUTE_NS = 60 * NS_PER_S
zones = st.sampled_from(sorted(ZONES))
minutes = st.integers(0, 24 * 60)
weeks = st.sets(st.integers(0, 6), min_size=1)
lines = st.sampled_from(["*/20 * * * *", "7 * * * *", "*/30 1-3 * * *", "15 0,2 * * *"])


@st.composite
def days(draw: st.DrawFn) -> tuple[Place, date]:
    """Draw a place and a day, near a change of its clocks."""
    zone = draw(zones)
    return ZONES[zone], draw(st.sampled_from(CHANGES[zone])) + timedelta(days=draw(st.integers(-3, 3)))


@lru_cache
def shown(place: Place, change: date) -> tuple[list[int], list[datetime], list[datetime]]:
    """Return each minute (ns) of 40 days, what the wall clock shows in it, and the latest it has shown so far."""
    first = round(datetime.combine(change - timedelta(days=20), time(), UTC).timestamp())
    ats = range(first, first + 40 * DAY_S, 60)
    clocks = [datetime.fromtimestamp(at, place.timezone).replace(tzinfo=None, fold=0) for at in ats]
    return [at * NS_PER_S for at in ats], clocks, list(accumulate(clocks, max))


def first_shown(place: Place, day: date, minute: int) -> int:
    """Return the first minute in which the wall clock shows a time or something later: the definition, by looking."""
    change = min(CHANGES[str(place.timezone)], key=lambda change: abs(change - day))
    ats, _, latest = shown(place, change)
    return ats[bisect_left(latest, datetime.combine(day, time()) + timedelta(minutes=minute))]


def when(place: Place, day: date, shows: Callable[[datetime], bool]) -> list[int]:
    """Return the minutes of the days around one in which the wall clock shows what is wanted."""
    change = min(CHANGES[str(place.timezone)], key=lambda change: abs(change - day))
    ats, clocks, _ = shown(place, change)
    middle = bisect_left(ats, round(datetime.combine(day, time(), UTC).timestamp()) * NS_PER_S)
    near = slice(max(0, middle - 2 * 1440), middle + 5 * 1440)
    return [at for at, clock in zip(ats[near], clocks[near], strict=True) if shows(clock)]


@given(days(), minutes)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_a_time_of_day_is_when_the_clock_first_shows_it_or_something_later(at: tuple[Place, date], minute: int) -> None:
    """What is skipped is at the jump, what is doubled is at the first of the two, everything else is what it says."""
    place, day = at
    assert place.instant(day, minute * 60) == first_shown(place, day, minute)


@given(days(), st.integers(0, 24 * 60 - 1))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_all_instants_of_a_time_of_day(at: tuple[Place, date], minute: int) -> None:
    """A skipped time has no instant, a doubled one has two."""
    place, day = at
    wanted = datetime.combine(day, time()) + timedelta(minutes=minute)
    assert place.instants(day, minute * 60) == when(place, day, lambda clock: clock == wanted)


def test_the_nights_everybody_knows() -> None:
    """In Berlin the skipped 02:30 is at 03:00 and the doubled one is the first."""
    place = ZONES["Europe/Berlin"]
    spring, autumn = place.instant(date(2026, 3, 29), 9000), place.instant(date(2026, 10, 25), 9000)
    assert datetime.fromtimestamp(spring // NS_PER_S, UTC) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert place.local(spring).hour == 3
    assert datetime.fromtimestamp(autumn // NS_PER_S, UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


@given(
    days(), st.integers(0, 3 * DAY_S), st.lists(minutes, min_size=1, max_size=4), st.sets(st.integers(0, 6), min_size=1)
)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_the_next_and_the_last_time_of_a_plan(
    at: tuple[Place, date], second: int, times: list[int], week: set[int]
) -> None:
    """Next is the first of all the days' times behind an instant, last the one before; none twice, none left out."""
    place, day = at
    plan = Times(tuple(Moment(str(minute), minute * 60) for minute in times), frozenset(week))
    near = [day + timedelta(days=ahead) for ahead in range(-12, 13)]
    all_of_them = {first_shown(place, d, m) for d in near if d.weekday() in week for m in times}
    now = round(datetime.combine(day, time(), UTC).timestamp() + second) * NS_PER_S
    assert next_after(plan, now, place) == min(x for x in all_of_them if x > now)
    assert last_until(plan, now, place, now - 9 * DAY_S * NS_PER_S) == max(x for x in all_of_them if x <= now)


@given(
    days(), st.integers(0, 2 * DAY_S), st.sampled_from(["*/20 * * * *", "7 * * * *", "*/30 1-3 * * *", "15 0,2 * * *"])
)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_cron_lines(at: tuple[Place, date], second: int, line: str) -> None:
    """With an hour a line runs as times of day do, without one whenever the clock shows its minute, both times."""
    place, day = at
    cron = Cron.read(line)
    now = round(datetime.combine(day, time(), UTC).timestamp() + second) * NS_PER_S
    if cron.any_hour:
        found = when(place, day, lambda clock: clock.minute in cron.minutes)
    else:
        near = [day + timedelta(days=ahead) for ahead in range(-2, 5)]
        found = [first_shown(place, d, h * 60 + m) for d in near for h in cron.hours for m in cron.minutes]
    assert next_after(cron, now, place) == min(x for x in found if x > now)


@given(days(), st.integers(0, 2 * DAY_S), minutes, minutes, weeks)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_hours_are_open_from_their_beginning_to_before_their_end(
    at: tuple[Place, date], second: int, begin: int, end: int, week: set[int]
) -> None:
    """They are open when a span that began on one of their days is not over, and stay so until they say."""
    place, day = at
    if begin == end:
        return
    text = f"{begin // 60:02d}:{begin % 60:02d}-{end // 60:02d}:{end % 60:02d}"
    names = [("mon", "tue", "wed", "thu", "fri", "sat", "sun")[number] for number in week]
    hours = Hours.read(text, names)
    assert hours is not None
    now = round(datetime.combine(day, time(), UTC).timestamp() + second) * NS_PER_S
    spans = [
        (first_shown(place, d, begin), first_shown(place, d + timedelta(days=begin > end), end))
        for d in (day + timedelta(days=ahead) for ahead in range(-2, 4))
        if d.weekday() in week
    ]
    stretch = hours.at(now, place)
    assert stretch.open == any(first <= now < last for first, last in spans)
    assert stretch.since <= now < stretch.until
    assert hours.at(stretch.until - MINUTE_NS, place).open == stretch.open or stretch.until - now < MINUTE_NS
    edges = {edge for span in spans for edge in span}
    assert not any(hours.at(edge, place).open != stretch.open for edge in edges if stretch.since < edge < stretch.until)


ANGELES = Place(ZoneInfo("America/Los_Angeles"), Location(latitude=34.0522, longitude=-118.2437))
WELLINGTON = Place(ZoneInfo("Pacific/Auckland"), Location(latitude=-41.2866, longitude=174.7756))
BERLIN = Place(ZoneInfo("Europe/Berlin"), Location(latitude=52.52, longitude=13.405))
TROMSO = Place(ZoneInfo("Europe/Oslo"), Location(latitude=69.65, longitude=18.96))


@pytest.mark.parametrize(
    ("place", "day", "sunrise", "sunset"),  # of the almanacs of these places, to the minute
    [
        (BERLIN, date(2026, 6, 21), "04:43", "21:33"),
        (BERLIN, date(2026, 12, 21), "08:15", "15:54"),
        (ANGELES, date(2026, 6, 21), "05:42", "20:08"),
        (WELLINGTON, date(2026, 12, 21), "05:44", "20:54"),
    ],
)  # fmt: skip
def test_sunrise_and_sunset(place: Place, day: date, sunrise: str, sunset: str) -> None:
    """They are those of the almanac, on their day, also where sunset is past midnight in UTC."""
    for event, wanted in (("sunrise", sunrise), ("sunset", sunset)):
        at, happens = Moment.read(event).on(day, place)
        expected = datetime.combine(day, time.fromisoformat(wanted), place.timezone)
        assert happens
        assert abs(place.local(at) - expected) <= timedelta(seconds=90)


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.floats(-60, 60), st.floats(-179, 179))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
def test_the_sun_sets_once_a_day_between_two_noons(day: date, latitude: float, longitude: float) -> None:
    """Below the polar circles each day has a sunrise and then a sunset, in the order of days."""
    place = Place(ZoneInfo("UTC"), Location(latitude=latitude, longitude=longitude))
    order = [
        Moment.read(event).on(day + timedelta(days=ahead), place)
        for ahead in range(3)
        for event in ("sunrise", "sunset")
    ]
    assert all(at.happens for at in order)
    assert [at.time_ns for at in order] == sorted({at.time_ns for at in order})


def test_where_the_sun_does_not_set_it_is_always_day() -> None:
    """In polar day "sunset..sunrise" is never and "sunrise..sunset" always; in polar night the other way round."""
    for day, dark in ((date(2026, 6, 21), False), (date(2026, 12, 21), True)):
        for text, wanted in (("sunset-15m..sunrise", dark), ("sunrise..sunset", not dark), ("dusk..dawn", False)):
            hours = Hours.read(text, None)
            assert hours is not None
            open_hours = [hours.at(TROMSO.instant(day, hour * 3600), TROMSO).open for hour in range(24)]
            if text == "dusk..dawn" and dark:
                assert len(set(open_hours)) == 2  # twilight at noon
            else:
                assert open_hours == [wanted] * 24
        assert Times.read(["sunset+10m"], None).on(day, TROMSO) == []
    assert next_after(Times.read(["sunrise"], None), TROMSO.instant(date(2026, 12, 1), 0), TROMSO) is not None


@pytest.mark.parametrize(
    ("begin", "end", "inside", "outside"),
    [
        ("22:00", "sunrise", "23:00 03:00", "12:00 21:00"),
        ("sunset", "23:00", "22:30", "12:00 03:00"),
        ("sunrise", "09:00", "08:45", "12:00 03:00"),
        ("05:00", "sunset", "12:00", "04:00 23:30"),
        ("sunset-1h", "sunset", "15:30", "17:00 03:00"),
    ],
)
def test_hours_that_end_on_the_day_people_mean(begin: str, end: str, inside: str, outside: str) -> None:
    """Between a time of the clock and one of the sun the end is on the day it usually is, in December too."""
    hours = Hours.read(f"{begin}..{end}", None)
    assert hours is not None
    day = date(2026, 12, 15)
    for text, wanted in ((inside, True), (outside, False)):
        for clock in text.split():
            assert hours.at(Moment.read(clock).on(day, BERLIN).time_ns, BERLIN).open is wanted, clock


@pytest.mark.parametrize(
    ("line", "days_in_june"),
    [
        ("0 7 * * mon-fri", [1, 2, 3, 4, 5]),
        ("0 7 1,15 * fri", [1, 5, 12, 15, 19, 26]),  # either is enough, as in crontab(5)
        ("0 7 */10 jun *", [1, 11, 21]),
        ("0 7 * * 7", [7, 14, 21, 28]),
        ("0 7 * * sat-mon", [1, 6, 7, 8]),
    ],
)
def test_days_of_a_cron_line(line: str, days_in_june: list[int]) -> None:
    """Days of the month and of the week are those of crontab(5)."""
    cron = Cron.read(line)
    june = [day for day in range(1, 31) if cron.on(date(2026, 6, day), ZONES["UTC"])]
    assert june[: len(days_in_june)] == days_in_june


def test_a_leap_day_is_found() -> None:
    """A line for 29 February waits for the next leap year, over 2100 too; 30 February is refused."""
    place = ZONES["UTC"]
    found = next_after(Cron.read("0 0 29 2 *"), place.instant(date(2096, 3, 1), 0), place)
    assert found == place.instant(date(2104, 2, 29), 0)
    with pytest.raises(ValueError, match="no such day"):
        Cron.read("0 0 30 feb *")
