"""An apply that meets another one, or is ended in the middle: what counts is there, all of it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from gateway import durable
from gateway.bundles import ledger as ledgers
from gateway.cli.main import main

CONFIG = '[gateway]\nname = "gw"\n{more}[sources.house]\nlisten = "127.0.0.1:0"\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Have a gateway's config that has run once, and a bundle beside it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "gateway.toml").write_text(CONFIG.format(more=f'state = "{tmp_path}/state"\n'))
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "gateway.toml").write_text(CONFIG.format(more=""))
    return tmp_path


def apply(site: Path) -> int:
    """Type `apply`."""
    return main(["apply", str(site / "bundle"), "--no-wait", "--config", str(site / "gateway.toml")])


def whole(site: Path) -> bool:
    """Return whether what counts is there."""
    return ledgers.config_of(site / "gateway.toml").is_file()


def test_two_at_once_are_one(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who comes while another apply places its version is refused and touches nothing of it."""
    with ledgers.alone(site / "state"):
        before = sorted((site / "state" / "applied").rglob("*"))
        assert apply(site) == 1
        assert "another apply is under way" in capsys.readouterr().err
        assert sorted((site / "state" / "applied").rglob("*")) == before
    assert apply(site) == 0
    assert apply(site) == 1
    assert "still being tried" in capsys.readouterr().err
    assert whole(site)


def test_what_has_come_to_count_stays(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended between the rename that counts and its sync, an apply leaves the version there, not a name without it."""
    real = durable.sync_folder

    def interrupted(folder: Path) -> None:
        real(folder)
        if folder.name == "applied" and (folder / "now.json").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(durable, "sync_folder", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        apply(site)
    assert ledgers.counting(site / "state", "00000001")
    assert whole(site)
