"""The real disk does what its port says. Budget: 1 s."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gateway.journal.disk import OsDisk


def test_what_is_written_is_read_and_counted(tmp_path: Path) -> None:
    """Write at an offset, read back, see the size; reading behind the end gives what there is."""
    disk = OsDisk()
    handle = disk.open(tmp_path / "a", create=True)
    disk.pwrite(handle, b"hello", 10)
    disk.fdatasync(handle)
    disk.refresh(handle)
    disk.forget(handle)
    assert disk.pread(handle, 100, 8) == b"\0\0hello"
    assert disk.size(handle) == 15
    disk.close(handle)


def test_names_are_made_renamed_and_removed(tmp_path: Path) -> None:
    """A new file must not exist; folders are made with their parents; only files are listed."""
    disk = OsDisk()
    folder = tmp_path / "x" / "y"
    assert disk.names(folder) == []
    disk.make_folder(folder)
    disk.make_folder(folder)
    disk.close(disk.open(folder / "b", create=True))
    with pytest.raises(FileExistsError):
        disk.open(folder / "b", create=True)
    with pytest.raises(FileNotFoundError):
        disk.open(folder / "c")
    disk.rename(folder / "b", folder / "a")
    disk.make_folder(folder / "z")
    disk.sync_folder(folder)
    assert disk.names(folder) == ["a"]
    disk.unlink(folder / "a")
    assert disk.names(folder) == []
    assert disk.free_bytes(folder) > 0


def test_a_lock_is_for_one(tmp_path: Path) -> None:
    """A second lock of the same file is refused until the first is closed."""
    disk = OsDisk()
    handle = disk.lock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        disk.lock(tmp_path / "lock")
    disk.close(handle)
    disk.close(disk.lock(tmp_path / "lock"))


def test_a_write_that_is_refused_raises() -> None:
    """A full device raises OSError, it does not write short in silence."""
    disk = OsDisk()
    handle = disk.open(Path("/dev/full"))
    with pytest.raises(OSError, match="space") as refused:
        disk.pwrite(handle, b"x" * 4096, 0)
    assert refused.value.errno == errno.ENOSPC
    disk.close(handle)
