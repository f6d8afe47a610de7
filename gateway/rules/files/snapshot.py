"""The bytes of a folder of rule files, read once: what is checked is what runs.

A file is known by its name below the folder, with ``/`` between: ``left_open.py``, ``lib/sun.py``.  A signature is
what the file system says of the files without opening them; two equal ones around a read mean that nobody wrote
meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.errors import Fault

FILES_MAX = 500
FILE_BYTES_MAX = 256 * 1024
FOLDER_BYTES_MAX = 16 * 1024 * 1024  # of all files
DEPTH_MAX = 8  # folders below lib
LIB = "lib"
LOCK = "requirements.lock"  # packages of rules' own (packages.py)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

Signature = Mapping[str, tuple[int, ...]]
"""What stat says of each file, by its name; empty for what can't be looked at."""


class Snapshot(NamedTuple):
    """Files as they were at one moment, and what could not be read."""

    files: dict[str, bytes]
    faults: dict[str, Fault]


def signature(folder: Path) -> Signature:
    """Return what the file system says of the rule files of a folder; empty when it is not there."""
    return dict(_walk(folder, "", 0))


def read(folder: Path) -> Snapshot:
    """Read all rule files of a folder and those of its lib."""
    files: dict[str, bytes] = {}
    faults: dict[str, Fault] = {}
    size = 0
    for name in sorted(signature(folder)):
        path = folder / name
        try:
            source = read_file(path)
        except FileNotFoundError:
            continue  # gone since it was listed
        except (OSError, ValueError) as error:
            faults[name] = Fault(str(path), None, f"can't be read: {getattr(error, 'strerror', None) or error}")
            continue
        size += len(source)
        if len(files) >= FILES_MAX:
            faults[name] = Fault(str(path), None, f"more than {FILES_MAX} rule files")
        elif size > FOLDER_BYTES_MAX:
            faults[name] = Fault(str(path), None, f"the folder holds more than {FOLDER_BYTES_MAX} bytes of rules")
        else:
            files[name] = source
    return Snapshot(files, faults)


def read_file(path: Path) -> bytes:
    """Read a rule file. OSError, or ValueError for what is no rule file; never waits for the other end of a pipe."""
    handle = os.open(path, _READ)
    with open(handle, "rb") as file:  # noqa: PTH123 - of the descriptor
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no file")
        source = file.read(FILE_BYTES_MAX + 1)
    if len(source) > FILE_BYTES_MAX:
        raise ValueError(f"larger than {FILE_BYTES_MAX} bytes")
    return source


def is_rule_file(name: str) -> bool:
    """Return whether a file of a snapshot holds rules, rather than what they import."""
    return "/" not in name and name != LOCK


def digest(files: Mapping[str, bytes]) -> str:
    """Return a short hash of files, names and contents."""
    found = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        found.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return found.hexdigest()


def content(source: bytes) -> str:
    """Return the hash that a version of one file is known by."""
    return hashlib.blake2b(source, digest_size=16).hexdigest()


def _walk(folder: Path, below: str, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    try:
        with os.scandir(folder / below) as entries:
            found = list(entries)
    except OSError:
        return
    for entry in found:
        name = below + entry.name
        if not _wanted(entry.name, below):
            continue
        try:
            said = entry.stat()
        except OSError:
            said = None
        if said is not None and stat.S_ISDIR(said.st_mode) and not entry.name.endswith(".py"):
            if depth < DEPTH_MAX and (below or entry.name == LIB):
                yield from _walk(folder, f"{name}/", depth + 1)
        elif entry.name.endswith(".py") or name == LOCK:
            yield (
                name,
                () if said is None else (said.st_mtime_ns, said.st_size, said.st_ino, said.st_ctime_ns, said.st_mode),
            )


def _wanted(name: str, below: str) -> bool:
    """Leave out drafts, what editors put beside a file, and names nobody can print."""
    if name.startswith(".") or (not below and name.startswith("_")) or name == "__pycache__":
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def moving(before: Signature, after: Signature) -> set[str]:
    """Return the files that are others now."""
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}
