"""The folder that a journal is in: whether it is still the one that was opened.

A mount can vanish under a running gateway: unmounted by hand, a card pulled, a device that resets itself. Then the
path leads elsewhere, most often to an empty folder on another file system. Writing there would tear the log in two;
so would reading from there: what is not found would be taken for lost. So every change is preceded by a look, and a
reader that cannot read looks whether the folder answers at all before it calls anything damage.

When the folder is there again it may be the same mount, or a new one of the same disk (a pulled card comes back as
another device). The second is taken for ours only if the last block that became durable is where it was written and
nothing lies behind it but what this gateway left; then the lock is taken there, and the log goes on in a new segment.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import JournalError
from gateway.journal import block as blocks
from gateway.journal.block import HEADER_BYTES, Header
from gateway.journal.disk import DIRECT_BYTES, Disk
from gateway.journal.lock import Lock
from gateway.journal.segment import LOCK, SEGMENT, Entry, Found, Link, Walk

GONE: Final = "the journal's folder is gone; is its file system mounted?"
STRANGE: Final = "another file system is where the journal's folder was; it does not hold what was written last"
GONE_ON: Final = "another gateway has gone on with this journal; this one cannot"


class Home:
    """One journal's folder. `check` belongs to the worker's thread, `answers` may be called on any."""

    def __init__(self, disk: Disk, folder: Path, lock: Lock, align: int) -> None:
        """Take the folder as it is now for the journal's. Raises OSError."""
        self._disk = disk
        self._folder = folder
        self._lock = lock
        self._align = align
        self._identity = disk.identity(folder)

    def check(
        self, log_id: bytes, epoch: int, last: Entry | None, moved: Callable[[], None], *, doubt: bool = False
    ) -> None:
        """Return if the folder is the one that was opened. Raises OSError.

        `log_id`, `epoch`: of who asks. `last`: the segment with the last durable block. `moved` is called when the
        folder was taken over from a new mount: no handle from before is of use then. `doubt`: a write failed, so look
        closer: a device that came back may have the number it had, but our lock is not on it.
        """
        try:
            identity = self._disk.identity(self._folder)
        except OSError as error:
            raise OSError(errno.ENODEV, GONE) from error
        if identity == self._identity and not (doubt and self._lock.lost(self._disk, self._folder)):
            return
        if last is None or LOCK not in self._disk.names(self._folder):
            raise OSError(errno.ENODEV, GONE)
        self._recognise(log_id, epoch, last)
        try:
            self._lock.take_again(self._disk, self._folder)
        except BlockingIOError as error:
            raise OSError(errno.EBUSY, GONE_ON) from error
        self._identity = identity
        moved()

    def answers(self) -> bool:
        """Return whether the folder is there and can be read at all: if so, what cannot be read is damaged."""
        with suppress(OSError):
            if self._disk.identity(self._folder) != self._identity:
                return False
            path = self._folder / LOCK
            try:
                handle, read = self._disk.open_direct(path), self._disk.pread_direct
            except OSError as error:
                if error.errno != errno.EINVAL:
                    return False
                handle, read = self._disk.open(path, write=False), self._disk.pread
            try:
                read(handle, DIRECT_BYTES, 0)
            finally:
                self._disk.close(handle)
            return True
        return False

    def _recognise(self, log_id: bytes, epoch: int, last: Entry) -> None:
        """See that the newest segment is there as it was left, and nobody's work behind it. Raises OSError."""
        handle = self._disk.open(self._folder / last.name, write=False)
        try:
            self._disk.refresh(handle)
            walk = Walk(
                lambda length, offset: self._disk.pread(handle, length, offset),
                log_id,
                last.life,
                last.end,
                align=self._align,
                link=Link.before(last),
                closing=(last.number_next, last.records_next),
            )
            parts = list(walk)
            heads = [self._head(name) for name in self._disk.names(self._folder) if name.endswith(SEGMENT)]
            heads.append(blocks.decode_header(self._disk.pread(handle, HEADER_BYTES, last.end)))
        except JournalError as error:  # written by a newer version meanwhile
            raise OSError(errno.EBUSY, GONE_ON) from error
        finally:
            self._disk.close(handle)
        newest = parts[-1].header.crc if parts and isinstance(parts[-1], Found) else 0
        if newest != last.crc:
            raise OSError(errno.ENODEV, STRANGE)
        if any(head is not None and head.log_id == log_id and head.epoch > epoch for head in heads):
            raise OSError(errno.EBUSY, GONE_ON)

    def _head(self, name: str) -> Header | None:
        handle = self._disk.open(self._folder / name, write=False)
        try:
            return blocks.decode_header(self._disk.pread(handle, HEADER_BYTES, 0))
        finally:
            self._disk.close(handle)
