"""What is put into a support bundle leaves without what people wrote into their unit files and names of files."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from gateway.support.bundle import Piece, write
from gateway.support.pieces import unit_text
from gateway.support.scrub import Scrub


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Environment=CLOUD_PW=hunter2", "Environment=CLOUD_PW=***"),
        ("Environment=\"A=hunter2 b\" 'C=x' D=hunter2", "Environment=A=*** C=*** D=***"),
        ("Environment=A=x \\\n  B=hunter2", "Environment=A=*** B=***"),
        ("SetCredential=cloud:hunter2", "SetCredential=cloud:***"),
        ("SetCredentialEncrypted=cloud: \\\n  Whxqht \\\n  hunter2", "SetCredentialEncrypted=cloud:***"),
        ("ExecStartPre=-/usr/bin/curl -u anna:hunter2 https://x", "ExecStartPre=-/usr/bin/curl ***"),
    ],
)
def test_values_of_drop_ins_stay_here(line: str, left: str) -> None:
    """Whatever a variable or a credential is called, and whether the config can be read: only its name leaves."""
    head, tail = "# /etc/systemd/system/edge-gateway.service.d/override.conf\n[Service]\n", "\nMemoryMax=448M\n"
    assert unit_text(head + line + tail) == head + left + tail


def test_the_shipped_unit_is_as_it_is() -> None:
    """What the package says is no secret."""
    file = Path(__file__).parents[2] / "packaging" / "systemd" / "edge-gateway.service"
    shipped = file.read_text()
    assert unit_text(shipped) == shipped.replace("LANG=C.UTF-8", "LANG=***")


def test_names_of_files_are_scrubbed_like_what_is_in_them(tmp_path: Path) -> None:
    """A rule that is called like a room does not say the room, neither in the list nor in the archive."""
    scrub = Scrub(people=["nursery"], key=b"k")
    kept = write(tmp_path / "b.tar", "b", iter([Piece("rules/nursery.py", "rules", "# nursery\n")]), scrub)
    with tarfile.open(tmp_path / "b.tar") as archive:
        files = [archive.extractfile(each) for each in archive]
        said = archive.getnames() + [file.read().decode() for file in files if file is not None]
    assert kept[0].name.startswith("rules/anon-")
    assert "# " in "".join(said)
    assert "nursery" not in "".join(said)
