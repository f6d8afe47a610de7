"""devices.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.profiles.devices import Devices

TEXT = """
[[device]]
id = "house/z2m:bedroom/radiator"
name = "radiator-bedroom"   # comments stay
room = "bedroom"
kind = "thermostat"
labels = ["heating"]

[[device]]
id = "house/z2m:0x00158d"
kind = "window"
invert = true
"""


def test_devices_are_found_by_id_and_name(tmp_path: Path) -> None:
    """A device is found by its stable id and by the name a person gave it."""
    file = tmp_path / "devices.toml"
    file.write_text(TEXT)
    devices = Devices.load(file)
    radiator = devices.find("radiator-bedroom")
    assert radiator is devices.get("house/z2m:bedroom/radiator") is not None
    assert radiator.room == "bedroom"
    assert devices.find("house/z2m:0x00158d") in list(devices)
    assert (len(devices), devices.find("nobody")) == (2, None)


def test_no_file_is_an_empty_installation(tmp_path: Path) -> None:
    """Without devices.toml everything works by defaults."""
    assert len(Devices.load(tmp_path / "devices.toml")) == 0


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('kind = "window"', 'kidn = "window"', "11: unknown key 'kidn' (did you mean 'kind'?)"),
        ('"house/z2m:0x00158d"', '"house/z2m:bedroom/radiator"', "10: device 'house/z2m:bedroom/radiator' is"),
        ('kind = "window"', 'name = "radiator-bedroom"', "11: the name 'radiator-bedroom' is taken"),
        ('"house/z2m:0x00158d"', '"front door"', "10: 'id': Expected `str` matching regex"),
        ('kind = "window"', 'kind = "Big Window"', "11: 'kind': Expected `str` matching regex"),
    ],
)  # fmt: skip
def test_faults_name_their_line(tmp_path: Path, old: str, new: str, fault: str) -> None:
    """A mistake in devices.toml is named with its line."""
    file = tmp_path / "devices.toml"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        Devices.load(file)
    assert any(str(found).startswith(f"{file}:{fault}") for found in caught.value.faults), caught.value.faults
