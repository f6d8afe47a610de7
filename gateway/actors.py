"""Who did something: ``person:anna`` by the kernel's word for who holds a socket, ``file:anna`` for an edit of hers.

The name of a user where the machine knows it, else the number.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

PERSON, FILE = "person:", "file:"


def person(uid: int) -> str:
    """Return the actor for what a user of this machine asked for."""
    return PERSON + _name(uid)


def by_file(path: Path) -> str:
    """Return the actor for an edit that was found on the disk: whose file it is, or whose folder when it is gone."""
    for each in (path, path.parent):
        try:
            return FILE + _name(each.stat().st_uid)
        except OSError:
            continue
    return f"{FILE}unknown"


def myself() -> str:
    """Return the actor for what this process does for the user who started it."""
    sudo = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    return PERSON + sudo if sudo.isidentifier() else person(os.getuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
