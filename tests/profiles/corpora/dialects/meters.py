"""Smart meters: the reference decoder's names of OBIS objects, with the unit behind the value."""

from __future__ import annotations

from tests.profiles.corpora.expected import Expected, Wanted
from tests.profiles.corpora.records import Record

FACTORS = {"kWh": 1000, "Wh": 1, "kW": 1000, "W": 1, "m3": 1, "V": 1, "A": 1, "GJ": 1_000_000 / 3.6}
P1 = {
    "ELECTRICITY_USED_TARIFF_1": "energy.tariff.1", "ELECTRICITY_USED_TARIFF_2": "energy.tariff.2",
    "ELECTRICITY_DELIVERED_TARIFF_1": "energy.returned.tariff.1",
    "ELECTRICITY_DELIVERED_TARIFF_2": "energy.returned.tariff.2",
    "ELECTRICITY_IMPORTED_TOTAL": "energy", "ELECTRICITY_EXPORTED_TOTAL": "energy.returned",
    "CURRENT_ELECTRICITY_USAGE": "power", "CURRENT_ELECTRICITY_DELIVERY": "power.returned",
    "GAS_METER_READING": "gas.volume", "HOURLY_GAS_METER_READING": "gas.volume",
    **{f"INSTANTANEOUS_VOLTAGE_L{n}": f"voltage.phase.{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_CURRENT_L{n}": f"current.phase.{n}" for n in (1, 2, 3)},
    **{f"INSTANTANEOUS_ACTIVE_POWER_L{n}_POSITIVE": f"power.phase.{n}" for n in (1, 2, 3)},
}  # fmt: skip


def p1(record: Record) -> Expected:
    """Read a telegram: value and unit stand in one text."""
    found = Expected()
    for key, text in record.fields.items():
        value, _, unit = str(text).partition(" ")
        if key in P1 and unit in FACTORS:
            found.wanted.append(Wanted((P1[key],), float(value) * FACTORS[unit], 1e-4))
    return found


DIALECTS = {"dsmr-p1": p1}
