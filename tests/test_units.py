"""Units and their canonical codes."""

from __future__ import annotations

import pytest

from gateway.units import UNITS, conversion, convert


@pytest.mark.parametrize(
    ("value", "source", "canonical", "expected"),
    [
        (70.9, "[degF]", "Cel", 21.611111),
        (-40, "°F", "Cel", -40),
        (273.15, "K", "Cel", 0),
        (21, "C", "Cel", 21),
        (3175, "mV", "V", 3.175),
        (3600, "W.min", "Wh", 60),
        (5.34, "kW.h", "Wh", 5340),
        (29.670, "[in_i'Hg]", "hPa", 1004.741616),
        (47, "%", "%RH", 47),
        (250, "ppb", "ppm", 0.25),
        (-5, "lux", "lx", -5),
        (0.66, "[in_i]", "mm", 16.764),
        (3, "mm", "mm", 3),
        (0.12, "in/h", "mm/h", 3.048),
        (497_890, "gal", "m3", 1884.718673),
        (350, "uS/cm", "S/m", 0.035),
    ],
)
def test_known_values(value: float, source: str, canonical: str, expected: float) -> None:
    """Values whose conversion is known come out right, without float noise."""
    assert convert(value, source, canonical) == pytest.approx(expected, abs=1e-6)
    assert len(repr(convert(value, source, canonical)).partition(".")[2]) <= 6


def test_units_that_need_no_conversion_keep_their_type() -> None:
    """A canonical value passes unchanged: 21 stays the integer 21."""
    assert repr(convert(21, "°C", "Cel")) == "21"


def test_wrong_dimension_is_refused() -> None:
    """Volts are no temperature, and a unit nobody knows is a KeyError."""
    with pytest.raises(ValueError, match="not of 'Cel'"):
        conversion("mV", "Cel")
    with pytest.raises(KeyError):
        conversion("furlong", "m")


def test_every_canonical_code_is_itself_a_unit() -> None:
    """What the table leads to can be read back with scale 1."""
    assert {code: UNITS[code][1:] for code in {u.code for u in UNITS.values()} if UNITS[code][1:] != (1, 0)} == {}
