"""Files that are whole over a power cut: written beside, synced, renamed; and then the folder, which has the name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the medium. BLOCKING. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path, mode: int = 0o644, *, among: str = "") -> Iterator[IO[bytes]]:
    """Open what takes a file's place, for good, when the block ends: there is the old one or the new one.

    What lies beside it is its own, never what a link there leads to; `among` is each writer's own word where there may
    be several at once. BLOCKING. Raises OSError.
    """
    beside = path.with_name(f".{path.name}{among}.new")
    beside.unlink(missing_ok=True)  # of a try that was cut off
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle, not a path: Path.open sets no mode
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:  # Ctrl-C in the middle of a large one, too: it leaves nothing beside
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put content in a file's place, see `replacing`."""
    with replacing(path, mode) as file:
        file.write(content)
