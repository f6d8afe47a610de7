"""Which rule files somebody has open and writes to, as the kernel tells it (inotify(7)).

A file that is saved piece by piece may lie there quietly, look whole and be half: until its writer closes it, it is not
read.  Where the kernel has no watch left, or the folder is on a network, only the quiet time of edits.py protects.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import time
from pathlib import Path

from gateway.rules.files.snapshot import LIB

WRITING_S_MAX = 10.0  # who has a file open and has not written for so long does not keep it from being read
READ_BYTES = 64 * 1024
FOLDERS_MAX = 64
_MODIFY, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _DELETE = 0x2, 0x8, 0x40, 0x80, 0x200
_IGNORED, _OVERFLOW = 0x8000, 0x4000
_WATCHED = _MODIFY | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE
_EVENT = struct.Struct("iIII")


class Writers:
    """Watches a folder and its lib. Every call is short and never waits."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = -1
        if hasattr(self._libc, "inotify_init1"):
            self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._folders: dict[int, str] = {}  # watch -> what names in it begin with
        self._writing: dict[str, float] = {}  # file -> when it was written to last
        self._watch()

    def _watch(self) -> None:
        """Watch folders that are not watched yet; asked for again, the kernel gives the same number."""
        below = self._folder / LIB
        folders = [self._folder, *(path.parent for path in below.glob("**/*.py")), below]
        for folder in dict.fromkeys(folders[:FOLDERS_MAX] if self._handle >= 0 else ()):
            watch = self._libc.inotify_add_watch(self._handle, os.fsencode(folder), _WATCHED)
            if watch >= 0:
                name = folder.relative_to(self._folder).as_posix()
                self._folders[watch] = "" if name == "." else f"{name}/"

    @property
    def watching(self) -> bool:
        """Whether the kernel tells us."""
        return bool(self._folders)

    def writing(self) -> set[str]:
        """Return the files that somebody is writing."""
        if self._handle >= 0:
            with contextlib.suppress(BlockingIOError):
                while raw := os.read(self._handle, READ_BYTES):
                    self._take(raw)
        now = time.monotonic()
        self._writing = {name: at for name, at in self._writing.items() if now - at < WRITING_S_MAX}
        return set(self._writing)

    def look_around(self) -> None:
        """Something changed: there may be new folders."""
        self._watch()

    def _take(self, raw: bytes) -> None:
        at = 0
        while at < len(raw):
            watch, mask, _, length = _EVENT.unpack_from(raw, at)
            name = raw[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if mask & _OVERFLOW:
                self._writing.clear()
            elif mask & _IGNORED:
                self._folders.pop(watch, None)
            elif watch in self._folders:
                file = self._folders[watch] + os.fsdecode(name)
                if mask & _MODIFY:
                    self._writing[file] = time.monotonic()
                else:
                    self._writing.pop(file, None)

    def close(self) -> None:
        """Give the watch back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
