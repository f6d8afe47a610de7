"""Device time: what a device's clock says, and whether to believe it.

Forms: unix seconds (also with a fraction), unix milliseconds, ISO 8601 with a zone, ISO 8601 without one
(``local``: believed only when the source's time zone is known; ``utc``: it is UTC), and that of smart meters (``dsmr``:
``yymmddhhmmss`` with S for summer or W for winter time). Local time that comes twice, in the hour when summer time
ends, is taken to be the one nearer to the gateway's clock; where it is missing, the clock was not put forward yet. A
clock that is far off is not believed: the gateway's own time stands then.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from gateway.clock import NS_PER_S, rfc3339
from gateway.errors import DecodeError

Form = Literal["auto", "unix_s", "unix_ms", "iso", "local", "utc", "dsmr"]

_MS_FROM = 1e11  # unix milliseconds are greater than this since 1973, seconds until the year 5138
_UNIX_S_MAX = 253_402_300_799  # 9999-12-31, the last second datetime can write
_SUFFIX_NS = {"ms": 1_000_000, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S, "d": 86_400 * NS_PER_S}
_TEXT_CHARS_MAX = 40


def duration_ns(text: str) -> int:
    """Read a duration such as ``500ms``, ``30s``, ``5m``, ``1h``, ``1d``; empty is 0. ValueError otherwise."""
    if not text:
        return 0
    digits = text.rstrip("mshd")
    scale = _SUFFIX_NS.get(text[len(digits) :])
    if scale is None or not digits.isdigit():
        raise ValueError(f"{text!r} is no duration: 500ms, 30s, 5m, 1h, 1d")
    return int(digits) * scale


def wall_ns(raw: Any, form: Form = "auto", zone: tzinfo | None = None, near_ns: int = 0) -> int | None:
    """Return nanoseconds since 1970, or None when it is no time (or local with no zone known).

    `near_ns` is the gateway's time, which decides between two that a local time can mean.
    """
    if raw.__class__ is str:
        text = raw.strip()
        if form == "dsmr":
            return _meter(text, zone, near_ns)
        if form in ("auto", "iso", "local", "utc") and not text.replace(".", "", 1).isdigit():
            return _iso(text, UTC if form == "utc" else zone, near_ns)
        try:
            raw = float(text) if len(text) <= _TEXT_CHARS_MAX and text.isascii() else None
        except ValueError:
            return None
    if raw.__class__ is not int and raw.__class__ is not float:
        return None
    milliseconds = form == "unix_ms" or (form == "auto" and raw > _MS_FROM)
    seconds = raw / 1000 if milliseconds else raw
    if not 0 < seconds <= _UNIX_S_MAX:
        return None
    return int(seconds) * NS_PER_S + round(seconds % 1 * 1_000_000) * 1000


def _iso(text: str, zone: tzinfo | None, near_ns: int) -> int | None:
    if len(text) > _TEXT_CHARS_MAX:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return _since_1970(moment)
    if zone is None:
        return None
    first, second = (_since_1970(moment.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if first is None or second is None or second < first:  # a time that the clocks leapt over
        return first
    return first if abs(near_ns - first) <= abs(near_ns - second) else second


def _meter(text: str, zone: tzinfo | None, near_ns: int) -> int | None:
    """Read ``161107190000W``; without the letter it is local time as any other."""
    digits, letter = text[:12], text[12:].upper()
    if len(digits) != 12 or not (digits.isascii() and digits.isdigit()) or letter not in ("", "S", "W"):
        return None
    year, month, day, hour, minute, second = (digits[i : i + 2] for i in range(0, 12, 2))
    written = f"20{year}-{month}-{day}T{hour}:{minute}:{second}"
    if not letter or zone is None:
        return _iso(written, zone, near_ns)
    try:
        moment = datetime.fromisoformat(written).replace(tzinfo=zone, fold=0 if letter == "S" else 1)
    except ValueError:
        return None
    return _since_1970(moment)


def _since_1970(moment: datetime) -> int | None:
    try:
        delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        return None
    return (delta.days * 86_400 + delta.seconds) * NS_PER_S + delta.microseconds * 1000


def time_text(raw: Any) -> str:
    """Write a device's time as RFC 3339. DecodeError when it is none."""
    found = wall_ns(raw)
    if found is None:
        raise DecodeError("not a time")
    return rfc3339(found)


class Stamp:
    """Writes RFC 3339 times of a running clock quickly: the last millisecond written is kept."""

    def __init__(self) -> None:
        """Begin with nothing kept."""
        self._millisecond = -1
        self._text = ""

    def __call__(self, wall: int) -> str:
        """Write nanoseconds since 1970 as ``2026-11-23T06:02:42.123Z``."""
        millisecond = wall // 1_000_000
        if millisecond != self._millisecond:
            last, self._millisecond = self._millisecond, millisecond
            if millisecond // 1000 == last // 1000:
                self._text = f"{self._text[:20]}{millisecond % 1000:03d}Z"
            else:
                self._text = rfc3339(wall)
        return self._text


def believed(device_ns: int | None, gateway_ns: int, skew_ns: int) -> bool:
    """Return whether a device's time is near enough to the gateway's to be used."""
    return device_ns is not None and abs(gateway_ns - device_ns) <= skew_ns
