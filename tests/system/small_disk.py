"""A disk that can be full: a real small file system where we may mount one, else a limit on the gateway's files."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DISK_BYTES = 3 * 1024 * 1024
BALLAST_BYTES = DISK_BYTES // 2
BALLAST_PIECE_BYTES = 64 * 1024


class Tmpfs:
    """A file system of DISK_BYTES; a ballast file takes its space."""

    reserve = True  # what the gateway has made its own stays its own

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shrink(self) -> None:
        """Leave half of it."""
        self._ballast(BALLAST_BYTES)

    def fill(self, pid: int) -> None:
        """Take the last byte."""
        self._ballast(2 * DISK_BYTES)

    def relieve(self, pid: int) -> None:
        """Give it back."""
        (self.folder / "ballast").unlink()

    def _ballast(self, size: int) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as ballast, suppress(OSError):  # until it is full
            while ballast.tell() < size:
                ballast.write(b"\0" * BALLAST_PIECE_BYTES)


class Limited:
    """A limit on the size of every file the process writes: EFBIG instead of ENOSPC, the same for who writes."""

    reserve = False  # not even what is its own can be written

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def shrink(self) -> None:
        """Do nothing: there is no size of all files."""

    def fill(self, pid: int) -> None:
        """Refuse every write."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def relieve(self, pid: int) -> None:
        """Allow them again."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


SmallDisk = Tmpfs | Limited


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Have one at `folder` for the length of a block."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield Limited(folder)
        return
    try:
        yield Tmpfs(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
