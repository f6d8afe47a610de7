"""The disk as a port: what the journal asks of a file system, and the real one.

Every call may raise OSError (ENOSPC, EIO, EROFS ...); the writer turns that into DiskRefused.
`simulators/disk.py` is the other implementation: it loses, tears, reorders and refuses.

What a direct handle reads comes from the medium, past the cache (O_DIRECT), in whole PAGE_BYTES. Some file systems
refuse that (EINVAL); those that live in memory have no medium to speak of and take it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from pathlib import Path
from typing import Final, Protocol

from gateway.durable import sync_folder

DIRECT_BYTES: Final = 4096  # direct reads begin and end on multiples of this

_fdatasync = getattr(os, "fdatasync", os.fsync)


class Disk(Protocol):
    """A file system, as little of it as the journal needs. Handles are small integers."""

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        """Open a file; with `create` it must not exist yet."""
        ...

    def open_direct(self, path: Path) -> int:
        """Open a file for `pread_direct` alone; OSError (EINVAL) where the file system has no way past its cache."""
        ...

    def pread_direct(self, handle: int, length: int, offset: int) -> bytes:
        """Read up to `length` bytes as the medium has them; fewer at the end of the file."""
        ...

    def identity(self, folder: Path) -> tuple[int, int]:
        """Return what tells a folder from every other one, of another file system, too; OSError when it is gone."""
        ...

    def close(self, handle: int) -> None:
        """Close a handle; says nothing about durability."""
        ...

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        """Write all of `data`; a short write raises OSError."""
        ...

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """Read up to `length` bytes; fewer at the end of the file."""
        ...

    def fdatasync(self, handle: int) -> None:
        """Return when everything written to the file so far is on the medium."""
        ...

    def refresh(self, handle: int) -> None:
        """Sync, then forget what is cached: later reads show what the medium has, not what memory wishes."""
        ...

    def forget(self, handle: int) -> None:
        """Drop what is cached of a file that nobody will read soon."""
        ...

    def size(self, handle: int) -> int:
        """Return the file's length in bytes."""
        ...

    def named(self, handle: int) -> bool:
        """Return whether the file still has a name; if not, what is written to it is gone when it is closed."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Make names created, renamed and unlinked in a folder durable."""
        ...

    def make_folder(self, folder: Path) -> None:
        """Create a folder and its parents, durably; no error when it exists."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file, replacing."""
        ...

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        ...

    def names(self, folder: Path) -> list[str]:
        """List the files of a folder, sorted; none when it does not exist."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Return the bytes this user may still write there."""
        ...

    def lock(self, path: Path) -> int:
        """Open and lock a file for this process alone; BlockingIOError when another holds it."""
        ...


class OsDisk:
    """The machine's file system."""

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        """See `Disk.open`."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT | os.O_EXCL if create else 0) | os.O_CLOEXEC
        return os.open(path, flags, 0o640)

    def open_direct(self, path: Path) -> int:
        """See `Disk.open_direct`."""
        return os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)

    def pread_direct(self, handle: int, length: int, offset: int) -> bytes:
        """See `Disk.pread_direct`."""
        start = offset // DIRECT_BYTES * DIRECT_BYTES
        end = -(-(offset + length) // DIRECT_BYTES) * DIRECT_BYTES
        with mmap.mmap(-1, end - start) as room:  # anonymous memory begins on a page
            got = os.preadv(handle, [room], start)
            return room[offset - start : min(got, offset - start + length)]

    def identity(self, folder: Path) -> tuple[int, int]:
        """See `Disk.identity`."""
        found = os.stat(folder)  # noqa: PTH116 - of the path as it is now
        return found.st_dev, found.st_ino

    def close(self, handle: int) -> None:
        """See `Disk.close`."""
        os.close(handle)

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        """See `Disk.pwrite`."""
        written = os.pwrite(handle, data, offset)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"short write: {written} of {len(data)} bytes")

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """See `Disk.pread`."""
        return os.pread(handle, length, offset)

    def fdatasync(self, handle: int) -> None:
        """See `Disk.fdatasync`."""
        _fdatasync(handle)

    def refresh(self, handle: int) -> None:
        """See `Disk.refresh`. After a failed write the kernel calls pages clean that never reached the medium."""
        try:
            _fdatasync(handle)
        finally:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def forget(self, handle: int) -> None:
        """See `Disk.forget`."""
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)

    def size(self, handle: int) -> int:
        """See `Disk.size`."""
        return os.fstat(handle).st_size

    def named(self, handle: int) -> bool:
        """See `Disk.named`."""
        return os.fstat(handle).st_nlink > 0

    def sync_folder(self, folder: Path) -> None:
        """See `Disk.sync_folder`."""
        sync_folder(folder)

    def make_folder(self, folder: Path) -> None:
        """See `Disk.make_folder`."""
        if not folder.is_dir():
            self.make_folder(folder.parent)
            folder.mkdir(exist_ok=True, mode=0o750)
            self.sync_folder(folder.parent)

    def rename(self, old: Path, new: Path) -> None:
        """See `Disk.rename`."""
        old.replace(new)

    def unlink(self, path: Path) -> None:
        """See `Disk.unlink`."""
        path.unlink()

    def names(self, folder: Path) -> list[str]:
        """See `Disk.names`."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
        except FileNotFoundError:
            return []

    def free_bytes(self, folder: Path) -> int:
        """See `Disk.free_bytes`."""
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize

    def lock(self, path: Path) -> int:
        """See `Disk.lock`."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return handle
