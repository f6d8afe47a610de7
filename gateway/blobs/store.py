"""Blobs on the disk: pictures of cameras, each in a file named by the SHA-256 of its bytes, within a byte limit.

    <folder>/<first two digits>/<64 hex digits>

A file is written beside its place, synced and renamed, so that under its name there is all of it or nothing; when there
is no room, the oldest make way.  The same bytes are kept once.  Everything here blocks and belongs to one thread at a
time, but for `has`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections import OrderedDict
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gateway.durable import sync_folder

FOLDER: Final = "blobs"  # in the state folder
BLOBS_MAX: Final = 100_000  # files; beyond it the oldest make way
DIGITS: Final = 2  # of the folders
_NAME: Final = re.compile(r"[0-9a-f]{64}")
_PART: Final = ".part"


class BlobOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[blobs]: what is kept of pictures."""

    bytes_max: int = 64 * 1024 * 1024  # of all; 0 keeps none, events only describe them

    def __post_init__(self) -> None:
        if self.bytes_max < 0:
            raise ValueError("bytes_max is at least 0")


class Kept(NamedTuple):
    """One blob."""

    sha256: str
    size: int  # bytes
    mtime_ns: int  # wall clock


class BlobStore:
    """The folder, and what is in it by age."""

    def __init__(self, folder: Path, options: BlobOptions) -> None:
        self.folder = folder
        self.options = options
        self.bytes = 0
        self.evicted = 0  # since start
        self._kept: OrderedDict[str, int] = OrderedDict()  # name -> bytes, the oldest first

    def open(self) -> None:
        """Look what is there. BLOCKING; OSError when the folder cannot be read."""
        self._kept.clear()
        self._newest_ns = 0
        for kept in blobs(self.folder, tidy=True):
            self._kept[kept.sha256] = kept.size
            self._newest_ns = kept.mtime_ns
        self.bytes = sum(self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def has(self, sha256: str) -> bool:
        """Return whether a blob is kept; from any thread."""
        return sha256 in self._kept

    def write(self, sha256: str, content: bytes) -> bool:
        """Keep a blob; it is on the disk when this returns True. BLOCKING; OSError. False: it is too large to be kept.

        One that is there already becomes the newest.
        """
        path = path_of(self.folder, sha256)
        if sha256 in self._kept:
            with contextlib.suppress(FileNotFoundError):
                self._stamp(path)
                self._kept.move_to_end(sha256)
                return True
            self._forget(sha256)
        if len(content) > self.options.bytes_max:
            return False
        while self._kept and (self.bytes + len(content) > self.options.bytes_max or len(self._kept) >= BLOBS_MAX):
            self._evict()
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + _PART)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._stamp(beside)
            beside.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        for folder in (path.parent, self.folder):
            sync_folder(folder)
        self._kept[sha256] = len(content)
        self.bytes += len(content)
        return True

    def _stamp(self, path: Path) -> None:
        """Make a file the newest: files are in the order of their times, whatever the wall clock says now."""
        self._newest_ns = max(self._newest_ns + 1, time.time_ns())
        os.utime(path, ns=(self._newest_ns, self._newest_ns))

    def _evict(self) -> None:
        oldest = next(iter(self._kept))
        path_of(self.folder, oldest).unlink(missing_ok=True)
        self._forget(oldest)
        self.evicted += 1

    def _forget(self, sha256: str) -> None:
        self.bytes -= self._kept.pop(sha256)


def path_of(folder: Path, sha256: str) -> Path:
    """Return where a blob is, if it is kept. ValueError for what is no SHA-256 in hexadecimal."""
    if not _NAME.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256: 64 digits 0-9 a-f")
    return folder / sha256[:DIGITS] / sha256


def read(folder: Path, sha256: str) -> bytes | None:
    """Return a blob's bytes, None when it is not kept (any more) or is damaged. BLOCKING; OSError."""
    try:
        content = path_of(folder, sha256).read_bytes()
    except FileNotFoundError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def blobs(folder: Path, *, tidy: bool = False) -> list[Kept]:
    """Return what is kept, the oldest first; `tidy` removes what a power cut left half-written. BLOCKING; OSError."""
    found = []
    for path in folder.glob(f"{'[0-9a-f]' * DIGITS}/*"):
        if _NAME.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append(Kept(path.name, status.st_size, status.st_mtime_ns))
        elif tidy and path.name.endswith(_PART):
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda kept: kept.mtime_ns)
