"""[[sources.NAME.unit]]: what is wrong about the units of a bus is said before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.crosscheck import unreadable_sources
from gateway.config.load import load, read
from gateway.profiles.catalogue import Catalogue
from gateway.sources.bus import BusOptions

CATALOGUE = Catalogue.load()
KAYSUN, METER = "modbus-kaysun-kc-fcd2", "modbus-eastron-sdm120"


def written(folder: Path, *units: tuple[int, str], line: str = "") -> Path:
    """Write a config with one bus."""
    file = folder / "gateway.toml"
    tables = "".join(f"[[sources.bus.unit]]\naddress = {n}\nprofile = '{profile}'\n" for n, profile in units)
    file.write_text(f"[sources.bus]\nserial = 'usb:0403:6001'\n{line}{tables}")
    return file


def test_units_make_a_bus(tmp_path: Path) -> None:
    """A serial source with units is a bus; units of several profiles share a line when the source says its baud."""
    config = load(written(tmp_path, (5, KAYSUN), (11, METER), line="baud = 9600\n"))
    options = config.sources["bus"]
    assert isinstance(options, BusOptions)
    assert options.units == {5: KAYSUN, 11: METER}
    assert list(unreadable_sources(config, CATALOGUE)) == []


@pytest.mark.parametrize(
    ("units", "fault"),
    [
        ([(5, KAYSUN), (11, METER)], "have different baud: they cannot share a port; if the devices are set alike"),
        ([(5, "modbus-kaysun")], "a unit has one profile, not the family 'modbus-kaysun'"),
        ([(5, "modbus-kaysum-kc-fcd2")], "there is no profile 'modbus-kaysum-kc-fcd2' (did you mean"),
        ([(5, "mysensors-serial")], "'mysensors-serial' has no [[poll]]: its devices speak by themselves"),
    ],
)
def test_profiles_of_units(tmp_path: Path, units: list[tuple[int, str]], fault: str) -> None:
    """Each unit has one profile that asks, and all of them agree about the line."""
    found = list(map(str, unreadable_sources(load(written(tmp_path, *units)), CATALOGUE)))
    assert len(found) == 1
    assert fault in found[0]


def test_a_profile_that_asks_needs_units(tmp_path: Path) -> None:
    """A profile with polls is not for a source that only listens."""
    config = load(written(tmp_path, line=f"profile = '{KAYSUN}'\n"))
    (fault,) = unreadable_sources(config, CATALOGUE)
    assert "write [[sources.<name>.unit]]" in str(fault)


@pytest.mark.parametrize(
    ("units", "fault"),
    [
        ([(5, KAYSUN), (5, KAYSUN)], "two units have the address 5"),
        ([(300, KAYSUN)], "'address': "),
    ],
)
def test_addresses(tmp_path: Path, units: list[tuple[int, str]], fault: str) -> None:
    """An address is one of the bus, and there once."""
    _, faults = read(written(tmp_path, *units))
    assert any(fault in str(one) for one in faults), faults
