"""Files that were changed since they were read are known by name."""

from __future__ import annotations

from pathlib import Path

from gateway.config.changes import Changes
from gateway.config.load import load


def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    """A changed config and a new overlay are named; rules and devices.toml go live by themselves and are not."""
    file = tmp_path / "gateway.toml"
    file.write_text('[gateway]\nstate = "state"\n', encoding="utf-8")
    (tmp_path / "rules").mkdir()
    changes = Changes(load(file))
    assert changes.since_read() == []
    (tmp_path / "rules" / "bell.py").write_text("X = 1\n", encoding="utf-8")
    assert changes.since_read() == []
    (tmp_path / "devices.toml").write_text("", encoding="utf-8")
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.d" / "site.toml").write_text("[gateway]\n", encoding="utf-8")
    file.write_text('[gateway]\nstate = "state"\nname = "attic"\n', encoding="utf-8")
    assert changes.since_read() == ["gateway.d/site.toml", "gateway.toml"]
