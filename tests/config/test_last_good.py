"""The last good config is kept, and is read again as if nothing had happened to the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import last_good
from gateway.config.load import Config, load
from gateway.errors import ConfigError

TEXT = '[gateway]\nname = "pi"\nstate = "state"\n[targets.cloud]\ntype = "mqtt"\nurl = "mqtts://a.example"\n{more}'
SECRET = 'username = "pi"\npassword = { file = "secret" }\n'


def config(folder: Path, more: str = "") -> Config:
    """Write an installation and load its config."""
    (folder / "state").mkdir(exist_ok=True)
    (folder / "gateway.d").mkdir(exist_ok=True)
    (folder / "gateway.toml").write_text(TEXT.format(more=more))
    (folder / "gateway.d" / "site.toml").write_text('[gateway]\nname = "attic"\n')
    (folder / "devices.toml").write_text('[[device]]\nid = "house/z2m:lamp"\nname = "lamp"\n')
    (folder / "secret").write_text("opensesame\n")
    return load(folder / "gateway.toml")


def test_it_is_read_without_the_files(tmp_path: Path) -> None:
    """With overlay, devices and all, although every file on the disk is broken now; the secret is not in it."""
    assert last_good.keep(config(tmp_path, SECRET), "2026-11-23T20:00:00.000Z")
    for name in ("gateway.toml", "gateway.d/site.toml", "devices.toml"):
        (tmp_path / name).write_text("[broken\n")
    kept = last_good.read(tmp_path / "state")
    assert kept is not None
    found = kept.config()
    assert found.gateway.name == "attic"
    assert found.targets["cloud"].url == "mqtts://a.example"
    assert [device.name for device in found.devices] == ["lamp"]
    assert found.file == tmp_path / "gateway.toml"
    assert "opensesame" not in (tmp_path / "state" / last_good.NAME).read_text()


def test_the_card_is_written_only_for_something_new(tmp_path: Path) -> None:
    """The same texts are not written twice, and others replace them."""
    assert last_good.keep(config(tmp_path), "2026-11-23T20:00:00.000Z")
    assert not last_good.keep(config(tmp_path), "2026-11-23T21:00:00.000Z")
    assert last_good.keep(config(tmp_path, SECRET), "2026-11-23T22:00:00.000Z")
    kept = last_good.read(tmp_path / "state")
    assert kept is not None
    assert kept.time == "2026-11-23T22:00:00.000Z"


def test_what_is_damaged_or_names_what_is_gone_is_not_taken(tmp_path: Path) -> None:
    """A damaged file is none, and a config whose certificate is gone is as bad as any."""
    (tmp_path / "ca.pem").write_text("x")
    assert last_good.keep(config(tmp_path, '[targets.cloud.tls]\nca = "ca.pem"\n'), "2026-11-23T20:00:00.000Z")
    (tmp_path / "ca.pem").unlink()
    kept = last_good.read(tmp_path / "state")
    assert kept is not None
    with pytest.raises(ConfigError, match="no file"):
        kept.config()
    (tmp_path / "state" / last_good.NAME).write_bytes(b"{")
    assert last_good.read(tmp_path / "state") is None
