"""The doctor asked by somebody who may not see all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.doctor.check import Subject, every
from gateway.doctor.checks import config, service
from gateway.doctor.examination import examine
from gateway.doctor.mosquitto import settings_of
from gateway.doctor.mounts import nearest
from gateway.doctor.scene import Roots
from gateway.secrets import ONLY_ROOT
from tests.doctor.test_looks import said, scene_of
from tests.rights import shared_folder, with_few_rights


def test_a_folder_that_may_not_be_seen_is_passed_over() -> None:
    """Of the journal's folder that is closed to who asks, the nearest that may be seen counts; nothing breaks."""
    with shared_folder() as folder:
        scene, _ = scene_of(folder, ""), every()  # what it imports is read before
        (folder / "state" / "journal").mkdir(parents=True)
        with with_few_rights(folder / "state", 0):
            assert nearest(folder / "state" / "journal" / "new") == folder / "state"
            found = said(scene, "filesystem")
        assert found
        assert not any("failed" in each.text for each in found)


def test_a_mosquitto_of_somebody_else() -> None:
    """Whose files are behind a root folder that may not be entered: its settings come from the path as it is here."""
    with shared_folder() as folder:
        process = folder / "proc" / "12"
        process.mkdir(parents=True)
        (process / "comm").write_text("mosquitto\n")
        (process / "cmdline").write_bytes(f"mosquitto\0-c\0{folder}/mosquitto.conf\0".encode())
        (process / "root").mkdir()
        (folder / "mosquitto.conf").write_text("listener 1884\nmax_queued_messages 5\n")
        with with_few_rights(process / "root", 0):
            found = settings_of(1884, Roots(proc=folder / "proc"))
    assert found is not None
    assert found.values["max_queued_messages"] == "5"


def test_what_may_not_be_looked_at_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that is not allowed says so and what to type, and judges nothing."""

    def closed(_scene: object, _subject: Subject) -> None:
        raise PermissionError(13, "Permission denied", "/dev/closed")

    check = every()["flush"]
    monkeypatch.setattr(check, "look", closed)
    ((line,),) = examine(scene_of(tmp_path, ""), {"flush": check})
    assert (line.finding.level, line.finding.command) == ("warning", "sudo edge-gateway doctor disk")
    assert "/dev/closed: you may not look at it" in line.finding.text


def test_a_gateway_that_may_not_be_asked_is_not_taken_for_dead() -> None:
    """Outside its group: what lets one in is said, not that it does not run; and sudo for what only root sees."""
    why = "/run/x.sock: you may not ask this gateway: root may, and the group x. Type: sudo usermod -aG x $USER"
    unit = {"ActiveState": "active", "MainPID": "9"}
    facts = service.Facts(answers=False, closed=True, why_not=why, unit=unit, start="sudo systemctl start x")
    (found,) = service.judge(facts)
    assert (found.level, found.command) == ("warning", "sudo usermod -aG x $USER")
    assert "not running" not in found.text
    line = f"/etc/x.toml:5: cannot read the secret in credential y: Permission denied ({ONLY_ROOT})"
    (told,) = config.judge(config.Facts(file="/etc/x.toml", warnings=[line]))
    assert told.command == "sudo edge-gateway check"
