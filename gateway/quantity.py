"""Durations and byte sizes as people write them: ``"5m"``, ``"250 ms"``, ``"64MB"``, ``"1 GiB"``.

Options hold plain numbers and carry their unit in their name (`max_delay_ms`, `bytes_max`). In the config
either the number or a text with a unit may stand: ``max_delay_ms = 20`` and ``max_delay_ms = "20ms"`` are the same.
"""

from __future__ import annotations

import re

DURATIONS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
SIZES_BYTES = {
    "b": 1,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
DURATION_EXAMPLES = '"250ms", "5s", "10m", "2h" or "7d"'
SIZE_EXAMPLES = '"512KB", "64MB" or "1GB"'

_UNITS_OF_NAMES = {"_ns": 1e-9, "_us": 1e-6, "_ms": 1e-3, "_s": 1.0, "_h": 3600.0, "_days": 86_400.0}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*")


def duration_s(text: str) -> float:
    """Read a duration in seconds. ValueError says what to write."""
    number, unit = _split(text)
    if number is None or unit not in DURATIONS_S:
        raise ValueError(f"{text!r} is not a duration: write {DURATION_EXAMPLES}")
    return number * DURATIONS_S[unit]


def size_bytes(text: str) -> int:
    """Read a size in bytes; KB is 1000, KiB is 1024. ValueError says what to write."""
    number, unit = _split(text)
    if number is None or unit.lower() not in SIZES_BYTES:
        raise ValueError(f"{text!r} is not a size: write {SIZE_EXAMPLES}")
    return int(number * SIZES_BYTES[unit.lower()])


def read_as(name: str, text: str) -> int | float | None:
    """Read a text for the option `name` in the unit its name says; None if its name has none. ValueError as above."""
    stem = name.removesuffix("_max").removesuffix("_min")
    if stem == "bytes" or stem.endswith("_bytes"):
        return size_bytes(text)
    if name.endswith("_per_s"):
        return None
    for suffix, unit_s in _UNITS_OF_NAMES.items():
        if name.endswith(suffix) or stem.endswith(suffix):
            return _whole(duration_s(text) / unit_s)
    return None


def size(number: float) -> str:
    """Write a number of bytes for a person: ``1.5 MB``."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float) -> str:
    """Write a duration for a person, two units at most: ``3 d 4 h``, ``12 s``, ``250 ms``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.0f} s"
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count:.0f} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])


def counted(number: int, what: str) -> str:
    """Return how many there are of something whose plural ends in s: ``1 event``, ``1,250 events``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _split(text: str) -> tuple[float | None, str]:
    found = _QUANTITY.fullmatch(text)
    return (float(found[1]), found[2].replace("µ", "u")) if found else (None, "")


def _whole(number: float) -> int | float:
    rounded = round(number)
    return rounded if abs(number - rounded) < 1e-9 * max(1.0, abs(number)) else number
