"""Edits of devices.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError, GatewayError
from gateway.installation.edit import editing
from gateway.profiles.devices import Devices

TEXT = """\
# The house in Elm Street.

# ---- downstairs ----

[[device]]
id = "house/z2m:hall/door"   # the lock sticks
name   =   "front-door"
labels = ["entry",           # burglars
          "lit"]

# Anna's; do not invert
[[device]]
id = "house/z2m:bath"
kind = "window"

# kinds
[kind.window]
manual_hold = "2h"

[[device]]
id = "house/z2m:loft"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a devices.toml with comments everywhere."""
    made = tmp_path / "devices.toml"
    made.write_text(TEXT)
    return made


def edited(file: Path, device: str, fields: dict[str, Any]) -> str:
    """Change a device and return the text."""
    with editing(file) as text:
        text.change(device, fields)
    return file.read_text()


def test_only_the_lines_of_the_device_change(file: Path) -> None:
    """A change keeps every other line, and the comments within the device's own."""
    changed = edited(file, "house/z2m:hall/door", {"name": "back door", "invert": True})
    wanted = TEXT.replace('name   =   "front-door"', 'name   =   "back door"')
    assert changed == wanted.replace('"lit"]\n', '"lit"]\ninvert = true\n')
    assert edited(file, "house/z2m:hall/door", {"name": "front-door", "invert": None}) == TEXT
    assert edited(file, "house/z2m:bath", {"kind": None, "labels": ["a"]}) == TEXT.replace(
        'kind = "window"', 'labels = ["a"]'
    )


def test_a_new_device_stands_behind_the_others(file: Path) -> None:
    """A device is added at the end, quoted as TOML wants it; in a file that was not there, too."""
    with editing(file) as text:
        text.add('house/z2m:ä "b"\\', {"name": "x", "labels": ["a", "b"]})
    assert file.read_text().startswith(TEXT)
    assert Devices.load(file).find("x") is not None
    fresh = file.with_name("fresh.toml")
    with editing(fresh) as text:
        text.add("house/z2m:a", {"room": "hall"})
        text.add("house/z2m:b", {})
    assert [device.room for device in Devices.load(fresh)] == ["hall", ""]
    assert fresh.read_text().endswith(
        '[[device]]\nid = "house/z2m:a"\nroom = "hall"\n\n[[device]]\nid = "house/z2m:b"\n'
    )


def test_a_removed_device_takes_its_own_comment_along(file: Path) -> None:
    """The comment right above a device goes with it; those of its neighbours and of the file stay."""
    with editing(file) as text:
        text.remove("house/z2m:bath")
    gone = '# Anna\'s; do not invert\n[[device]]\nid = "house/z2m:bath"\nkind = "window"\n\n'
    assert file.read_text() == TEXT.replace(gone, "")
    with editing(file) as text:
        text.remove("house/z2m:loft")
        text.remove("house/z2m:hall/door")
    rest = file.read_text()
    assert len(Devices.load(file)) == 0
    assert rest.startswith("# The house in Elm Street.\n\n# ---- downstairs ----\n")
    assert "[kind.window]" in rest


def test_what_would_be_wrong_is_not_written(file: Path) -> None:
    """A name that is taken, or a kind that is none, is refused with its line; the file stays as it was."""
    with pytest.raises(ConfigError, match="the name 'front-door' is taken"):
        edited(file, "house/z2m:bath", {"name": "front-door"})
    with pytest.raises(ConfigError) as caught, editing(file) as text:
        text.add("house/z2m:new", {"kind": "No Kind"})
    assert caught.value.faults[0].file == file
    assert file.read_text() == TEXT
    assert sorted(path.name for path in file.parent.iterdir()) == ["devices.toml"]
    file.write_text(TEXT + "broken")
    with pytest.raises(ConfigError, match="not TOML"), editing(file):
        raise AssertionError
    file.write_text('device = [{ id = "house/z2m:a" }]\n')
    with pytest.raises(GatewayError, match="edit it by hand"), editing(file):
        raise AssertionError


def test_mode_and_link_are_kept(file: Path, tmp_path: Path) -> None:
    """The file keeps its mode, and a link to it stays a link."""
    file.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    edited(link, "house/z2m:bath", {"room": "bath"})
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert 'room = "bath"' in file.read_text()
