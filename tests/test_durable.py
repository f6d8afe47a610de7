"""Files that are whole over a power cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import durable


def test_a_file_is_replaced_in_one_piece(tmp_path: Path) -> None:
    """The new text is there with its permissions, and nothing beside it, also after a try that was cut off."""
    file, cut_off = tmp_path / "a.py", tmp_path / ".a.py.new"
    file.write_bytes(b"old")
    cut_off.write_bytes(b"half")
    durable.replace(file, b"new", 0o640)
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_that_lies_beside_leads_nowhere(tmp_path: Path) -> None:
    """Who may write in the folder cannot have another file written over."""
    (tmp_path / "else").write_bytes(b"of somebody else")
    (tmp_path / ".a.py.new").symlink_to(tmp_path / "else")
    durable.replace(tmp_path / "a.py", b"new")
    assert (tmp_path / "else").read_bytes() == b"of somebody else"
    assert not (tmp_path / "a.py").is_symlink()


@pytest.mark.parametrize("step", ["fsync of the file", "fsync of the folder"])
def test_it_is_on_the_medium_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A disk that refuses either sync is an error; the old file stays until the new one is safe."""
    (tmp_path / "a.py").write_bytes(b"old")
    left, real = (0 if step == "fsync of the file" else 1), os.fsync

    def fsync(handle: int) -> None:
        nonlocal left
        if left == 0:
            raise OSError(5, "Input/output error")
        left -= 1
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        durable.replace(tmp_path / "a.py", b"new")
    assert (tmp_path / "a.py").read_bytes() == (b"old" if step == "fsync of the file" else b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.py"]
