"""A journal's folder as found at start: which file holds which life, and what does not belong.

A file is known by the header of its first block, not by its name. A file whose first block is damaged is known by
its first sound block. Files of another journal and second copies of a life are set aside in the quarantine folder
(the one that stood still goes); so are files in which nothing is readable although the index names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from gateway.journal import block as blocks
from gateway.journal.block import HEADER_BYTES, Header
from gateway.journal.cipher import NO_KEYS, Keys
from gateway.journal.compression import Codec
from gateway.journal.disk import Disk
from gateway.journal.segment import (
    FILLING,
    QUARANTINE,
    READ_BYTES,
    SEGMENT,
    SPARE,
    Found,
    Read,
    Walk,
    first_sound,
)
from gateway.journal.unreadable import always, around


class File(msgspec.Struct):
    """One segment file as found.

    `head`: its first block's header, or when that is damaged (`whole` is False) that of its first sound block; None
    when there is none.
    """

    name: str
    size: int = 0
    head: Header | None = None
    whole: bool = False
    unreadable: bool = False  # the disk refused; it is never used again, it may hold what matters


class Folder:
    """The files of a journal. With `write` it may also set aside and remove. `answers`: as `Home.answers` says."""

    def __init__(
        self,
        disk: Disk,
        path: Path,
        *,
        align: int,
        write: bool,
        answers: Callable[[], bool] = always,
        keys: Keys = NO_KEYS,
    ) -> None:
        self.disk = disk
        self.answers = answers
        self.keys = keys
        self.path = path
        self.align = align
        self.write = write
        names = disk.names(path)
        self.spares = [name for name in names if name.endswith(SPARE)]
        self.names_taken = max((int(name[:8]) for name in names if name[:8].isdigit()), default=0)
        self.set_aside_names: list[str] = []
        self._foreign: set[str] = set()  # never to be overwritten
        self.files = {name: self.probe(name) for name in names if name.endswith(SEGMENT)}
        self.log_id = self._log_id()
        self.lives = self._identify()
        if write and not self.log_id:
            for name in list(self.files):
                if not self._blank(name):
                    self.set_aside(name)

    @contextmanager
    def opened(self, name: str) -> Iterator[Read]:
        """Open a file for reading, around what cannot be read. Raises OSError."""
        handle = self.disk.open(self.path / name, write=False)
        try:
            yield around(lambda length, offset: self.disk.pread(handle, length, offset), self.answers)
        finally:
            self.disk.close(handle)

    def probe(self, name: str) -> File:
        """Read a file's head; when it is damaged, look for its first sound block."""
        try:
            handle = self.disk.open(self.path / name, write=False)
        except OSError:
            return File(name, unreadable=True)
        try:
            size = self.disk.size(handle)
            read = around(lambda length, offset: self.disk.pread(handle, length, offset), self.answers)
            head = blocks.decode_header(read(HEADER_BYTES, 0))
            if head is not None:
                return File(name, size, head, whole=True)
            return File(name, size, first_sound(read, size, self.align))
        except OSError:
            return File(name, unreadable=True)
        finally:
            self.disk.close(handle)

    def refresh(self, name: str) -> File:
        """Make what is read of a file be what the medium has, and probe it again."""
        if self.write:
            with suppress(OSError):  # what could not be written is not seen then, and is cut
                handle = self.disk.open(self.path / name, write=False)
                try:
                    self.disk.refresh(handle)
                finally:
                    self.disk.close(handle)
            self.files[name] = self.probe(name)
        return self.files[name]

    @property
    def doubtful(self) -> int:
        """How many files may hold a life that cannot be read."""
        return sum(file.unreadable or file.head is None for file in self.files.values())

    def free(self, live: set[str], size: int) -> list[str]:
        """Return the files that may be overwritten, given the names of the live ones; removes those of another size."""
        free: list[str] = []
        for name, file in sorted(self.files.items()):
            if name in live or name in self._foreign or file.unreadable:
                continue
            if file.size == size:
                free.append(name)
            elif self.write:
                with suppress(OSError):
                    self.disk.unlink(self.path / name)
        return free

    def set_aside(self, name: str) -> None:
        """Have `tidy` move a file that is not ours into the quarantine folder; it is never used again."""
        self._foreign.add(name)

    def tidy(self) -> None:
        """Set aside what is to be, remove what a start left half made. Not before all is known to be readable."""
        if not self.write:
            return
        for name in self.disk.names(self.path):
            if name.endswith(FILLING):
                with suppress(OSError):
                    self.disk.unlink(self.path / name)
        for name in sorted(self._foreign):
            with suppress(OSError):  # where that fails it is just never touched
                self.disk.make_folder(self.path / QUARANTINE)
                self.disk.rename(self.path / name, self.path / QUARANTINE / name)
                self.set_aside_names.append(name)
                self.disk.sync_folder(self.path)

    def _log_id(self) -> bytes:
        """Return the log id that most files carry; no bytes when there is none."""
        ids = Counter(file.head.log_id for file in self.files.values() if file.head is not None)
        return ids.most_common(1)[0][0] if ids else b""

    def _identify(self) -> dict[int, File]:
        """Return the file of each life."""
        lives: dict[int, File] = {}
        for file in sorted(self.files.values(), key=lambda each: (not each.whole, each.name)):
            if file.head is None:
                continue
            if file.head.log_id != self.log_id:
                self.set_aside(file.name)
                continue
            rival = lives.get(file.head.life)
            if rival is None:
                lives[file.head.life] = file
            elif file.whole:  # a copy; a file known by a later block only is the rest of an aborted use
                better, worse = (file, rival) if self._reach(file) > self._reach(rival) else (rival, file)
                lives[file.head.life] = better
                self.set_aside(worse.name)
        return lives

    def _reach(self, file: File) -> tuple[int, int]:
        """Return the epoch and number of the last block of a file's life: of two copies the older one stands still."""
        assert file.head is not None
        reached = (0, 0)
        with suppress(OSError), self.opened(file.name) as read:
            life = file.head.life
            for part in Walk(read, file.head.log_id, life, file.size, align=self.align, codec=Codec(keys=self.keys)):
                if isinstance(part, Found):
                    reached = (part.header.epoch, part.header.number)
        return reached

    def _blank(self, name: str) -> bool:
        """Return whether a file holds nothing but zeros."""
        with suppress(OSError), self.opened(name) as read:
            for offset in range(0, self.files[name].size, READ_BYTES):
                if any(read(READ_BYTES, offset)):
                    return False
        return True
