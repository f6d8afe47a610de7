"""Hours of the day: over midnight, at their edges, in the nights when clocks change."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.hours import Hours, read_hours

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("text", ["22:00-07:00", "22:00..7:00", " 22:00 - 07:00 "])
def test_a_night_goes_over_midnight(text: str) -> None:
    """The first minute belongs to the hours, the last does not, and midnight is inside."""
    night = read_hours(text)
    assert night == Hours(22 * 60, 7 * 60)
    inside = ["22:00", "23:59", "00:00", "06:59"]
    outside = ["21:59", "07:00", "12:00"]
    assert all(night.holds(_at(text)) for text in inside)
    assert not any(night.holds(_at(text)) for text in outside)


def test_hours_of_one_day() -> None:
    """Hours that do not pass midnight hold on that day only; 24:00 is its end."""
    evening = read_hours("18:00-24:00")
    assert evening.holds(_at("23:59"))
    assert not evening.holds(_at("00:00"))
    assert read_hours("00:00-24:00").holds(_at("00:00"))


@pytest.mark.parametrize("text", ["22-07", "25:00-07:00", "24:30-07:00", "07:00-07:00", "", "night", "1:00-2:00-3:00"])
def test_what_is_no_time_says_what_to_write(text: str) -> None:
    """What can't be read names itself in the error."""
    with pytest.raises(ValueError, match=r"write|same time"):
        read_hours(text)


def test_the_end_of_a_night_in_which_clocks_change() -> None:
    """A night ends when the clock on the wall says so, an hour earlier or later than the night before."""
    night = read_hours("22:00-07:00")
    spring = datetime(2026, 3, 28, 22, 30, tzinfo=BERLIN)  # clocks go forward at 02:00
    end = night.ends_after(spring)
    assert (end.day, end.hour, end.minute) == (29, 7, 0)
    assert end.timestamp() - spring.timestamp() == timedelta(hours=7, minutes=30).total_seconds()
    autumn = datetime(2026, 10, 24, 22, 30, tzinfo=BERLIN)
    assert night.ends_after(autumn).timestamp() - autumn.timestamp() == timedelta(hours=9.5).total_seconds()
    assert night.ends_after(datetime(2026, 1, 5, 7, 0, tzinfo=BERLIN)).day == 6


def _at(text: str) -> datetime:
    hour, minute = map(int, text.split(":"))
    return datetime(2026, 1, 5, hour, minute, tzinfo=BERLIN)
