"""A seccomp filter for the rule worker: which system calls are refused, as a program in classic BPF built here.

Sources: seccomp(2), Documentation/userspace-api/seccomp_filter.rst and include/uapi/linux/{seccomp,filter,audit}.h of
the kernel.  The filter sees the number, the machine and the six arguments of a call, not the memory they point to.

Refused calls get EPERM, so that Python raises PermissionError at the author's line; a call of a foreign machine or
of the x32 ABI ends the process.  What is not named in `syscalls.py` is allowed: the filter is a fence around a
Python process, which needs some hundred calls, and files are Landlock's (which sees paths).
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from gateway.rules.walls.syscalls import (
    ABSENT,
    JUDGED,
    KERNEL,
    NEWEST,
    OTHERS,
    PROCESSES,
    SELF,
    SOCKETS,
    WRITES,
    X32,
    Numbers,
)


class Machine(NamedTuple):
    """What differs between machines."""

    audit: int  # AUDIT_ARCH_*
    column: int  # of the tables in syscalls.py
    seccomp: int  # number of seccomp(2)
    x32: bool


MACHINES = {
    "x86_64": Machine(0xC000003E, 0, 317, x32=True),
    "aarch64": Machine(0xC00000B7, 1, 277, x32=False),
}

LOAD, EQUAL, GREATER_OR_EQUAL, ANY_BIT, RETURN = (
    0x20,
    0x15,
    0x35,
    0x45,
    0x06,
)  # filter.h: BPF_LD|W|ABS, BPF_JMP|..., RET
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_INSTRUCTION = struct.Struct("=HBBI")
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data; both machines are little endian

CLONE_THREAD = 0x00010000
O_WRITES = 0o3 | 0o100 | 0o1000 | 0o20000000  # O_ACCMODE, O_CREAT, O_TRUNC, __O_TMPFILE
PRCTLS = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (glibc names its memory)
TIOCS = (0x5412, 0x541C, 0x8901, 0x8902)  # ioctls: TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP
FCNTLS = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: they make the kernel send signals
INSTRUCTIONS_MAX = 4096

_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
PERMIT_THREADS, PERMIT_PROCESSES, PERMIT_SOCKETS, PERMIT_WRITES = "threads", "subprocess", "network", "write"

Code = tuple[int, int, int, int]


def program(machine: Machine, pid: int, permitted: Collection[str] = ()) -> bytes:
    """Build the filter: an array of struct sock_filter.

    machine    whose numbers
    pid        of the process: it may send signals to itself
    permitted  of "threads", "subprocess", "network", "write"
    """
    code: list[Code] = [
        (LOAD, 0, 0, _MACHINE_AT),
        (EQUAL, 1, 0, machine.audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine.x32:
        code += [(GREATER_OR_EQUAL, 0, 1, X32), (RETURN, 0, 0, KILL)]
    code += [(GREATER_OR_EQUAL, 0, 1, NEWEST + 1), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    for number in sorted(set(_refused(machine, permitted))):
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.EPERM)]
    if PERMIT_PROCESSES not in permitted:
        for number in _numbers(ABSENT, machine):
            code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    for name, test in _judged(pid, permitted):
        number_of = JUDGED[name][machine.column]
        if number_of is not None:
            code += [(EQUAL, 0, len(test), number_of), *test]
    code.append((RETURN, 0, 0, ALLOW))
    assert len(code) <= INSTRUCTIONS_MAX
    return b"".join(_INSTRUCTION.pack(*each) for each in code)


def _refused(machine: Machine, permitted: Collection[str]) -> Iterator[int]:
    """Yield the numbers that are refused whatever their arguments."""
    yield from _numbers(OTHERS, machine)
    yield from _numbers(KERNEL, machine)
    yield from _numbers(SELF, machine)
    if PERMIT_PROCESSES not in permitted:
        yield from _numbers(PROCESSES, machine)
    if PERMIT_SOCKETS not in permitted:
        yield from _numbers(SOCKETS, machine)
    if PERMIT_WRITES not in permitted:
        yield from _numbers(WRITES, machine)


def _numbers(table: Numbers, machine: Machine) -> Iterator[int]:
    return (number for pair in table.values() if (number := pair[machine.column]) is not None)


def _judged(pid: int, permitted: Collection[str]) -> Iterator[tuple[str, list[Code]]]:
    """Yield the calls that depend on an argument, with what decides; the number stands in the accumulator before."""
    for name in ("kill", "tkill", "tgkill"):
        yield name, _only(0, (pid,))
    yield "prctl", _only(0, PRCTLS)
    yield (
        "prlimit64",
        [*_argument(2), (EQUAL, 0, 2, 0), *_argument(2, high=True), (EQUAL, 1, 0, 0), _refuse(), _allow()],
    )
    yield "ioctl", _none_of(1, TIOCS)
    yield "fcntl", _none_of(1, FCNTLS)
    if PERMIT_WRITES not in permitted:
        yield "open", [*_argument(1), (ANY_BIT, 0, 1, O_WRITES), _refuse(), _allow()]
        yield "openat", [*_argument(2), (ANY_BIT, 0, 1, O_WRITES), _refuse(), _allow()]
    if PERMIT_PROCESSES not in permitted:
        threads = [*_argument(0), (ANY_BIT, 1, 0, CLONE_THREAD), _refuse(), _allow()]
        yield "clone", threads if PERMIT_THREADS in permitted else [_refuse()]


def _argument(index: int, *, high: bool = False) -> list[Code]:
    return [(LOAD, 0, 0, _ARGUMENTS_AT + 8 * index + (4 if high else 0))]


def _refuse() -> Code:
    return (RETURN, 0, 0, ERRNO | errno.EPERM)


def _allow() -> Code:
    return (RETURN, 0, 0, ALLOW)


def _only(index: int, values: Collection[int]) -> list[Code]:
    """Allow a call only with one of these values (32 bits) as an argument."""
    tests = [(EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*_argument(index), *tests, _refuse(), _allow()]


def _none_of(index: int, values: Collection[int]) -> list[Code]:
    """Refuse a call with one of these values (32 bits) as an argument."""
    tests = [(EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*_argument(index), *tests, _allow(), _refuse()]


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(pid: int, permitted: Collection[str] = ()) -> str:
    """Put the filter on all threads of this process, for ever. Returns why not, or nothing when it is on.

    The process must have given up new privileges before (prctl(2), PR_SET_NO_NEW_PRIVS).
    """
    machine = MACHINES.get(platform.machine())
    if machine is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"system calls of this machine ({platform.machine()}, {platform.architecture()[0]}) are not known"
    code = program(machine, pid, permitted)
    kept = ctypes.create_string_buffer(code, len(code))
    about = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    mode, flag = ctypes.c_long(_SECCOMP_SET_MODE_FILTER), ctypes.c_long(_SECCOMP_FILTER_FLAG_TSYNC)
    if libc.syscall(ctypes.c_long(machine.seccomp), mode, flag, ctypes.byref(about)) != 0:
        return f"the kernel refused the filter: {errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno())}"
    return ""
