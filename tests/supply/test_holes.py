"""`./dev audit`: locked versions against entries as OSV's schema has them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from supply.holes import NONE, SOME, USAGE, hits, main

LOCKED = {"h11": "0.16.0", "paho-mqtt": "2.1.0"}


def entry(name: str, events: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    """Make an entry about one library."""
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    return {"id": "X-1", "affected": [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": ranges}], **more}


@pytest.mark.parametrize(
    ("name", "events", "mended"),
    [
        ("h11", [{"introduced": "0"}], ""),
        ("h11", [{"introduced": "0"}, {"fixed": "0.16.1"}], "0.16.1"),
        ("h11", [{"introduced": "0"}, {"last_affected": "0.16.0"}], ""),
        ("Paho.MQTT", [{"fixed": "2.10"}, {"introduced": "2.0"}], "2.10"),
    ],
)
def test_hit(name: str, events: list[dict[str, str]], mended: str) -> None:
    """A version in a range is hit, however the name is written; the version that mends it is told."""
    assert [found[2] for found in hits(entry(name, events), LOCKED)] == [mended]


@pytest.mark.parametrize(
    ("name", "events", "more"),
    [
        ("h11", [{"introduced": "0"}, {"fixed": "0.16.0"}], {}),
        ("h11", [{"introduced": "0"}, {"last_affected": "0.15.9"}], {}),
        ("h11", [{"introduced": "0.16.1"}], {}),
        ("h12", [{"introduced": "0"}], {}),
        ("h11", [{"introduced": "0"}], {"withdrawn": "2026-01-01T00:00:00Z"}),
    ],
)
def test_no_hit(name: str, events: list[dict[str, str]], more: dict[str, str]) -> None:
    """What is mended, not yet in, about another library or withdrawn is no hit."""
    assert list(hits(entry(name, events, **more), LOCKED)) == []


def test_listed_versions_and_other_ecosystems() -> None:
    """A version that is listed is hit without a range; the same name elsewhere is another library."""
    listed = {"package": {"ecosystem": "PyPI", "name": "h11"}, "versions": ["0.15.0", "0.16.0"]}
    elsewhere = {**listed, "package": {"ecosystem": "npm", "name": "h11"}}
    assert [found[0] for found in hits({"id": "X", "affected": [elsewhere, listed]}, LOCKED)] == ["h11"]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A zip file or a folder is read; the exit code says none, some, or nothing to compare with."""
    lock = tmp_path / "some.lock"
    lock.write_text("h11==0.16.0 \\\n    --hash=sha256:00\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    assert main([str(folder), "--lock", str(lock)]) == USAGE
    (folder / "a.json").write_text(json.dumps(entry("h11", [{"introduced": "0"}, {"fixed": "0.16.0"}])))
    assert main([str(folder), "--lock", str(lock)]) == NONE
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr(
            "b.json", json.dumps(entry("h11", [{"introduced": "0"}, {"fixed": "1.0"}], summary="it leaks"))
        )
    capsys.readouterr()
    assert main([str(tmp_path / "all.zip"), str(folder), "--lock", str(lock)]) == SOME
    assert capsys.readouterr().out == "h11 0.16.0: X-1 it leaks (mended in 1.0)\n"
    (folder / "broken.json").write_text("{")
    assert main([str(folder), "--lock", str(lock)]) == USAGE
    assert "broken.json: no JSON" in capsys.readouterr().err
