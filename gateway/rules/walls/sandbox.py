"""The walls around the rule worker, put up before it reads the first rule; none can be taken down again.

In this order: limits of the kernel (setrlimit(2)), a greater chance to be ended when memory runs out (proc(5),
oom_score_adj), no capabilities (capabilities(7)), no new privileges (prctl(2)), Landlock, seccomp, and the audit hook.
What the kernel does not have is left out and said (`Enforced`): docs/decisions/0015 has the table.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Collection
from pathlib import Path

from gateway.rules.walls import landlock, seccomp
from gateway.rules.walls.enforced import GRANTED, HOOK, NOBODY, Enforced
from gateway.rules.walls.fence import DEVICES, SHARED, Fence, install, readable
from gateway.rules.walls.grants import NETWORK, PROCESSES, READ, THREADS, WRITE, Grants, described, of_all, paths

FILES_OPEN_MAX = 128
OOM_SCORE = 500  # the worker goes before the gateway
STATM = "/proc/self/statm"
PROGRAMS = ("/bin", "/sbin", "/usr", "/lib", "/lib64", "/etc/alternatives")
RESOLVING = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/ssl"),
    "/run/systemd/resolve",
)
"""What finding an address and judging a certificate reads."""
_PAGE_BYTES = resource.getpagesize()
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPSET = {"x86_64": 126, "aarch64": 91, "armv7l": 185, "armv6l": 185, "i686": 185}
_CAPABILITY_VERSION = 0x20080522
_FORGOTTEN_MODULES = ("ctypes", "_ctypes")  # imported here; a rule's own import shall be seen


def enter(folder: str, memory_bytes_max: int, grants: Grants) -> tuple[Enforced, Fence]:
    """Put up the walls. Returns what is enforced, and the fence that tells authors.

    folder            of the rule files: may be read
    memory_bytes_max  data the process may have
    grants            what the installation opens
    """
    words = of_all(grants)
    limit(memory_bytes_max, writes=bool(paths(words, WRITE)))
    with contextlib.suppress(OSError):  # no /proc
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    libc = ctypes.CDLL(None, use_errno=True)
    bare = _drop_capabilities(libc)
    walls, refused = landlock.Walls(why="no new privileges could not be given up"), ""
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        free = PROCESSES in words
        walls = landlock.restrict(allowed(folder, words), tcp=NETWORK in words, others=free or NETWORK in words)
        refused = seccomp.install(os.getpid(), permitted(words))
    else:
        refused = walls.why
    for name in _FORGOTTEN_MODULES:
        sys.modules.pop(name, None)
    fence = install(Fence(folder, grants))
    return _enforced(walls, refused, words, bare, grants), fence


def limit(memory_bytes_max: int, *, writes: bool) -> None:
    """Set the limits of the kernel. Processor time has none here: it would count over the worker's whole life."""
    mapped = int(Path(STATM).read_text().split()[0]) * _PAGE_BYTES if Path(STATM).exists() else 0
    wanted = {
        resource.RLIMIT_DATA: memory_bytes_max,
        resource.RLIMIT_AS: mapped + memory_bytes_max,  # shared mappings are no data
        resource.RLIMIT_NOFILE: FILES_OPEN_MAX,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if not writes:
        wanted[resource.RLIMIT_FSIZE] = 0
    for which, most in wanted.items():
        with contextlib.suppress(OSError, ValueError):  # lower already
            resource.setrlimit(which, (most, most))


def permitted(words: Collection[str]) -> set[str]:
    """Return what seccomp leaves open: files to write are Landlock's then."""
    found = {word for word in (THREADS, PROCESSES, NETWORK) if word in words}
    if PROCESSES in words:
        found.add(THREADS)
    return found | ({seccomp.PERMIT_WRITES} if paths(words, WRITE) or PROCESSES in words else set())


def allowed(folder: str, words: Collection[str]) -> list[landlock.Allowed]:
    """Return the paths Landlock leaves open."""
    found = [landlock.Allowed(path, landlock.READ) for path in (*readable(folder), *SHARED, *DEVICES)]
    found += [landlock.Allowed(path, landlock.READ) for path in paths(words, READ)]
    found += [landlock.Allowed(path, ~landlock.EXECUTE) for path in paths(words, WRITE)]
    if PROCESSES in words:
        found += [landlock.Allowed(path, landlock.READ | landlock.EXECUTE) for path in PROGRAMS]
        found.append(landlock.Allowed("/dev/null", landlock.READ_FILE | landlock.WRITE_FILE))
    if NETWORK in words:
        found += [landlock.Allowed(os.path.realpath(path), landlock.READ) for path in RESOLVING]
    return found


def _drop_capabilities(libc: ctypes.CDLL) -> bool:
    """Give up every capability; True when none is left. Who runs as nobody special has none to give up."""
    number = _CAPSET.get(platform.machine())
    if number is None:
        return os.geteuid() != 0
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    nothing = bytes(24)  # twice effective, permitted, inheritable
    result: int = libc.syscall(ctypes.c_long(number), header, nothing)
    return result == 0


def _enforced(walls: landlock.Walls, refused: str, words: Collection[str], bare: bool, grants: Grants) -> Enforced:
    """Put together who enforces what."""
    files = f"Landlock {walls.abi}" if walls.files else ""
    calls = "" if refused else "seccomp"

    def who(granted: bool, *kernel: str) -> str:
        if granted:
            return GRANTED
        named = [each for each in kernel if each]
        return f"kernel ({', '.join(named)})" if named else HOOK

    writes = bool(paths(words, WRITE))
    by = {
        "reading files": who(False, files),
        "writing files": who(False, files, "" if seccomp.PERMIT_WRITES in permitted(words) else calls),
        "the network": who(NETWORK in words, f"Landlock {walls.abi}" if walls.tcp else "", calls),
        "starting processes": who(PROCESSES in words, calls),
        "starting threads": who(THREADS in words or PROCESSES in words, calls),
        "other processes": who(False, f"Landlock {walls.abi}" if walls.signals else "", calls),
        "privileges": "kernel (capabilities)" if bare else NOBODY,
        "memory": "kernel (rlimits)",
        "big files": GRANTED if writes else "kernel (rlimits)",
    }
    missing = tuple(why for why in (walls.why, f"no seccomp: {refused}" if refused else "") if why)
    return Enforced(walls.abi, not refused, by, missing, tuple(described(grants)))
