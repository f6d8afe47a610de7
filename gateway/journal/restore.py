"""Putting a journal together from a backup, in a folder of its own, and starting it once.

The journal in a backup is the past: the gateway that it was copied from, or the one that is being replaced, has given
out ids and sequences since, and nobody may give them out again. So a restore is a start of its own (decision 14):

* The log id stays: it is the same log.
* The epoch leaves room: it is the seconds since 2026-01-01, or 2^16 more than the greatest that is known, whichever is
  greater, and a random number below 2^18 on top. A gateway counts its epochs up by one at each start, so neither the
  one that was copied nor an earlier restore of the same backup comes there, even if the clock is wrong.
* The sequence leaves out 2^20 numbers, counted from the last one in the backup or in the journal that is replaced.
* Both are durable before the folder gets its name: the restore writes the first blocks of its epoch, with a row in the
  table "restores": epoch -> {made, first, skipped, ns}, and stops in order. At most RESTORES_MAX rows are kept.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.clock import NS_PER_S, Clock
from gateway.journal.archive import PIECE_BYTES, BackupError, Kept, Manifest
from gateway.journal.disk import Disk, OsDisk
from gateway.journal.journal import Journal
from gateway.journal.lock import Hint, Lock
from gateway.journal.options import SEQUENCE_SKIP, JournalOptions

EPOCH_ORIGIN_S: Final = 1_767_225_600  # 2026-01-01
EPOCH_STEP: Final = 1 << 16  # more starts than a gateway has between a backup and its end
EPOCH_RANDOM: Final = 1 << 18
EPOCH_MAX: Final = (1 << 32) - 1
RESTORES_MAX: Final = 16
RESTORES: Final = "restores"


def next_epoch(before: int, now_s: int, chance: random.Random) -> int:
    """Return an epoch that nobody who ever had this log comes to. `before`: the greatest that is known."""
    epoch = max(before + EPOCH_STEP, now_s - EPOCH_ORIGIN_S) + chance.randrange(EPOCH_RANDOM)
    if epoch >= EPOCH_MAX:
        raise BackupError(f"epoch {before} leaves no room for another restore: begin a new journal")
    return epoch


class Staging:
    """A journal's folder that is being put together under another name."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        """Make the folder. Raises OSError, FileExistsError when it is there."""
        self._disk = disk or OsDisk()
        self.folder = folder
        folder.mkdir(mode=0o750)

    def add(self, name: str, pieces: Iterator[bytes], kept: Kept) -> None:
        """Write a segment, with zeros up to its size, and sync it. Raises OSError."""
        handle = self._disk.open(self.folder / name, create=True)
        try:
            at = 0
            for piece in pieces:
                self._disk.pwrite(handle, piece, at)
                at += len(piece)
            for offset in range(at, kept.size, PIECE_BYTES):
                self._disk.pwrite(handle, bytes(min(PIECE_BYTES, kept.size - offset)), offset)
            self._disk.fdatasync(handle)
            self._disk.forget(handle)
        finally:
            self._disk.close(handle)

    def start(
        self, manifest: Manifest, options: JournalOptions, clock: Clock, *, epoch: int = 0, sequence: int = 0
    ) -> Journal:
        """Start it with an epoch and sequences of its own; returns it closed.

        `epoch`, `sequence`: how far the same log has come in a journal that is to be replaced. Raises GatewayError.
        """
        part = manifest.journal
        now_ns = clock.wall_ns()
        new = next_epoch(max(part.epoch, epoch), now_ns // NS_PER_S, random.SystemRandom())
        last = max(part.last_sequence, sequence) + SEQUENCE_SKIP
        lock = Lock.acquire(self._disk, self.folder)
        lock.leave_hint(Hint(bytes.fromhex(part.log_id), new - 1, 0, part.records, last), durable=True)
        lock.release()
        journal = Journal.open(self.folder, options, clock, self._disk)
        try:
            row = {
                "made": manifest.made,
                "first": journal.last_sequence + 1,
                "skipped": journal.last_sequence - part.last_sequence,
                "ns": now_ns,
            }
            journal.put(RESTORES, f"{journal.epoch:08x}", row)
            for key in sorted(journal.table(RESTORES))[:-RESTORES_MAX]:
                journal.put(RESTORES, key, None)
        finally:
            journal.close()
        self._disk.sync_folder(self.folder)
        if journal.log_id != part.log_id or journal.epoch != new:
            raise BackupError(
                f"the journal in it is not the one that it says ({journal.log_id}, epoch {journal.epoch})"
            )
        return journal
