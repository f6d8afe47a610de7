"""A simulated disk for the journal: everything a real one may do to us, by seed.

Fault model
===========
* What `pwrite` wrote is seen by later reads at once (the page cache) and is on the medium only after
  `fdatasync` returned. A new, renamed or removed name is durable only after `sync_folder`; the contents
  of a file and its name are two things.
* **Power cut** (`crash`): each write since the last sync survives or not *per sector of 512 bytes*, in any
  combination, whatever order they were written in; a sector may also be torn in the middle: its first
  bytes new, the rest old. Sectors outside the written range never change: tearing stays inside the
  aligned range of a write. Of the folder's unsynced names a prefix survives (file systems journal them).
* A power cut may come at any call, in the middle of it (`cut_in`): PowerCut is raised there, which no
  code may catch.
* **Kill** (`kill`): the process is gone, memory is not: everything written is still readable, and still
  not durable.
* **Failed fdatasync**: an unknown part reached the medium; the kernel now calls all of it clean. Reads show
  what was wished; the next fdatasync returns success and writes nothing. Only `refresh` shows the truth.
* **Refusals**: any call may raise ENOSPC, EIO or EROFS, or write short (`refuse`); beyond `capacity_bytes`
  every growing write raises ENOSPC.
* **Bad sectors** (`spoil`): a page that raises EIO when it is read, until it is written.
* **Rot** (`contents`): bytes that were durable change; direct reads show it at once, others after `rotted`.
* **The mount goes** (`unmount`): no name is found; handles go on working, as those of a detached mount do, unless it
  was `torn` away. `mount` brings it back, the same or as another device would be.

Not in the model: a device that says "flushed" and lies (the promise assumes that the card honours flushes).
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

SECTOR = 512
PAGE = 4096
REFUSALS = (errno.ENOSPC, errno.EIO, errno.EROFS)
CHANGES = frozenset({"pwrite", "fdatasync", "create", "rename", "unlink", "sync_folder", "refresh"})


class PowerCut(BaseException):
    """The power went in the middle of a call. Not an Exception: nothing may go on after it."""


class _File:
    """One file: what reads see, what the medium has, and the writes between the two."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.medium = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []
        self.bad: set[int] = set()  # pages that cannot be read

    def readable(self, length: int, offset: int) -> None:
        """Raise EIO when there is a bad page in between."""
        if self.bad and not self.bad.isdisjoint(range(offset // PAGE, -(-(offset + length) // PAGE))):
            raise OSError(errno.EIO, "input/output error")

    def write(self, offset: int, data: bytes) -> None:
        self.bad.difference_update(range(offset // PAGE, -(-(offset + len(data)) // PAGE)))
        grow(self.seen, offset + len(data))
        self.seen[offset : offset + len(data)] = data
        self.unsynced.append((offset, data))

    def settle(self, keeps: Callable[[], str] | None) -> None:
        """Move unsynced writes to the medium: all of them, or what `keeps` says sector by sector."""
        for offset, data in self.unsynced:
            if keeps is None:
                _put(self.medium, offset, data)
                continue
            at = 0
            while at < len(data):
                step = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
                fate = keeps()
                if fate == "torn":
                    _put(self.medium, offset + at, data[at : at + step // 2])
                elif fate == "kept":
                    _put(self.medium, offset + at, data[at : at + step])
                at += step
        self.unsynced.clear()


def grow(data: bytearray, length: int) -> None:
    """Lengthen with zeros, as a file grows."""
    if len(data) < length:
        data.extend(bytes(length - len(data)))


def _put(medium: bytearray, offset: int, data: bytes) -> None:
    grow(medium, offset + len(data))
    medium[offset : offset + len(data)] = data


class SimDisk:
    """A `gateway.journal.disk.Disk` in memory. One seed, one history."""

    def __init__(self, seed: int, capacity_bytes: int = 1 << 40) -> None:
        self.random = random.Random(seed)
        self.capacity_bytes = capacity_bytes
        self.refuse: Callable[[str], int | None] = lambda _call: None  # call's name -> errno, or None
        self.cut_in = -1  # a power cut in the n-th changing call from now; -1: none
        self.calls = 0
        self.written_bytes = 0
        self._files: dict[str, _File] = {}  # names as seen
        self._durable: dict[str, _File] = {}  # names as on the medium
        self._name_changes: list[Callable[[dict[str, _File]], None]] = []
        self._handles: dict[int, _File] = {}
        self._locks: dict[str, int] = {}
        self._next_handle = 3
        self._mounts = 1  # which mount is there; 0: none
        self._last_mount = 1
        self._torn: set[int] = set()  # handles of a device that is gone

    # -- what the journal calls -------------------------------------------------------------------------

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:  # noqa: ARG002
        """Open a file; a new name is durable after `sync_folder`."""
        name = str(path)
        self._there(path)
        if create:
            if name in self._files:
                raise FileExistsError(errno.EEXIST, "exists", name)
            self._step("create")
            file = _File()
            self._rename_later(lambda names: names.__setitem__(name, file))
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        self._refusal("open")
        return self._handle(self._files[name])

    def open_direct(self, path: Path) -> int:
        """Open a file past the cache."""
        return self.open(path)

    def pread_direct(self, handle: int, length: int, offset: int) -> bytes:
        """Write back what is not synced, as a direct read does, and read what the medium has."""
        self._refusal("pread")
        self._living(handle)
        file = self._handles[handle]
        file.readable(length, offset)
        seen = bytearray(file.medium)
        for at, data in file.unsynced:
            _put(seen, at, data)
        return bytes(seen[offset : offset + length])

    def identity(self, folder: Path) -> tuple[int, int]:
        """Return which mount this is."""
        self._there(folder)
        return self._mounts, 1

    def close(self, handle: int) -> None:
        """Forget a handle; a lock it held is free."""
        del self._handles[handle]
        self._locks = {name: holder for name, holder in self._locks.items() if holder != handle}

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        """Write into the cache; refused or cut, a part may be written all the same."""
        self._living(handle)
        file = self._handles[handle]
        data = bytes(data)
        growth = max(0, offset + len(data) - len(file.seen))
        if growth and sum(len(each.seen) for each in set(self._files.values())) + growth > self.capacity_bytes:
            raise OSError(errno.ENOSPC, "no space left")
        part = self.random.randrange(len(data) + 1) if data else 0
        self._step("pwrite", lambda: file.write(offset, data[:part]))
        file.write(offset, data)
        self.written_bytes += len(data)

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """Read what the cache shows."""
        self._refusal("pread")
        self._living(handle)
        self._handles[handle].readable(length, offset)
        return bytes(self._handles[handle].seen[offset : offset + length])

    def fdatasync(self, handle: int) -> None:
        """Make a file's writes durable; refused, an unknown part is, and the rest is called clean."""
        self._living(handle)
        file = self._handles[handle]
        self._step("fdatasync", lambda: file.settle(self._fates()))
        file.settle(None)

    def refresh(self, handle: int) -> None:
        """Sync, then show the medium."""
        file = self._handles[handle]
        try:
            self._step("refresh", lambda: file.settle(self._fates()))
            file.settle(None)
        finally:
            file.seen[:] = file.medium

    def forget(self, handle: int) -> None:
        """Keep the cache: nothing depends on it."""

    def size(self, handle: int) -> int:
        """Return the length that reads see."""
        return len(self._handles[handle].seen)

    def named(self, handle: int) -> bool:
        """Return whether the file still has a name."""
        return any(file is self._handles[handle] for file in self._files.values())

    def sync_folder(self, folder: Path) -> None:
        """Make names durable."""
        self._there(folder)
        self._step("sync_folder")
        self._settle_names(len(self._name_changes))

    def make_folder(self, folder: Path) -> None:
        """Folders are always there."""

    def rename(self, old: Path, new: Path) -> None:
        """Rename, replacing."""
        self._there(old)
        if str(old) not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(old))
        self._step("rename")

        def change(names: dict[str, _File]) -> None:
            if str(old) in names:
                names[str(new)] = names.pop(str(old))

        self._rename_later(change)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        self._there(path)
        if str(path) not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        self._step("unlink")
        self._rename_later(lambda names: names.__delitem__(str(path)) if str(path) in names else None)

    def names(self, folder: Path) -> list[str]:
        """List a folder's files."""
        if not self._mounts:
            return []
        return sorted(Path(name).name for name in self._files if Path(name).parent == folder)

    def free_bytes(self, folder: Path) -> int:  # noqa: ARG002
        """Return what is left of the capacity."""
        return self.capacity_bytes - sum(len(file.seen) for file in self._files.values())

    def lock(self, path: Path) -> int:
        """Lock a file for one handle."""
        self._there(path)
        if str(path) in self._locks:
            raise BlockingIOError(errno.EAGAIN, "locked", str(path))
        handle = self.open(path, create=str(path) not in self._files)
        self._locks[str(path)] = handle
        return handle

    # -- what the test does to it -----------------------------------------------------------------------

    def kill(self) -> None:
        """End the process: handles are gone, the cache is not."""
        self._handles.clear()
        self._locks.clear()
        self.cut_in = -1

    def crash(self) -> None:
        """Cut the power: only the medium is left."""
        self.kill()
        for file in dict.fromkeys([*self._files.values(), *self._durable.values()]):  # in the same order each run
            file.settle(self._fates())
            file.seen[:] = file.medium
        self._settle_names(self.random.randrange(len(self._name_changes) + 1))
        self._name_changes.clear()
        self._files = dict(self._durable)

    def unmount(self, *, torn: bool = False) -> None:
        """Take the mount away; `torn`: the device, too, with what was not synced."""
        self._last_mount, self._mounts = self._mounts or self._last_mount, 0
        if torn:
            self._torn |= self._handles.keys()
            self._locks.clear()
            for file in self._files.values():
                file.settle(self._fates())
                file.seen[:] = file.medium
            self._settle_names(self.random.randrange(len(self._name_changes) + 1))
            self._name_changes.clear()
            self._files = dict(self._durable)

    def mount(self, *, other: bool = False) -> None:
        """Bring it back; `other`: as a mount of its own, which the same disk is after it was pulled."""
        self._mounts = self._last_mount + other

    def image(self, path: Path) -> bytes:
        """Return what reads of a file see."""
        return bytes(self._files[str(path)].seen)

    def contents(self, path: Path) -> bytearray:
        """Return the durable bytes of a file, to be changed in place (rot); call `rotted` afterwards."""
        return self._durable[str(path)].medium

    def spoil(self, path: Path, page: int) -> None:
        """Let a page of a file be a bad sector."""
        self._durable[str(path)].bad.add(page)

    def rotted(self) -> None:
        """Let reads see what was done to `contents`."""
        for file in self._files.values():
            file.seen[:] = file.medium

    def remove(self, path: Path) -> None:
        """Lose a file altogether."""
        del self._durable[str(path)], self._files[str(path)]

    def add(self, path: Path, data: bytes) -> None:
        """Bring a durable file from elsewhere."""
        file = _File()
        file.seen[:] = file.medium[:] = data
        self._durable[str(path)] = self._files[str(path)] = file

    # -- inside -----------------------------------------------------------------------------------------

    def _there(self, path: Path) -> None:
        if not self._mounts:
            raise FileNotFoundError(errno.ENOENT, "no such file or directory", str(path))

    def _living(self, handle: int) -> None:
        if handle in self._torn:
            raise OSError(errno.EIO, "the device is gone")

    def _handle(self, file: _File) -> int:
        self._next_handle += 1
        self._handles[self._next_handle] = file
        return self._next_handle

    def _refusal(self, call: str, part: Callable[[], None] | None = None) -> None:
        number = self.refuse(call)
        if number is not None:
            if part is not None:
                part()
            raise OSError(number, f"{errno.errorcode[number]} in {call}")

    def _step(self, call: str, part: Callable[[], None] | None = None) -> None:
        """Count a changing call; refuse it or cut the power in it. `part` is what is done of it then."""
        self.calls += 1
        if self.cut_in >= 0:
            self.cut_in -= 1
            if self.cut_in < 0:
                if part is not None and call == "pwrite":
                    part()
                raise PowerCut
        self._refusal(call, part)

    def _rename_later(self, change: Callable[[dict[str, _File]], None]) -> None:
        change(self._files)
        self._name_changes.append(change)

    def _settle_names(self, count: int) -> None:
        for change in self._name_changes[:count]:
            change(self._durable)
        del self._name_changes[:count]

    def _fates(self) -> Callable[[], str]:
        """Choose one way for a cut to treat unsynced sectors: all, none, a prefix, or any of them."""
        how = self.random.choice(("none", "all", "prefix", "any", "any"))
        if how == "none":
            return lambda: "lost"
        if how == "all":
            return lambda: "kept"
        if how == "any":
            return lambda: self.random.choice(("kept", "kept", "lost", "lost", "torn"))
        left = self.random.randrange(8)

        def prefix() -> str:
            nonlocal left
            left -= 1
            return "kept" if left > 0 else "torn" if left == 0 else "lost"

        return prefix
