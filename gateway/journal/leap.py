"""Epochs that nobody else comes to, for a journal that may be on two machines: a card was copied.

Event ids have the epoch in them, and each start counts it up by one: two gateways that go on from the same journal
would soon give the same id to two events. The lock's hint says how far the log has come; a start goes on from there.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import JournalError
from gateway.journal.disk import Disk, OsDisk
from gateway.journal.lock import Lock

LEAP_MIN: Final = 1 << 16  # more starts than a gateway has in its life
LEAP_MAX: Final = 1 << 24
EPOCH_MAX: Final = (1 << 32) - 1


def leap(folder: Path, log_id: str, disk: Disk | None = None) -> int:
    """Have the next start of a journal begin with an epoch far behind the last; returns by how many it leaps.

    Raises JournalError when another process has the journal open, or there is no room left for a leap; DiskRefused.
    """
    disk = disk or OsDisk()
    lock = Lock.acquire(disk, folder)
    try:
        hint = lock.hint(bytes.fromhex(log_id))
        by = LEAP_MIN + secrets.randbelow(LEAP_MAX - LEAP_MIN)
        if hint.epoch + by >= EPOCH_MAX:
            raise JournalError(f"epoch {hint.epoch} leaves no room for a leap: begin a new journal")
        lock.leave_hint(msgspec.structs.replace(hint, epoch=hint.epoch + by), durable=True)
        return by
    finally:
        lock.release()
