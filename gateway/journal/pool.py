"""The pool of segment files: free, spare, or not yet made, up to the byte budget. On the worker's thread.

Free files are those that no durable index names. RESERVE_SEGMENTS of them are left alone by ordinary blocks: they are
for blocks with alarms, for survivors of eviction, and for the block that switches to those. Faults of the disk can use
the reserve up, as each ends a segment early. Then making room would need room: it may go OVERDRAFT_SEGMENTS beyond the
budget (`overdraw`), and files beyond it are removed as soon as they are free.

New files are written with zeros, synced, and named .spare before they count: unwritten extents would make each commit
a metadata commit. The zeros go page by page: some kernels cache a large write as one large folio, and count all of it
as written with each small commit into it. A file is handed out only when its name is durable.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.journal.disk import Disk
from gateway.journal.options import PAGE_BYTES, RESERVE_SEGMENTS, JournalOptions
from gateway.journal.segment import FILLING, SEGMENT, SPARE

FILL_BYTES: Final = 256 * 1024  # zeros written at a time
OVERDRAFT_SEGMENTS: Final = 2  # a file of survivors, and a segment for the block that switches to it


class Pool:
    """Files that may be overwritten. `live` says how many segments are in use."""

    def __init__(
        self,
        disk: Disk,
        folder: Path,
        options: JournalOptions,
        *,
        free: list[str],
        spares: list[str],
        names_taken: int,
        live: Callable[[], int],
    ) -> None:
        self._disk = disk
        self._folder = folder
        self._size = options.segment_size
        self._files_max = options.segments_max
        self._limit = options.segments_max  # fewer while the file system refuses to hold more
        self._overdraft = 0  # files that there may be beyond the budget
        self._free = free
        self._spares = spares
        self._limbo: list[str] = []  # named by a block that failed and may come back: free after the next success
        self._names_taken = names_taken  # greatest number in a file's name
        self._names_durable = False  # whether every name in the pool survives a power cut
        self._filling: tuple[Path, int, int] | None = None  # file, handle, bytes of zeros so far
        self._live = live
        self.written = 0  # bytes of zeros

    @property
    def files(self) -> int:
        """How many segment files there are."""
        return self._live() + len(self._free) + len(self._spares) + len(self._limbo)

    @property
    def available(self) -> int:
        """How many segments could be begun now, those of the reserve included."""
        return len(self._free) + len(self._spares) + max(0, self._limit + self._overdraft - self.files)

    @property
    def complete(self) -> bool:
        """Whether the whole budget is on the disk."""
        return self.files >= self._files_max

    @property
    def cramped(self) -> bool:
        """Whether the file system gives us less than the budget."""
        return self._limit < self._files_max and not self.complete

    def overdraw(self, wanted: int) -> None:
        """Let `wanted` segments be begun for making room, a few of them beyond the budget if there is no other way.

        Not while the file system gives less than the budget.
        """
        self._overdraft = 0
        if not self.cramped:
            self._overdraft = min(OVERDRAFT_SEGMENTS, max(0, wanted - self.available))

    def take(self, leave: int) -> str:
        """Return a file that may be overwritten from its start, when `leave` others are left.

        Raises OSError when there is none to be had.
        """
        have = len(self._free) + len(self._spares)
        more = self._files_max + self._overdraft - self.files
        if have + max(0, more) <= leave:
            raise OSError(errno.ENOSPC, "the journal's byte budget is used up by records that nobody has had")
        if have <= RESERVE_SEGMENTS and more > 0:
            try:
                while self.fill():
                    pass
            except OSError:
                if have <= leave:
                    raise
        if not self._free:
            self._name_spare()
        if not self._names_durable:  # also once after a start: a killed process may have renamed and not synced
            self._disk.sync_folder(self._folder)
            self._names_durable = True
        return self._free.pop(0)

    def give_back(self, name: str) -> None:
        """Put a file taken in vain back into the pool."""
        self._free.append(name)

    def abandon(self, names: Iterable[str]) -> None:
        """Free files that a block names whose write failed, but only when a later block is durable (`settle`).

        Until then a power cut could bring that block back, and it would need them.
        """
        self._limbo += names

    def restore(self, names: Iterable[str]) -> None:
        """Take abandoned files back: the block that names them is tried again."""
        for name in names:
            self._limbo.remove(name)

    def settle(self) -> None:
        """Take note that a block is durable: what was abandoned before it is free."""
        self._free += self._limbo
        self._limbo.clear()

    def recycle(self, name: str) -> None:
        """Take in a file that no durable index names, or remove it when size or budget are not what they were."""
        try:
            handle = self._disk.open(self._folder / name)
            try:
                fits = self._disk.size(handle) == self._size
            finally:
                self._disk.close(handle)
            if fits and not self.complete:
                self._free.append(name)
            else:
                self._disk.unlink(self._folder / name)
        except OSError:
            return  # what cannot be opened cannot be reused; the next start looks again

    def fill(self) -> bool:
        """Write some more zeros of the next spare segment; True while there is more to do for it. Raises OSError."""
        if self._filling is None:
            if self.files >= self._files_max + self._overdraft:
                return False
            self._names_taken += 1
            path = self._folder / f"{self._names_taken:08d}{FILLING}"
            try:
                self._filling = (path, self._disk.open(path, create=True), 0)
            except OSError:
                self._limit = self.files
                raise
        path, handle, done = self._filling
        try:
            step = min(FILL_BYTES, self._size - done)
            for at in range(done, done + step, PAGE_BYTES):
                self._disk.pwrite(handle, bytes(min(PAGE_BYTES, done + step - at)), at)
            self.written += step
            if done + step < self._size:
                self._filling = (path, handle, done + step)
                return True
            self._disk.fdatasync(handle)
            self._disk.rename(path, path.with_suffix(SPARE))  # the folder is synced when the file is taken
        except OSError:
            self._limit = self.files  # until the file system has proved that it gives us one more
            self.close()
            with suppress(OSError):
                self._disk.unlink(path)
            raise
        self.close()
        self._spares.append(path.with_suffix(SPARE).name)
        self._limit = self._files_max
        return False

    def moved(self) -> None:
        """Look again at what there is: the folder was mounted anew, and names that were not durable are gone."""
        with suppress(OSError):
            self.close()
        self._filling = None
        names = set(self._disk.names(self._folder))
        for files in (self._free, self._spares, self._limbo):
            files[:] = [name for name in files if name in names]
        self._names_durable = False

    def close(self) -> None:
        """Close the file that is being filled; its zeros begin anew."""
        if self._filling is not None:
            self._disk.close(self._filling[1])
            self._filling = None

    def _name_spare(self) -> None:
        if not self._spares:
            raise OSError(errno.ENOSPC, "no free segment")
        self._names_durable = False
        spare = self._spares[0]
        name = spare.removesuffix(SPARE) + SEGMENT
        self._disk.rename(self._folder / spare, self._folder / name)
        self._spares.pop(0)
        self._free.append(name)
