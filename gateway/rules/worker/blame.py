"""The blame slot: 512 bytes of shared memory where the worker writes what it is about to run.

Written before each call of a rule and each load of a file, so that a worker that hangs, exits or crashes
can be asked afterwards whose fault it was.  Costs two stores in memory a call, no system call.

Layout (little endian): calls u64, sequence u64, ordinal u32, rule index u32, activity u32, name length u32, name.
`calls` counts up with each call: the same number twice, a limit apart, is a call that does not return.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from enum import IntEnum
from typing import NamedTuple

SLOT_BYTES = 512
_CALL = struct.Struct("<QQIII")
_ACTIVITY = struct.Struct("<I")
_NAME = struct.Struct("<I")
_ACTIVITY_AT = 24
_NAME_AT = 28
_TEXT_AT = 32

CHANGED, LEAKED = 86, 87  # exit statuses of a worker that ends itself in a rule's name
WHY = "why: "  # begins the line beside the stack


class Activity(IntEnum):
    """What the worker is doing."""

    ENGINE = 0  # nothing of a user's
    CALL = 1  # a rule's function
    LOAD = 2  # a file's top level
    TEST = 3  # a file's own test
    FORGED = 99  # somebody else wrote here: what it says is worth nothing


_KNOWN = frozenset((Activity.ENGINE, Activity.CALL, Activity.LOAD, Activity.TEST))


class Blame(NamedTuple):
    """What the worker was doing, read from outside."""

    calls: int
    sequence: int
    ordinal: int
    rule: int  # index into Ready.rules
    activity: Activity
    file: str  # only for LOAD and TEST
    test: str = ""  # only for TEST


class BlameSlot:
    """The shared memory, from either side."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SLOT_BYTES)
        self._calls = 0

    def close(self) -> None:
        """Unmap."""
        self._memory.close()

    def call(self, rule: int, sequence: int, ordinal: int) -> None:
        """Say that a rule's function is called now."""
        self._calls += 1
        _CALL.pack_into(self._memory, 0, self._calls, sequence, ordinal, rule, Activity.CALL)

    def load(self, file: str) -> None:
        """Say that a file's top level is run now."""
        self._run(file, Activity.LOAD)

    def test(self, file: str, name: str) -> None:
        """Say that a file's own test is run now."""
        self._run(f"{file}\0{name}", Activity.TEST)

    def _run(self, what: str, activity: Activity) -> None:
        self._calls += 1
        name = what.encode()[: SLOT_BYTES - _TEXT_AT]
        _NAME.pack_into(self._memory, _NAME_AT, len(name))
        self._memory[_TEXT_AT : _TEXT_AT + len(name)] = name
        _CALL.pack_into(self._memory, 0, self._calls, 0, 0, 0, activity)

    def done(self) -> None:
        """Say that nothing of a user's is running."""
        _ACTIVITY.pack_into(self._memory, _ACTIVITY_AT, Activity.ENGINE)

    def read(self) -> Blame:
        """Read what was written last."""
        calls, sequence, ordinal, rule, activity = _CALL.unpack_from(self._memory, 0)
        (length,) = _NAME.unpack_from(self._memory, _NAME_AT)
        file = bytes(self._memory[_TEXT_AT : _TEXT_AT + min(length, SLOT_BYTES - _TEXT_AT)]).decode(errors="replace")
        known = Activity(activity) if activity in _KNOWN else Activity.FORGED
        file, _, test = file.partition("\0") if known in (Activity.LOAD, Activity.TEST) else ("", "", "")
        return Blame(calls, sequence, ordinal, rule, known, file, test)


def shared_memory(name: str) -> int:
    """Make an anonymous file in memory (memfd) and return its descriptor; not inherited unless passed."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, SLOT_BYTES)
    # without this a rule that makes it shorter ends the gateway: reading behind the end of a mapped file is SIGBUS
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def reason_in(stack: str) -> str:
    """Return the reason a worker left beside its stack when it ended itself, or nothing."""
    return next((line.removeprefix(WHY) for line in stack.splitlines() if line.startswith(WHY)), "")
