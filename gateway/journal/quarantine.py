"""Copies of damaged bytes, for a person to look at: at most QUARANTINE_FILES_MAX files in the folder `quarantine`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gateway.journal.disk import Disk
from gateway.journal.options import QUARANTINE_BYTES_MAX, QUARANTINE_FILES_MAX
from gateway.journal.segment import QUARANTINE


def keep_copy(disk: Disk, folder: Path, segment: str, name: str, offset: int, length: int) -> bool:
    """Copy bytes of a segment file, the first of them when they are many; False when there is no room, or it is there.

    Never raises: a disk that cannot be written has worse troubles.
    """
    with suppress(OSError):
        place = folder / QUARANTINE
        names = disk.names(place)
        if name in names or len(names) >= QUARANTINE_FILES_MAX:
            return False
        source = disk.open(folder / segment, write=False)
        try:
            data = disk.pread(source, min(length, QUARANTINE_BYTES_MAX // QUARANTINE_FILES_MAX), offset)
        finally:
            disk.close(source)
        disk.make_folder(place)
        copy = disk.open(place / name, create=True)
        try:
            disk.pwrite(copy, data, 0)
        finally:
            disk.close(copy)
        return True
    return False
