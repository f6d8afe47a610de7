"""The lock that keeps two gateways from opening one journal, and the hint in its file.

The hint says how far the log had come: ``<log id> <epoch> <life> <records> <sequence>``, as text. It is written at a
start, when a segment begins and at an orderly stop, synced only then, and never ahead of what is durable. Nothing
depends on it. It helps when the end of the newest segment has vanished, which nothing else can tell: then ids,
sequences and lives are not given out again, and what is missing is counted.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import DiskRefused, JournalError
from gateway.journal.disk import Disk
from gateway.journal.segment import LOCK

HINT_BYTES: Final = 128
LOG_ID_BYTES: Final = 6


class Hint(msgspec.Struct, frozen=True):
    """At least this far the log had come."""

    log_id: bytes = b""
    epoch: int = 0
    life: int = 0
    records: int = 0
    sequence: int = 0


class Lock:
    """Held from `acquire` to `release`."""

    def __init__(self, disk: Disk, handle: int) -> None:
        self._disk = disk
        self._handle = handle

    @classmethod
    def acquire(cls, disk: Disk, folder: Path) -> Lock:
        """Lock a folder, making it first. Raises JournalError when another process has it, DiskRefused."""
        try:
            disk.make_folder(folder)
            return cls(disk, disk.lock(folder / LOCK))
        except BlockingIOError as error:
            raise JournalError(f"another gateway has the journal in {folder} open") from error
        except OSError as error:
            raise DiskRefused(f"{folder}: {error.strerror or error}") from error

    def lost(self, disk: Disk, folder: Path) -> bool:
        """Return whether nobody holds the lock of the folder as it is now, not even this one. Raises OSError."""
        try:
            disk.close(disk.lock(folder / LOCK))
        except BlockingIOError:
            return False
        return True

    def take_again(self, disk: Disk, folder: Path) -> None:
        """Take the lock where the folder is now and let go of the one before. Raises OSError."""
        before, self._handle = self._handle, disk.lock(folder / LOCK)
        with suppress(OSError):
            disk.close(before)

    def hint(self, log_id: bytes) -> Hint:
        """Return the hint, if it is this log's; any, when there is no log left (`log_id` empty)."""
        with suppress(OSError, ValueError):
            name, *numbers = self._disk.pread(self._handle, HINT_BYTES, 0).decode("ascii").split()
            named = bytes.fromhex(name)
            if len(named) == LOG_ID_BYTES and log_id in {b"", named}:
                return Hint(named, *map(int, numbers[:4]))
        return Hint(log_id)

    def leave_hint(self, hint: Hint, *, durable: bool = False) -> None:
        """Note how far the log has come, as well as it goes."""
        text = f"{hint.log_id.hex()} {hint.epoch} {hint.life} {hint.records} {hint.sequence}\n"
        with suppress(OSError):
            self._disk.pwrite(self._handle, text.encode().ljust(HINT_BYTES), 0)
            if durable:
                self._disk.fdatasync(self._handle)

    def release(self) -> None:
        """Let others in."""
        self._disk.close(self._handle)
