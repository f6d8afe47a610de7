"""What somebody with fewer rights would see."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Make a folder that every user reaches, which pytest's own are not, whatever mask whoever tests has."""
    before = os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            yield folder
    finally:
        os.umask(before)


@contextmanager
def with_few_rights(folder: Path, mode: int) -> Iterator[None]:
    """Have a folder of ours be closed but for `mode`; tests that run as root are nobody meanwhile."""
    before, ours = folder.stat().st_mode, os.geteuid()
    folder.chmod(mode)
    if ours == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if ours == 0:
            os.seteuid(0)
        folder.chmod(before)
