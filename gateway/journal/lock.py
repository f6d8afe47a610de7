"""The lock that keeps two gateways from opening one journal; its file's text is a hint at the last epoch.

The epoch is in the blocks; the hint only helps when the newest segment has vanished altogether, so that its ids are
not given out again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import DiskRefused, JournalError
from gateway.journal.disk import Disk
from gateway.journal.segment import LOCK

HINT_BYTES: Final = 16


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

    def hint(self) -> int:
        """Return the epoch noted last, 0 for none."""
        with suppress(OSError):
            text = self._disk.pread(self._handle, HINT_BYTES, 0).strip(b"\0\n ")
            return int(text) if text.isdigit() else 0
        return 0

    def leave_hint(self, epoch: int) -> None:
        """Note the epoch, as well as it goes."""
        with suppress(OSError):
            self._disk.pwrite(self._handle, str(epoch).encode().ljust(HINT_BYTES), 0)

    def release(self) -> None:
        """Let others in."""
        self._disk.close(self._handle)
