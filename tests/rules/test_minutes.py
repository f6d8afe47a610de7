"""A time of day, read."""

from __future__ import annotations

import pytest

from gateway.rules.language.calendar import minute_of


def test_times_of_the_day() -> None:
    """From midnight to midnight; the day's end is 24:00."""
    assert [minute_of(text) for text in ("00:00", "6:30", " 22:05 ", "24:00")] == [0, 390, 1325, 1440]


@pytest.mark.parametrize("text", ["22", "25:00", "24:30", "7:60", "", "night", "12:00:00"])
def test_what_is_no_time_says_what_to_write(text: str) -> None:
    """What can't be read names itself in the error."""
    with pytest.raises(ValueError, match="write"):
        minute_of(text)
