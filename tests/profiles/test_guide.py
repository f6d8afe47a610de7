"""The guide's example is a profile that works, with samples that match."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.profiles import samples
from gateway.profiles.catalogue import BUILTIN, Catalogue
from gateway.profiles.devices import Device, Devices
from tests.profiles.deliveries import decoder, delivery

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "add-a-device.md"


def test_the_example_of_the_guide_works(tmp_path: Path) -> None:
    """Copied as it stands, the guide's profile loads, its samples match, and its command reaches the device."""
    text = GUIDE.read_text()
    profile, _, _ = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    lines, _ = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "samples").mkdir()
    (tmp_path / "greenhouse.toml").write_text(profile)
    (tmp_path / "samples" / "greenhouse.jsonl").write_text(lines)
    catalogue = Catalogue.load([BUILTIN, tmp_path])
    count, wrong = samples.run(catalogue, "greenhouse")
    assert (count, wrong) == (5, [])
    made = decoder(catalogue)
    made.decode(delivery("greenhouse/b/state", {"lid": 1}))
    assert made.encode("house/greenhouse:b", "set_on", True) == ("greenhouse/b/set", b'{"heater":"HEAT"}')


def test_the_serial_example_of_the_guide_works(tmp_path: Path) -> None:
    """The board on a serial line is read as its samples say, and its command is the line the guide promises."""
    text = GUIDE.read_text()
    profile, lines = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)[-1] for kind in ("toml", "json"))
    (tmp_path / "samples").mkdir()
    (tmp_path / "shed.toml").write_text(profile)
    (tmp_path / "samples" / "shed.jsonl").write_text(lines)
    catalogue = Catalogue.load([BUILTIN, tmp_path])
    assert samples.run(catalogue, "shed") == (3, [])
    made = decoder(catalogue, profiles=["shed"])
    made.decode(delivery("house", b"W;7;t=-35"))
    assert made.encode("house/shed:7", "set_led", True) == ("house", b"S;7;led=1\n")


def test_the_devices_of_the_guide_are_read(tmp_path: Path) -> None:
    """The guide's devices.toml is one, and says all there is to say of a device."""
    _, installed, _ = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "devices.toml").write_text(installed)
    devices = Devices.load(tmp_path / "devices.toml")
    assert [device.name for device in devices] == ["radiator-bedroom"]
    assert devices.kinds["thermostat"].manual_hold == "4h"
    assert all(re.search(rf"^{field} = ", installed, re.MULTILINE) for field in Device.__struct_fields__)


def test_files_the_guide_names_exist() -> None:
    """Each shipped profile and module the guide points to is there."""
    for name in re.findall(r"`([a-z0-9-]+\.toml)` \|", GUIDE.read_text()):
        assert (BUILTIN / name).exists(), name
    for name in re.findall(r"`(gateway/[a-z/]+\.py)`", GUIDE.read_text()):
        assert (GUIDE.parents[2] / name).exists(), name
