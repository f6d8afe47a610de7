"""Tries, inside the service's walls, what each of them forbids, and what the gateway needs: one line of JSON each."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import multiprocessing
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = Path("/var/lib/edge-gateway")
RUNTIME = Path("/run/edge-gateway")
LIBC = ctypes.CDLL(None, use_errno=True)
ARM = os.uname().machine == "aarch64"
LANDLOCK_CREATE_RULESET = 444
CAPSET = 91 if ARM else 126
CLONE_NEWUSER, SCHED_FIFO, PERSONALITY_32 = 0x10000000, 1, 0x0008


def call(name: str, *arguments: Any) -> None:
    """Make a call of the C library; OSError when it fails."""
    if getattr(LIBC, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def status(field: str) -> str:
    """Return a field of our own status (proc(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{field}:"))


def demand(true: bool, what: object = "") -> None:
    """Fail unless something is so."""
    if not true:
        raise AssertionError(what)


def executed_elsewhere() -> None:
    """Run a program that we have written ourselves."""
    program = RUNTIME / "program"
    shutil.copy("/usr/bin/true", program)
    program.chmod(0o700)
    try:
        subprocess.run([str(program)], check=True)
    finally:
        program.unlink()


def suid() -> None:
    """Make a file that runs as its owner."""
    file = STATE / "suid"
    file.touch()
    try:
        file.chmod(0o4755)
    finally:
        file.unlink()


def database() -> None:
    """Use SQLite with a write-ahead log, as exports do."""
    file = STATE / "probe.sqlite"
    with sqlite3.connect(file) as base:
        demand(base.execute("pragma journal_mode=wal").fetchone()[0] == "wal")
        base.execute("create table t (x)")
    for each in STATE.glob("probe.sqlite*"):
        each.unlink()


def direct() -> None:
    """Write past the page cache, as the journal does."""
    file = STATE / "probe.direct"
    block = mmap.mmap(-1, 4096)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_DSYNC)
    os.posix_fallocate(descriptor, 0, 4096)
    os.write(descriptor, block)
    os.fdatasync(descriptor)
    os.close(descriptor)
    file.unlink()


def spawned() -> None:
    """Start a process the way multiprocessing does."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=os.getpid)
    process.start()
    process.join(30)
    demand(process.exitcode == 0, process.exitcode)


def child() -> None:
    """Start Python as rule workers are started, with a pipe of shared memory."""
    shared = os.memfd_create("probe")
    done = subprocess.run([sys.executable, "-c", "import os; os.nice(5)"], pass_fds=(shared,), check=False)
    demand(done.returncode == 0, done.returncode)


FORBIDDEN: dict[str, Callable[[], object]] = {
    "ProtectSystem": lambda: Path("/usr/probe").touch(),
    "ProtectSystem, of our own config": lambda: Path("/etc/edge-gateway/credentials/probe").touch(),
    "ProtectHome": lambda: demand(Path("/home/anna/diary").exists()),
    "PrivateTmp": lambda: demand(Path("/tmp/of-others").exists()),
    "ProtectProc": lambda: demand(Path("/proc/1/stat").exists()),
    "ProtectKernelTunables": lambda: Path("/proc/sys/vm/swappiness").write_text("1"),
    "ProtectKernelModules": lambda: call("syscall", 105 if ARM else 175, 0, 0, 0),
    "ProtectKernelLogs": lambda: call("klogctl", 10, None, 0),
    "ProtectControlGroups": lambda: Path("/sys/fs/cgroup/probe").mkdir(),
    "ProtectHostname": lambda: call("sethostname", b"probe", 5),
    "NoExecPaths": executed_elsewhere,
    "DevicePolicy": lambda: os.close(os.open("/dev/net/tun", os.O_RDWR)),
    "NoNewPrivileges": lambda: demand(status("NoNewPrivs") == "0"),
    "CapabilityBoundingSet": lambda: demand(int(status("CapBnd"), 16) != 0),
    "RestrictSUIDSGID": suid,
    "RestrictRealtime": lambda: os.sched_setscheduler(0, SCHED_FIFO, os.sched_param(1)),
    "RestrictNamespaces": lambda: call("unshare", CLONE_NEWUSER),
    "LockPersonality": lambda: call("personality", PERSONALITY_32),
    "MemoryDenyWriteExecute": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "RestrictAddressFamilies": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM),
    "SystemCallFilter, privileged": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "SystemCallFilter, clock": lambda: call("clock_settime", 0, ctypes.create_string_buffer(16)),
    "SystemCallFilter, resources": lambda: os.sched_setaffinity(0, {0}),
    "SystemCallFilter, others": lambda: call("ptrace", 0, 0, 0, 0),
    "UMask": lambda: demand(os.umask(0o077) != 0o077),
    "LimitCORE": lambda: demand(resource.getrlimit(resource.RLIMIT_CORE)[1] != 0),
}
NEEDED: dict[str, Callable[[], object]] = {
    "StateDirectory": direct,
    "RuntimeDirectory": (RUNTIME / "probe").touch,
    "ConfigurationDirectory": lambda: Path("/etc/edge-gateway/gateway.toml").read_text(),
    "LoadCredential": lambda: demand(
        (Path(os.environ["CREDENTIALS_DIRECTORY"]) / "credentials_web").read_text() == "s3cret"
    ),
    "User, dialout": lambda: demand(20 in os.getgroups(), os.getgroups()),
    "AF_INET": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    "AF_INET6": lambda: socket.socket(socket.AF_INET6).close(),
    "AF_UNIX": socket.socketpair,
    "AF_NETLINK": socket.if_nameindex,
    "names": lambda: socket.getaddrinfo("localhost", 1883),
    "processes": child,
    "multiprocessing": spawned,
    "SQLite": database,
    "setpriority": lambda: os.nice(1),
    "Landlock": lambda: call("syscall", LANDLOCK_CREATE_RULESET, None, 0, 1),
    "capset": lambda: call("syscall", CAPSET, (ctypes.c_uint32 * 2)(0x20080522, 0), ctypes.create_string_buffer(24)),
    "adjtimex, reading": lambda: call("adjtimex", ctypes.create_string_buffer(256)),
    "boot id": lambda: Path("/proc/sys/kernel/random/boot_id").read_text(),
    "memory of the machine": lambda: Path("/proc/meminfo").read_text(),
    "OOMScoreAdjust, of a child": lambda: Path("/proc/self/oom_score_adj").write_text("500"),
    "time zones": lambda: Path("/usr/share/zoneinfo").exists(),
}


def attempt(what: Callable[[], object]) -> str:
    """Return how it ended: "done", or why not."""
    try:
        what()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    except (AssertionError, KeyError, ValueError, subprocess.SubprocessError, sqlite3.Error) as error:
        return f"{type(error).__name__} {error}"
    return "done"


if __name__ == "__main__":
    for kind, table in (("forbidden", FORBIDDEN), ("needed", NEEDED)):
        for name, function in table.items():
            print(json.dumps({"kind": kind, "line": name, "ended": attempt(function)}), flush=True)
