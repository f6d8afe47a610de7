"""Copying a journal while a gateway goes on writing it. Reads only; nobody is asked to wait.

A copy of files that change one after the other is a state that never was. What makes this one sound:

* It begins with a look at the folder (inspection.py): the index and tables as of one durable block. Up to their ends
  named there, the segments do not change: blocks are only added, and a segment is overwritten only after a later
  durable block has taken it out of the index.
* So the segments are copied up to those ends, the oldest first, and then the folder is looked at again. If every
  segment of the first look is still in the index, none was overwritten while it was copied: the copy is the journal as
  of the first look. If one has gone, the second look takes the place of the first, and what it names and is not
  copied yet is copied: PASSES_MAX times, and each time little.

Everything that was acknowledged before the first look is in the copy: it was on the disk.

What the disk refuses to read is zeros in the copy, and counted: a start from it sees damaged blocks there and says how
many records they held.

An encrypted journal is copied as it is stored; its key is read because the index is encrypted, too.

Not copied: free and spare segments, what lies behind the last block, the quarantine folder, the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.journal.archive import JOURNAL, PIECE_BYTES, ArchiveWriter, BackupError, JournalPart, Kept
from gateway.journal.cipher import keys_of
from gateway.journal.disk import Disk, OsDisk
from gateway.journal.inspection import Inspection
from gateway.journal.options import JournalOptions
from gateway.journal.segment import Entry

PASSES_MAX: Final = 16

Progress = Callable[[int, int], None]
"""Is told how many bytes are copied, and how many there are."""


class JournalCopy:
    """Copies one journal into an archive."""

    def __init__(
        self,
        folder: Path,
        options: JournalOptions,
        archive: ArchiveWriter,
        progress: Progress,
        disk: Disk | None = None,
    ) -> None:
        self._disk = disk or OsDisk()
        self._folder = folder
        self._align = options.align
        self._keys = keys_of(options)
        self._archive = archive
        self._progress = progress
        self._copied: dict[int, tuple[int, Kept, int]] = {}  # life -> end, line of the manifest, bytes not readable
        self._done = 0

    def run(self) -> tuple[JournalPart, list[Kept]]:
        """Copy it; returns what it is and its files. Raises JournalError when there is none, BackupError, OSError."""
        look = self._look()
        for _ in range(PASSES_MAX):
            self._copy(look.entries)
            now = self._look()
            if {entry.life for entry in look.entries} <= {entry.life for entry in now.entries}:
                return self._part(look), [self._copied[entry.life][1] for entry in look.entries]
            look = now
        raise BackupError("the gateway uses its segments again faster than they can be copied: give it a larger budget")

    def _look(self) -> Inspection:
        return Inspection(self._folder, align=self._align, disk=self._disk, keys=self._keys)

    def _copy(self, entries: tuple[Entry, ...]) -> None:
        """Copy the segments that are not copied yet, or have grown."""
        wanted = [entry for entry in entries if self._copied.get(entry.life, (-1,))[0] != entry.end]
        total = self._done + sum(entry.end for entry in wanted)
        for entry in wanted:
            pieces = _Segment(self._disk, self._folder / entry.name, entry.end)
            name = f"{JOURNAL}/{entry.name}"
            kept = self._archive.add(
                name, entry.end, self._counted(iter(pieces), total), size=max(pieces.size, entry.end)
            )
            self._copied[entry.life] = (entry.end, kept, pieces.unreadable_bytes)

    def _counted(self, pieces: Iterator[bytes], total: int) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self._done += len(piece)
            self._progress(self._done, total)

    def _part(self, look: Inspection) -> JournalPart:
        return JournalPart(
            log_id=look.log_id,
            epoch=look.epoch,
            last_sequence=look.last_sequence,
            records=look.records,
            align=self._align,
            unreadable_bytes=sum(self._copied[entry.life][2] for entry in look.entries),
        )


class _Segment:
    """The bytes of one segment file up to an offset, whatever the disk says."""

    def __init__(self, disk: Disk, path: Path, end: int) -> None:
        self._disk = disk
        self._path = path
        self._end = end
        self.unreadable_bytes = 0
        self.size = 0
        with suppress(OSError):  # what can't be read is found out below
            handle = disk.open(path, write=False)
            self.size = disk.size(handle)
            disk.close(handle)

    def __iter__(self) -> Iterator[bytes]:
        """Yield all of it in pieces; zeros where the disk refuses or there is nothing."""
        try:
            handle = self._disk.open(self._path, write=False)
        except OSError:
            self.unreadable_bytes = self._end
            return
        try:
            for offset in range(0, self._end, PIECE_BYTES):
                yield self._piece(handle, min(PIECE_BYTES, self._end - offset), offset)
            self._disk.forget(handle)  # the cache belongs to the gateway
        finally:
            self._disk.close(handle)

    def _piece(self, handle: int, length: int, offset: int) -> bytes:
        try:
            data = self._disk.pread(handle, length, offset)
        except OSError:
            data = b""
        self.unreadable_bytes += length - len(data)
        return data.ljust(length, b"\0")
