"""An encrypted journal as its operator meets it: the key named, gone, mixed up, backed up."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config.load import load
from gateway.event import Event
from gateway.journal.journal import Journal
from tests.cli.backup.test_backup import restore, tree
from tests.cli.site import Site, command

CONFIG = """\
[gateway]
name = "pi"
state = "state"

[journal]
bytes_max = "2MB"
preallocate = false
key = { file = "journal.key" }

[sources.house]
listen = "127.0.0.1:0"
"""
RECORDS = 15


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Site:
    """Make an installation with an encrypted journal."""
    site = Site(tmp_path / "etc", capsys)
    site.write({"gateway.toml": CONFIG, "journal.key": secrets.token_hex(32)})
    config = load(site.config)
    journal = Journal.open(config.places.journal, config.journal, SystemClock())
    for number in range(RECORDS):
        journal.append(Event(source="/pi/house", type="reading_taken", data={"n": number}))
    journal.close()
    return site


def test_the_verbs_that_look_use_the_key(site: Site) -> None:
    """Check, stat, verify and events work on an encrypted journal that no gateway has open."""
    assert site.run("check").code == 0
    assert site.run("journal", "stat", "--json").json["last_sequence"] == RECORDS
    assert site.run("journal", "verify", "--json").json["ok"]
    assert len(site.run("events", "--json").out.splitlines()) == RECORDS


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("gone", "etc/gateway.toml:8: cannot read the secret in file"),
        ("other", "etc/gateway.toml:8: the journal is encrypted with key"),
        ("unnamed", "the journal is encrypted (key "),
        ("nonsense", "etc/gateway.toml:8: what is in file"),
    ],
)
def test_without_its_key_a_gateway_does_not_start_and_touches_nothing(site: Site, fault: str, says: str) -> None:
    """A key that is gone, another one, none or nonsense: `run` ends with 78 and words, and every byte is as it was."""
    key = site.folder / "journal.key"
    if fault == "gone":
        key.unlink()
    elif fault == "unnamed":
        site.config.write_text(CONFIG.replace("key = {", "old_keys = [] # {"))
    else:
        key.write_text("nonsense" if fault == "nonsense" else secrets.token_hex(32))
    before = tree(site.folder)
    for words in (["run"], ["journal", "stat"], ["backup", str(site.folder.parent / "pi.tar.zst")]):
        refused = command(*words, "--config", str(site.config))
        assert (refused.code, says in refused.err) == (78, True), refused
        assert "Traceback" not in refused.err
    assert tree(site.folder) == before
    assert not (site.folder.parent / "pi.tar.zst").exists()
    if fault in ("gone", "nonsense"):
        assert site.run("check").code == 78


def test_a_key_that_only_the_service_has(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd holds the key, `check` warns a person who runs it by hand and is content; the service reads it."""
    site.config.write_text(CONFIG.replace('file = "journal.key"', 'credential = "journal"'))
    by_hand = site.run("check")
    assert (by_hand.code, "cannot read the secret in credential journal" in by_hand.err + by_hand.out) == (0, True)
    assert site.run("journal", "stat").code == 78
    (site.folder / "journal.key").rename(site.folder / "journal")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site.folder))
    assert "CREDENTIALS" not in site.run("check").err
    assert site.run("journal", "stat").code == 0


def test_a_backup_does_not_hold_the_key(site: Site, tmp_path: Path) -> None:
    """What is encrypted stays so in a backup; to restore it the key must be in its place first."""
    file = tmp_path / "pi.tar.zst"
    key = (site.folder / "journal.key").read_text()
    assert site.run("backup", str(file), "--json").json["left_out"] == [str(site.folder / "journal.key")]
    shutil.rmtree(site.folder)
    refused = restore(site, str(file))
    assert (refused.code, "cannot read the secret in file" in refused.err) == (78, True)
    assert not site.folder.exists()
    site.folder.mkdir()
    (site.folder / "journal.key").write_text(secrets.token_hex(32))
    before = tree(tmp_path)
    refused = restore(site, str(file))
    assert (refused.code, "the journal is encrypted with key" in refused.err) == (78, True)
    assert tree(tmp_path) == before
    (site.folder / "journal.key").write_text(key)
    done = restore(site, str(file), "--json").json
    assert done["missing"] == []
    assert len(site.run("events", "--json").out.splitlines()) == RECORDS


def test_a_backup_with_secrets_needs_nothing_else(site: Site, tmp_path: Path) -> None:
    """With --with-secrets the key is in it, and a copy elsewhere works by itself."""
    file = tmp_path / "pi.tar.zst"
    assert site.run("backup", str(file), "--with-secrets", "--json").json["secrets"] == 1
    shutil.rmtree(site.folder)
    assert restore(site, str(file), "--to", str(tmp_path / "copy")).code == 0
    copy = Site(tmp_path / "copy", site._capsys)
    assert len(copy.run("events", "--json").out.splitlines()) == RECORDS
