"""A time of day as people write it: ``"06:30"``. Rules' hours and quiet hours read it the same way."""

from __future__ import annotations

import re

MINUTES_PER_DAY = 24 * 60
_TIME = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")


def minute_of(text: str) -> int:
    """Read ``"06:30"`` as minutes after midnight, 24:00 included. ValueError says what to write."""
    found = _TIME.fullmatch(text.strip())
    minutes = int(found[1]) * 60 + int(found[2]) if found else MINUTES_PER_DAY + 1
    if minutes > MINUTES_PER_DAY:
        raise ValueError(f'{text!r} is no time of the day: write "06:30" or "22:00"')
    return minutes
