"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from gateway.quantity import counted, duration, duration_s, read_as, size, size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("5 s", 5),
        ("10m", 600),
        ("2h", 7200),
        ("1.5h", 5400),
        ("7d", 604_800),
        ("3µs", 3e-6),
    ],
)
def test_duration_s_reads(text: str, seconds: float) -> None:
    """A number and a unit are a duration."""
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 minutes", "five s", "-5s", "5m3s", "5MB"])
def test_duration_s_refuses(text: str) -> None:
    """Anything else is refused, and the message shows what to write."""
    with pytest.raises(ValueError, match=r'write "250ms"'):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("512KB", 512_000), ("64MB", 64_000_000), ("1 GiB", 2**30), ("1.5gb", 1_500_000_000), ("7b", 7)],
)
def test_size_bytes_reads(text: str, number: int) -> None:
    """KB is a thousand bytes, KiB is 1024."""
    assert size_bytes(text) == number


@pytest.mark.parametrize("text", ["", "64", "MB", "64 megs", "-1MB", "5m"])
def test_size_bytes_refuses(text: str) -> None:
    """A number without a unit of size is refused, and the message shows what to write."""
    with pytest.raises(ValueError, match=r'write "512KB"'):
        size_bytes(text)


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("max_delay_ms", "20ms", 20),
        ("max_delay_ms", "1s", 1000),
        ("keep_alive_s", "1m", 60),
        ("retry_s_max", "5m", 300),
        ("max_age_days", "1w", 7),
        ("bytes_max", "1GB", 10**9),
        ("payload_bytes_max", "10MB", 10**7),
        ("open_bytes", "1KiB", 1024),
        ("drain_per_s", "5s", None),
        ("name", "5s", None),
    ],
)
def test_read_as_uses_the_unit_in_the_name(name: str, text: str, number: float | None) -> None:
    """An option's name says in which unit a text ends up."""
    assert read_as(name, text) == number


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 KB"), (2.5e12, "2.5 TB")])
def test_size_writes(number: float, text: str) -> None:
    """A size for a person has three digits and a unit."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (12, "12 s"), (60, "1 min"), (3700, "1 h 1 min"), (3 * 86_400 + 4 * 3600 + 5, "3 d 4 h")],
)
def test_duration_writes(seconds: float, text: str) -> None:
    """A duration for a person has two units at most."""
    assert duration(seconds) == text


def test_counted_is_read_as_a_sentence() -> None:
    """One is singular, all others are plural, thousands have commas."""
    said = [counted(number, "event") for number in (0, 1, 2, 1250)]
    assert said == ["0 events", "1 event", "2 events", "1,250 events"]
