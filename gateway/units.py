"""Units: what a source writes -> the canonical SenML code, its scale and offset.

One table, one line a unit; a value in the canonical unit is ``value * scale + offset``. Sources write UCUM
(``[degF]``), SenML (``Cel``) or whatever their makers liked (``°C``, ``lux``); each spelling stands here once.
Canonical codes are those of RFC 8428 and RFC 8798, except ``deg`` and ``mired``, which SenML lacks. A field may have a
secondary unit of RFC 8798 as its own (rain in ``mm``): `conversion` takes any unit of the table as its target.
"""

from __future__ import annotations

from typing import NamedTuple

DECIMALS = 6  # a converted value is rounded to this many, so that 3175 mV is 3.175 V and not 3.1750000000000003


class Unit(NamedTuple):
    """A source unit: its canonical code, and how to get there."""

    code: str
    scale: float = 1.0
    offset: float = 0.0


_F = (5 / 9, -160 / 9)  # Fahrenheit to Celsius
_TABLE: dict[tuple[str, ...], Unit] = {
    ("Cel", "°C", "℃", "C", "degC", "celsius"): Unit("Cel"),
    ("[degF]", "°F", "℉", "F", "degF", "fahrenheit"): Unit("Cel", *_F),
    ("K",): Unit("Cel", 1, -273.15),
    ("%RH", "%rH"): Unit("%RH"),
    ("%EL",): Unit("%EL"),
    ("%",): Unit("%"),
    ("V", "volt"): Unit("V"),
    ("mV",): Unit("V", 0.001),
    ("kV",): Unit("V", 1000),
    ("A",): Unit("A"),
    ("mA",): Unit("A", 0.001),
    ("kA",): Unit("A", 1000),
    ("W",): Unit("W"),
    ("kW",): Unit("W", 1000),
    ("mW",): Unit("W", 0.001),
    ("VA",): Unit("VA"),
    ("var", "VAr", "VAR"): Unit("var"),
    ("Wh", "W.h"): Unit("Wh"),
    ("kWh", "kW.h"): Unit("Wh", 1000),
    ("MWh", "MW.h"): Unit("Wh", 1_000_000),
    ("W.min", "Wmin"): Unit("Wh", 1 / 60),
    ("J", "W.s"): Unit("Wh", 1 / 3600),
    ("kJ",): Unit("Wh", 1 / 3.6),
    ("MJ",): Unit("Wh", 1000 / 3.6),
    ("GJ",): Unit("Wh", 1_000_000 / 3.6),
    ("lx", "lux", "Lux"): Unit("lx"),
    ("hPa", "mbar"): Unit("hPa"),
    ("Pa",): Unit("hPa", 0.01),
    ("kPa",): Unit("hPa", 10),
    ("bar",): Unit("hPa", 1000),
    ("[psi]", "psi"): Unit("hPa", 68.94757),
    ("[in_i'Hg]", "inHg"): Unit("hPa", 33.86389),
    ("mm[Hg]", "mmHg"): Unit("hPa", 1.333224),
    ("ppm", "[ppm]"): Unit("ppm"),
    ("ppb", "[ppb]"): Unit("ppm", 0.001),
    ("ug/m3", "µg/m³", "μg/m³", "µg/m3"): Unit("ug/m3"),
    ("mg/m3", "mg/m³"): Unit("ug/m3", 1000),
    ("s", "sec", "seconds"): Unit("s"),
    ("ms",): Unit("s", 0.001),
    ("min", "minutes"): Unit("s", 60),
    ("h", "hr", "Hr", "Hours", "hours"): Unit("s", 3600),
    ("d", "days"): Unit("s", 86_400),
    ("m",): Unit("m"),
    ("cm",): Unit("m", 0.01),
    ("mm",): Unit("m", 0.001),
    ("km",): Unit("m", 1000),
    ("[in_i]", "in"): Unit("m", 0.0254),
    ("[ft_i]", "ft"): Unit("m", 0.3048),
    ("[mi_i]", "mi"): Unit("m", 1609.344),
    ("m3", "m³"): Unit("m3"),
    ("l", "L"): Unit("m3", 0.001),
    ("[gal_us]", "gal"): Unit("m3", 0.003785411784),
    ("[cft_i]", "ft3", "ft³"): Unit("m3", 0.028316846592),
    ("m3/s",): Unit("m3/s"),
    ("m3/h", "m³/h"): Unit("m3/s", 1 / 3600),
    ("l/min", "L/min"): Unit("m3/s", 1 / 60_000),
    ("m/s",): Unit("m/s"),
    ("km/h",): Unit("m/s", 1 / 3.6),
    ("[mi_i]/h", "mph"): Unit("m/s", 0.44704),
    ("[kn_i]", "kn"): Unit("m/s", 1852 / 3600),
    ("mm/h",): Unit("m/s", 0.001 / 3600),
    ("[in_i]/h", "in/h"): Unit("m/s", 0.0254 / 3600),
    ("m/s2", "m/s²"): Unit("m/s2"),
    ("W/m2", "W/m²"): Unit("W/m2"),
    ("S/m",): Unit("S/m"),
    ("uS/cm", "µS/cm"): Unit("S/m", 1e-4),
    ("mS/cm",): Unit("S/m", 0.1),
    ("kg",): Unit("kg"),
    ("g",): Unit("kg", 0.001),
    ("[lb_av]", "lb"): Unit("kg", 0.45359237),
    ("mired",): Unit("mired"),
    ("dBm",): Unit("dBm"),
    ("dB",): Unit("dB"),
    ("Hz",): Unit("Hz"),
    ("kHz",): Unit("Hz", 1000),
    ("deg", "°"): Unit("deg"),
    ("pH",): Unit("pH"),
    ("count", "1"): Unit("count"),
    ("/", ""): Unit("/"),
}
UNITS: dict[str, Unit] = {name: unit for names, unit in _TABLE.items() for name in names}

_PERCENT = frozenset({"%", "%RH", "%EL"})  # one scale, three meanings: the field says which


def conversion(source: str, canonical: str) -> tuple[float, float]:
    """Return (scale, offset) from a source unit to a canonical code.

    Raises KeyError for a unit that is not in the table, ValueError when the two measure different things.
    """
    unit, wanted = UNITS[source], UNITS[canonical]
    if unit.code != wanted.code and not {unit.code, wanted.code} <= _PERCENT:
        raise ValueError(f"{source!r} is a unit of {unit.code!r}, not of {canonical!r}")
    return unit.scale / wanted.scale, (unit.offset - wanted.offset) / wanted.scale


def convert(value: float, source: str, canonical: str) -> float:
    """Convert one value, rounded to `DECIMALS`. Raises as `conversion`."""
    scale, offset = conversion(source, canonical)
    return value if (scale, offset) == (1.0, 0.0) else round(value * scale + offset, DECIMALS)
