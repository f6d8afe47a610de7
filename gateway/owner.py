"""Root at work in a folder that is somebody else's: as that user, so that nothing there leads it anywhere else.

The state folder is the service's, and what runs as the service may put a link, or another folder, wherever root is
about to write, between any two steps.  No order of checks helps against that; not being root does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Be the owner of a folder (or of what there is above it) for the length of a block; only root becomes anybody.

    It is the whole process that becomes it: not for a program with several threads.
    """
    owner = _owner(folder)
    if owner is None:
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def become_owner(folder: Path) -> None:
    """Be the owner from now on, for good: for what runs code that is the owner's to write."""
    owner = _owner(folder)
    if owner is not None:
        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)


def _owner(folder: Path) -> os.stat_result | None:
    """Return whose a folder is, when that is somebody for root to become."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    owner = folder.stat()
    return owner if os.geteuid() == 0 and owner.st_uid != 0 else None
