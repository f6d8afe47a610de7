"""Home Assistant's registries and the devices they are about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import main
from gateway.errors import GatewayError
from gateway.installation.home_assistant import Match, matches, read
from gateway.profiles.devices import Devices

AREAS = [{"id": "hall", "name": "Hall"}, {"id": "bad", "name": "Bath Room"}]
DEVICES: list[dict[str, Any]] = [
    {"id": "1", "area_id": "hall", "name": "0x00158d0001a2b3c4", "name_by_user": "Front door", "labels": ["entry"],
     "identifiers": [["mqtt", "zigbee2mqtt_0x00158d0001a2b3c4"]]},
    {"id": "2", "area_id": None, "name": "bath/window", "identifiers": [["mqtt", "zigbee2mqtt_0x00158d0009999999"]]},
    {"id": "3", "area_id": "hall", "name": "Shelly DW", "connections": [["mac", "c8:2b:96:f3:b8:42"]]},
    {"id": "4", "area_id": "hall", "name": "Radiator", "identifiers": [["mqtt", "zigbee2mqtt_0x000d6f000b3dd083"]]},
    {"id": "5", "area_id": None, "name": "Sun", "identifiers": [["sun", "sun"]]},
    {"id": "6", "area_id": None, "name": "Old", "disabled_by": "user", "identifiers": [["mqtt", "x"]]},
    {"id": "7", "area_id": None, "name": "Twin", "connections": [["mac", "aa:bb:cc:11:22:33"]]},
]  # fmt: skip
ENTITIES = [
    {"entity_id": "binary_sensor.w", "device_id": "2", "area_id": "bad", "original_device_class": "window"},
    {"entity_id": "binary_sensor.f", "device_id": "1", "original_device_class": "door"},
]
KNOWN = [
    "house/z2m:0x00158d0001a2b3c4", "house/z2m:bath/window", "house/shelly:shellydw-F3B842",
    "house/tasmota:plug_112233", "house/tasmota:lamp_112233", "house/z2m:0xa4c1380000000001",
]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a Home Assistant's configuration folder."""
    storage = tmp_path / "config" / ".storage"
    storage.mkdir(parents=True)
    for name, key, data in (("area", "areas", AREAS), ("device", "devices", DEVICES), ("entity", "entities", ENTITIES)):
        text = json.dumps({"version": 1, "key": f"core.{name}_registry", "data": {key: data, "deleted_devices": []}})
        (storage / f"core.{name}_registry").write_text(text)
    return tmp_path / "config"


def test_devices_are_the_same_by_address_mac_or_name(config: Path) -> None:
    """An address counts most, then the end of a MAC, then the name; what could be two, or is none, is listed."""
    found, rest = matches(read(config), KNOWN, {})
    assert found == [
        Match("house/shelly:shellydw-F3B842", "Shelly DW", "hall", "", (), "the end of its MAC"),
        Match("house/z2m:0x00158d0001a2b3c4", "Front door", "hall", "", ("entry",), "its address"),
        Match("house/z2m:bath/window", "bath/window", "bath room", "window", (), "its name"),
    ]
    assert [(each.name, each.why.partition(" ")[0]) for each in rest] == [("Radiator", "nothing"), ("Twin", "it")]
    found, _ = matches(read(config), ["house/z2m:0xa4c1380000000001"], {"house/z2m:0xa4c1380000000001": "Radiator"})
    assert [match.name for match in found] == ["Radiator"], "by what its dialect calls it"


def test_an_export_is_read_as_well(config: Path, tmp_path: Path) -> None:
    """One file with areas, devices and entities does, too; what is no registry is refused with what is wrong."""
    file = tmp_path / "export.json"
    areas = [{"area_id": "hall", "name": "Hall"}]
    file.write_text(json.dumps({"areas": areas, "devices": DEVICES, "entities": ENTITIES}))
    assert matches(read(file), KNOWN, {})[0][1].room == "hall"
    assert len(read(config / ".storage").devices) == len(DEVICES)
    for text, why in (("{", "not JSON"), ('{"devices": [{"id": 5}]}', "not as Home Assistant"), ("[]", "no devices")):
        file.write_text(text)
        with pytest.raises(GatewayError, match=why):
            read(file)
    with pytest.raises(GatewayError, match="is this Home Assistant's folder"):
        read(tmp_path)


def test_what_a_person_said_here_stays(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run shows the difference and writes nothing; the import fills what is empty, --overwrite replaces."""
    (tmp_path / "gateway.toml").write_text('[gateway]\nstate = "state"\n')
    devices = tmp_path / "devices.toml"
    before = '# ours\n[[device]]\nid = "house/z2m:0x00158d0001a2b3c4"  # the lock\nname = "entrance"\n'
    before += '\n[[device]]\nid = "house/z2m:bath/window"\n'
    devices.write_text(before)
    words = ["import", "home-assistant", str(config), "--config", str(tmp_path / "gateway.toml")]
    assert main([*words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert '+room = "hall"' in said
    assert "not matched: 'Radiator' (000d6f000b3dd083): nothing of it was heard here" in said
    assert devices.read_text() == before
    assert main(words) == 0
    assert 'id = "house/z2m:0x00158d0001a2b3c4"  # the lock\nname = "entrance"\nroom = "hall"\n' in devices.read_text()
    window = Devices.load(devices).get("house/z2m:bath/window")
    assert window is not None
    assert (window.name, window.room, window.kind) == ("bath/window", "bath room", "window")
    assert main([*words, "--overwrite", "--json"]) == 0
    assert Devices.load(devices).find("Front door") is not None
    after = devices.read_text()
    assert main(words) == 0, "a second time changes nothing"
    assert devices.read_text() == after
