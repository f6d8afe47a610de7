"""Raw values to canonical ones, and device times."""

from __future__ import annotations

import math
from datetime import UTC, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import rfc3339, wall_ns_of
from gateway.errors import DecodeError
from gateway.profiles.language import Condition, Field
from gateway.profiles.times import Stamp, duration_ns, wall_ns
from gateway.profiles.values import condition, converter, number, text_of
from gateway.profiles.vocabulary import FIELDS
from tests.profiles.deliveries import NOW


def read(raw: Any, whole: Any = None, **field: Any) -> Any:
    """Read a raw value by a field made of TOML-like keys."""
    made = msgspec.convert(field, Field)
    return converter(made, FIELDS[made.name])(raw, whole)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("28.0", 28.0), ("28", 28), (" -3.5 ", -3.5), (7, 7), (0.25, 0.25), (None, None), ("nan", None), ("None", None),
     ("", None), ("unavailable", None), ("+4", 4), ("1e3", 1000.0)],
)  # fmt: skip
def test_numbers_are_lenient(raw: Any, expected: Any) -> None:
    """A number may come as text; the usual words for "don't know" are unknown; integers stay integers."""
    assert number(raw) == expected
    assert type(number(raw)) is type(expected)


@pytest.mark.parametrize(
    "raw", [True, False, "true", "1_000", "infinity", "1e999", "٣", "0x10", "9" * 5000, [], {}, "21,5"]
)
def test_what_is_no_number_is_refused(raw: Any) -> None:
    """A bool, another script's digits, Python's own number forms and huge texts are not numbers."""
    with pytest.raises(DecodeError, match="is not a number"):
        number(raw)


@given(st.one_of(st.text(), st.floats(), st.integers(), st.binary().map(str), st.booleans()))
def test_any_value_is_a_finite_number_or_refused(raw: Any) -> None:
    """Nothing gets through as infinity or NaN unless it came so from Python itself, which JSON cannot."""
    if isinstance(raw, float) and not math.isfinite(raw):
        return
    try:
        value = number(raw)
    except DecodeError:
        return
    assert value is None or math.isfinite(value)


def test_a_condition_may_be_a_range() -> None:
    """What is a number of the range holds, both ends too, also as text; no number, and nothing at all, does not."""
    holds = condition(Condition(path="/p", within=[20, 33]))
    assert [holds({"p": value}) for value in (20, "29.92", 33, 33.1, "no", None, True)] == [True] * 3 + [False] * 4
    assert not holds({})
    with pytest.raises(ValueError, match="one of"):
        Condition(path="/p", within=[1, 2], exists=True)


def test_units_scale_and_guard() -> None:
    """Scale and offset come first, then the unit; a guard tells volts from millivolts."""
    volts = {"name": "battery.voltage", "unit": "mV", "guard": {"if_below": 60, "unit": "V"}}
    assert read(2985, **volts) == 2.985
    assert read(3, **volts) == 3
    assert read(45, name="temperature", scale=0.5, offset=-10) == 12.5
    assert read(70.9, name="temperature", unit="[degF]") == 21.611111


def test_unit_from_the_message() -> None:
    """The unit may stand elsewhere in the message; one that is missing is the canonical one."""
    field = {"name": "temperature", "unit_from": {"from": "/u", "map": {"C": "Cel", "F": "[degF]"}}}
    assert read(68, {"u": "F"}, **field) == 20
    assert read(20, {"u": "C"}, **field) == 20
    assert read(20, {}, **field) == 20
    with pytest.raises(DecodeError, match='unit "K" is none of C, F'):
        read(20, {"u": "K"}, **field)


def test_sentinels_and_range_are_unknown() -> None:
    """Sentinels and values out of range are unknown, before any conversion."""
    assert read("999.0", name="temperature", null=[999]) is None
    assert read(101, name="battery", range=[0, 100]) is None
    assert read(-1, name="illuminance", null=[-1]) is None


def test_bools_and_enums_by_text() -> None:
    """Maps compare by text, case aside; what is not in the map is `else`, or refused."""
    assert [read(raw, name="motion") for raw in (1, "1", True, "ON", "true", 1.0)] == [True] * 6
    assert [read(raw, name="motion") for raw in (0, "OFF", False)] == [False] * 3
    contact = {"name": "open", "map": {"false": True, "true": False}}
    assert (read(False, **contact), read("TRUE", **contact)) == (True, False)
    mode = {"name": "mode", "map": {"heat": "heat", "manual": "heat"}}
    assert read("manual", **mode) == "heat"
    assert read("boost", **mode, **{"else": "other"}) == "other"
    with pytest.raises(DecodeError, match='"boost" is none of heat, manual'):
        read("boost", **mode)


@pytest.mark.parametrize(
    ("raw", "text"), [(True, "true"), (None, "null"), (1.0, "1"), (1.5, "1.5"), ("ON", "ON"), (0, "0")]
)
def test_text_form(raw: Any, text: str) -> None:
    """Raw values compare by one text form each."""
    assert text_of(raw) == text


@pytest.mark.parametrize(
    "field",
    [
        {"name": "temperature", "unit": "V"},
        {"name": "temperature", "unit": "Celcius"},
        {"name": "mode", "map": {"x": "party"}},
        {"name": "mode"},
        {"name": "open", "map": {"x": "open"}},
        {"name": "temperature", "unit": "Cel", "unit_from": {"from": "/u", "map": {}}},
    ],
)
def test_wrong_fields_are_refused_at_load(field: dict[str, Any]) -> None:
    """A unit of something else, an enum word nobody knows, a bool that is text: faults of the profile."""
    with pytest.raises(ValueError, match=r"unit|map"):
        read(1, **field)


def test_long_texts_and_lists_are_cut() -> None:
    """A text or list field cannot grow an event without limit."""
    assert len(read("x" * 5000, name="preset")) == 1024
    assert len(read(list(range(500)), name="object.zones")) == 64


@pytest.mark.parametrize(
    ("raw", "form"),
    [(1795300000, "auto"), (1795300000.0, "unix_s"), (1795300000000, "auto"), ("1795300000", "auto"),
     ("2026-11-21T22:26:40Z", "auto"), ("2026-11-22T00:26:40+02:00", "iso"), ("2026-11-21T23:26:40", "local")],
)  # fmt: skip
def test_forms_of_device_time(raw: Any, form: Any) -> None:
    """Unix seconds and milliseconds, ISO with a zone, and local time where the zone is known."""
    zone = timezone(timedelta(hours=1))
    assert wall_ns(raw, form, zone) == NOW


@pytest.mark.parametrize("raw", [None, True, "yesterday", -5, 0, 1e300, float(2**70), [], "9" * 60, "2026-13-40"])
def test_what_is_no_time_is_none(raw: Any) -> None:
    """Nonsense is no time, so that the gateway's own stands."""
    assert wall_ns(raw) is None


def test_local_time_needs_a_zone() -> None:
    """A time without a zone is believed only when the source's zone is known."""
    assert wall_ns("2026-11-21T21:46:40") is None
    assert wall_ns("2026-11-21T21:46:40", "auto", UTC) == wall_ns("2026-11-21T21:46:40Z")


def test_stamp_writes_what_rfc3339_writes() -> None:
    """The quick writer and the plain one agree at every step, also back and across seconds."""
    stamp = Stamp()
    for step in (0, 1, 999, 1000, 1001, 61_000, 60_999, -5, 0):
        at = NOW + step * 1_000_000
        assert stamp(at) == rfc3339(at)


def test_durations() -> None:
    """Durations are whole numbers with a unit; anything else is refused."""
    milliseconds = {"500ms": 500, "30s": 30_000, "5m": 300_000, "1h": 3_600_000, "1d": 86_400_000, "": 0}
    assert {text: duration_ns(text) // 1_000_000 for text in milliseconds} == milliseconds
    for text in ("5", "h", "1.5h", "1 h", "-1s"):
        with pytest.raises(ValueError, match="duration"):
            duration_ns(text)


@pytest.mark.parametrize(
    ("raw", "expected", "field"),
    [
        ("00cf", 20.7, {"numeral": "hex", "sign": "magnitude", "scale": 0.1}),
        ("800d", -1.3, {"numeral": "hex", "sign": "magnitude", "scale": 0.1}),
        ("0xFFFE", -0.2, {"numeral": "hex", "sign": "twos", "scale": 0.1}),
        (65_535, -1, {"sign": "twos"}),
        (200, -56, {"sign": "twos", "bits": 8}),
        ("7fff", None, {"numeral": "hex", "sign": "twos", "null": [0x7FFF]}),
        (255, 0.0, {"span": {"raw": [255, 0], "value": [0, 40]}}),
        (0, 40.0, {"span": {"raw": [255, 0], "value": [0, 40]}}),
        (51, 32.0, {"span": {"raw": [255, 0], "value": [0, 40]}}),
        (256, None, {"span": {"raw": [255, 0], "value": [0, 40]}}),
        (1, 100.0, {"span": {"raw": [0, 1], "value": [32, 212]}, "unit": "[degF]"}),
        (10, 50, {"scale": 2, "offset": 30}),
    ],
)
def test_numbers_as_data_sheets_write_them(raw: Any, expected: Any, field: dict[str, Any]) -> None:
    """Hexadecimal text, a sign among the bits, a line by two points that may run downwards: beyond it is unknown."""
    assert read(raw, name="temperature", **field) == expected


@pytest.mark.parametrize(
    ("raw", "field"),
    [("xyz", {"numeral": "hex"}), (12, {"numeral": "hex"}), ("1" * 17, {"numeral": "hex"}), ("", {"numeral": "hex"}),
     (1.5, {"sign": "twos"}), (-1, {"sign": "twos"}), (70_000, {"sign": "magnitude"})],
)  # fmt: skip
def test_numbers_that_data_sheets_do_not_write(raw: Any, field: dict[str, Any]) -> None:
    """What is not hexadecimal, or wider than its bits, is refused; nothing at all is unknown."""
    if raw == "":
        assert read(raw, name="temperature", **field) is None
        return
    with pytest.raises(DecodeError):
        read(raw, name="temperature", **field)


AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.mark.parametrize(
    ("raw", "form", "near", "expected"),
    [
        ("161107190000W", "dsmr", "2016-11-07T18:00:00", "2016-11-07T18:00:00.000Z"),
        ("160707190000S", "dsmr", "2016-07-07T18:00:00", "2016-07-07T17:00:00.000Z"),
        ("161107190000", "dsmr", "2016-11-07T18:00:00", "2016-11-07T18:00:00.000Z"),
        ("161030023000S", "dsmr", "2016-10-30T01:30:00", "2016-10-30T00:30:00.000Z"),
        ("161030023000W", "dsmr", "2016-10-30T01:30:00", "2016-10-30T01:30:00.000Z"),
        ("161307190000W", "dsmr", "2016-11-07T18:00:00", None),
        ("1611071900W", "dsmr", "2016-11-07T18:00:00", None),
        ("161107190000X", "dsmr", "2016-11-07T18:00:00", None),
        ("2016-10-30T02:30:00", "local", "2016-10-30T00:31:00", "2016-10-30T00:30:00.000Z"),
        ("2016-10-30T02:30:00", "local", "2016-10-30T01:31:00", "2016-10-30T01:30:00.000Z"),
        ("2016-03-27T02:30:00", "local", "2016-03-27T01:31:00", "2016-03-27T01:30:00.000Z"),
        ("2016-07-01 12:00:00", "auto", "2016-07-01T10:00:00", "2016-07-01T10:00:00.000Z"),
        ("2016-07-01 12:00:00", "utc", "2016-07-01T10:00:00", "2016-07-01T12:00:00.000Z"),
    ],
)  # fmt: skip
def test_local_times(raw: str, form: Any, near: str, expected: str | None) -> None:
    """Local time is that of the house over the changes of summer time; the doubtful hour is the one nearer to now."""
    at = wall_ns(raw, form, AMSTERDAM, wall_ns_of(f"{near}Z"))
    assert (None if at is None else rfc3339(at)) == expected
