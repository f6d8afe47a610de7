"""The walls around rules: what the filter of system calls decides, what Landlock leaves open, what is granted."""

from __future__ import annotations

import errno
import json
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.rules.options import RuleOptions
from gateway.rules.walls import landlock, seccomp, syscalls
from gateway.rules.walls.enforced import GRANTED, HOOK
from gateway.rules.walls.fence import fenced

PID = 4711
EPERM, ENOSYS = seccomp.ERRNO | errno.EPERM, seccomp.ERRNO | errno.ENOSYS
MACHINES = sorted(seccomp.MACHINES)


def decided(name: str, call: int, arguments: Sequence[int] = (), permitted: Sequence[str] = (), audit: int = 0) -> int:
    """Run a filter over one system call, as the kernel does."""
    machine = seccomp.MACHINES[name]
    data = struct.pack("<IIQ6Q", call, audit or machine.audit, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    code = list(struct.iter_unpack("=HBBI", seccomp.program(machine, PID, permitted)))
    at = value = 0
    while True:
        what, yes, no, k = code[at]
        at += 1
        if what == seccomp.RETURN:
            return int(k)
        if what == seccomp.LOAD:
            (value,) = struct.unpack_from("<I", data, k)
            continue
        true = {
            seccomp.EQUAL: value == k,
            seccomp.GREATER_OR_EQUAL: value >= k,
            seccomp.ANY_BIT: bool(value & k),
        }[what]
        at += yes if true else no


def number(table: syscalls.Numbers, name: str, machine: str) -> int:
    """Return the number of a call on a machine."""
    found = table[name][seccomp.MACHINES[machine].column]
    assert found is not None
    return found


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_refuses_what_no_rule_needs(machine: str) -> None:
    """Programs, sockets, foreign memory, kernel and files to write are refused; using open ones is not."""
    for table in (
        syscalls.PROCESSES,
        syscalls.OTHERS,
        syscalls.SOCKETS,
        syscalls.KERNEL,
        syscalls.SELF,
        syscalls.WRITES,
    ):
        for pair in table.values():
            call = pair[seccomp.MACHINES[machine].column]
            assert call is None or decided(machine, call) == EPERM
    for call in {"x86_64": (0, 1, 3, 9, 44, 45, 202), "aarch64": (63, 64, 57, 222, 206, 207, 98)}[machine]:
        assert decided(machine, call) == seccomp.ALLOW
    assert decided(machine, number(syscalls.ABSENT, "clone3", machine)) == ENOSYS
    assert decided(machine, syscalls.NEWEST + 1) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_looks_at_arguments(machine: str) -> None:
    """Files are opened to read, signals go to the process itself, limits are only looked at, no thread starts."""
    at = {
        name: number(syscalls.JUDGED, name, machine)
        for name in ("openat", "kill", "prlimit64", "clone", "prctl", "ioctl")
    }
    assert decided(machine, at["openat"], (0, 0, os.O_RDONLY | os.O_CLOEXEC)) == seccomp.ALLOW
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC):
        assert decided(machine, at["openat"], (0, 0, flags)) == EPERM
        assert decided(machine, at["openat"], (0, 0, flags), ["write"]) == seccomp.ALLOW
    assert decided(machine, at["kill"], (PID, 9)) == seccomp.ALLOW
    assert decided(machine, at["kill"], (1, 9)) == EPERM
    assert decided(machine, at["kill"], (2**32 - 1, 9)) == EPERM
    assert decided(machine, at["prlimit64"], (0, 7, 0, 1)) == seccomp.ALLOW
    assert decided(machine, at["prlimit64"], (0, 7, 1 << 40, 1)) == EPERM
    assert decided(machine, at["clone"], (seccomp.CLONE_THREAD,)) == EPERM
    assert decided(machine, at["clone"], (seccomp.CLONE_THREAD,), ["threads"]) == seccomp.ALLOW
    assert decided(machine, at["clone"], (17,), ["threads"]) == EPERM
    assert decided(machine, at["prctl"], (15,)) == seccomp.ALLOW
    assert decided(machine, at["prctl"], (4,)) == EPERM
    assert decided(machine, at["ioctl"], (0, 0x5412)) == EPERM
    assert decided(machine, at["ioctl"], (0, 0x5401)) == seccomp.ALLOW


def test_the_filter_ends_who_calls_as_another_machine() -> None:
    """A call of a foreign machine, or of the x32 ABI, ends the process."""
    assert decided("x86_64", 1, audit=seccomp.MACHINES["aarch64"].audit) == seccomp.KILL
    assert decided("x86_64", syscalls.X32 | 1) == seccomp.KILL


def test_numbers_are_this_machines_own() -> None:
    """The table has the numbers that this machine's kernel uses: what it says of one call is that call's."""
    machine = platform.machine()
    assert machine in seccomp.MACHINES
    kill = number(syscalls.JUDGED, "kill", machine)
    script = f"import ctypes, os; print(ctypes.CDLL(None).syscall({kill}, os.getpid(), 0))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "0\n"


PROBE = """
import json, os, sys
from gateway.rules.walls import sandbox
folder, secret, grants = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
proc = "read:/proc" in grants.get("", ())
enforced, fence = sandbox.enter(folder, 1 << 28, grants)
fence.active = sys.argv[4] == "hook"
def tried(what):
    try:
        return what() and "done"
    except OSError as error:
        return type(error).__name__
print(json.dumps({
    "by": enforced.by, "line": enforced.line(), "landlock": enforced.landlock, "seccomp": enforced.seccomp,
    "own": tried(lambda: open(folder + "/data.txt").read()),
    "secret": tried(lambda: open(secret + "/secret.txt").read()),
    "write": tried(lambda: open(secret + "/new.txt", "w").write("x")),
    "socket": tried(lambda: __import__("socket").socket()),
    "fork": tried(lambda: os.fork() or os._exit(0)),
    "caps": next(l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")) if proc else "",
}))
"""


def inside(folder: Path, grants: dict[str, list[str]], hook: str = "no") -> dict[str, Any]:
    """Put up the walls in a process of its own and try what they keep out."""
    rules, secret = folder / "rules", folder / "secret"
    rules.mkdir()
    secret.mkdir()
    (rules / "data.txt").write_text("mine")
    (secret / "secret.txt").write_text("password")
    command = [sys.executable, "-c", PROBE, str(rules), str(secret), json.dumps(grants), hook]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_kernel_keeps_rules_in(tmp_path: Path) -> None:
    """Without the hook, too: only what is beside the rules can be read, nothing is written, sent or forked."""
    found = inside(tmp_path, {"": ["read:/proc"]})
    assert found["own"] == "done"
    assert found["secret"] == ("PermissionError" if landlock.abi() else "done"), found["line"]
    assert found["write"] == found["socket"] == found["fork"] == "PermissionError"
    assert int(found["caps"], 16) == 0
    assert found["seccomp"]
    assert HOOK not in [who for what, who in found["by"].items() if what != "reading files"]


def test_grants_open_what_they_name(tmp_path: Path) -> None:
    """A folder that is granted can be read and written, a network has sockets; the rest stays shut, and it is said."""
    found = inside(tmp_path, {"": ["network"], "bath.py": [f"write:{tmp_path}/secret"]})
    assert found["socket"] == found["write"] == found["secret"] == "done"
    assert found["fork"] == "PermissionError"
    assert found["by"]["the network"] == GRANTED
    assert f"write:{tmp_path}/secret to bath.py" in found["line"]


def test_the_hook_tells_files_apart(tmp_path: Path) -> None:
    """What is granted to one file is refused to the others by the hook, though the process may."""
    found = inside(tmp_path, {"bath.py": ["network", f"write:{tmp_path}/secret"]}, "hook")
    assert found["socket"] == found["write"] == "PermissionError"


def test_without_landlock_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has no Landlock nothing breaks, and what is missing is named."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    walls = landlock.restrict([landlock.Allowed(str(tmp_path), landlock.READ)])
    assert not walls.files
    assert "no Landlock" in walls.why


@pytest.mark.parametrize("word", ["netwrok", "read", "write:relative", "read:"])
def test_a_grant_that_grants_nothing_is_a_fault(word: str) -> None:
    """A misspelt grant, or one without a whole path, is refused with what was probably meant."""
    with pytest.raises((ValueError, GatewayError), match="grant"):
        RuleOptions(grant=(word,))


def test_the_fence_on_the_desk_is_only_there_for_rules(tmp_path: Path) -> None:
    """Who tests rules on a desk gets the same refusals while rules run, and none before and after."""
    (tmp_path / "out.txt").write_text("before")
    with fenced(tmp_path):
        with pytest.raises(PermissionError, match=r"ctx\.state"):
            (tmp_path / "out.txt").write_text("during")
        with pytest.raises(PermissionError, match=r"starts no process"):
            os.system("true")
    (tmp_path / "out.txt").write_text("after")
    assert (tmp_path / "out.txt").read_text() == "after"
