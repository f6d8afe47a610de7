"""Landlock: which files a process may still read, from now on and for its children; no privilege needed.

Sources: landlock(7), landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2) and the kernel's
Documentation/userspace-api/landlock.rst.  The version of the interface (ABI) is asked for, and everything that it
knows is handled: what is handled and not allowed is refused with EACCES (EPERM for network and signals).

ABI 1 files (Linux 5.13), 2 links between folders, 3 truncation, 4 TCP (6.7), 5 device ioctls, 6 signals and abstract
sockets to processes outside (6.12).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on all machines
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH
ABI_KNOWN = 6

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # all that a file (no folder) can be given
READ = READ_FILE | READ_DIR
LIST = READ_DIR
ALL_OF_ABI = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    4: (1 << 15) - 1,
    5: (1 << 16) - 1,
    6: (1 << 16) - 1,
}
TCP = 0b11  # bind, connect
SCOPES = 0b11  # abstract unix sockets, signals
_RULESET = struct.Struct("=QQQ")
_BENEATH = struct.Struct("=Qi")  # packed
_RULESET_BYTES = {1: 8, 2: 8, 3: 8, 4: 16, 5: 16, 6: 24}


class Allowed(NamedTuple):
    """A path and what is allowed beneath it."""

    path: str
    rights: int


class Walls(NamedTuple):
    """What the kernel enforces now. `why` says what is missing."""

    abi: int = 0  # 0: no Landlock
    files: bool = False
    tcp: bool = False
    signals: bool = False
    why: str = ""


def abi() -> int:
    """Return the version of Landlock the running kernel offers; 0 is none, or switched off at boot (lsm=)."""
    return max(0, _call(_CREATE, ctypes.c_void_p(None), ctypes.c_size_t(0), ctypes.c_uint32(_VERSION)))


def restrict(allowed: Sequence[Allowed], *, tcp: bool = False, others: bool = False) -> Walls:
    """Restrict this thread, and what it starts, to these paths.

    allowed  paths that do not exist are left out
    tcp      leave TCP alone
    others   leave signals and abstract sockets to processes outside alone

    The process must have given up new privileges before (prctl(2), PR_SET_NO_NEW_PRIVS).  Raises nothing: `why`.
    """
    version = min(abi(), ABI_KNOWN)
    if not version:
        return Walls(why="the kernel has no Landlock, or it is not in lsm= at boot")
    handled = ALL_OF_ABI[version]
    tcp_closed, scoped = version >= 4 and not tcp, version >= 6 and not others
    attributes = _RULESET.pack(handled, TCP if tcp_closed else 0, SCOPES if scoped else 0)[: _RULESET_BYTES[version]]
    ruleset = _call(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return Walls(why=f"the kernel refused a ruleset: {_reason(ruleset)}")
    try:
        for path, rights in allowed:
            _allow(ruleset, path, rights & handled)
        failed = _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    if failed < 0:
        return Walls(why=f"the kernel refused to restrict: {_reason(failed)}")
    missing = "" if version >= 4 else f"Landlock {version} knows no network"
    return Walls(version, files=True, tcp=tcp_closed, signals=scoped, why=missing)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what does not exist needs no rule
    try:
        rights &= ~0 if Path(path).is_dir() else FILE_RIGHTS
        _call(
            _ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), _BENEATH.pack(rights, parent), ctypes.c_uint32(0)
        )
    finally:
        os.close(parent)


def _call(number: int, *arguments: object) -> int:
    """Make a system call; a negative result is -errno."""
    if not hasattr(os, "O_PATH"):
        return -errno.ENOSYS  # not Linux
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else -ctypes.get_errno()


def _reason(result: int) -> str:
    return errno.errorcode.get(-result, str(-result))
