"""What every check may look at: the config, the running gateway's answers, the machine. Checks change none of it."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.api.status import Status
    from gateway.config.load import Config
    from gateway.config.places import Places

LOOK_S_MAX: Final = 5.0  # for one look; what takes longer is given up and said so
NET_S_MAX: Final = 3.5  # for one exchange over the network, so that its words come in time
RUN_S_MAX: Final = 2.5  # for a program that is asked
OUTPUT_CHARS_MAX: Final = 64 * 1024
SERVICE: Final = "edge-gateway"  # unit, user and group


@dataclass(frozen=True)
class User:
    """Who the gateway is, or will be, when it runs."""

    name: str
    uid: int
    groups: frozenset[int]
    running: bool = False  # read from the process that runs
    ourselves: bool = False  # it is who asks now

    def may(self, entry: os.stat_result, bits: int) -> bool:
        """Return whether the mode of a file lets this user do something: `bits` of 4 read, 2 write, 1 enter."""
        if self.uid == 0:
            return True
        shift = 6 if entry.st_uid == self.uid else 3 if entry.st_gid in self.groups else 0
        return entry.st_mode >> shift & bits == bits


@dataclass(frozen=True)
class Roots:
    """Where the machine shows itself; tests show another one."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    run: Path = Path("/run")
    etc: Path = Path("/etc")
    dev: Path = Path("/dev")


@dataclass(frozen=True)
class Scene:
    """Everything that is known before the first check."""

    file: Path
    config: Config | None  # with defaults where a fault is; None: none could be read
    places: Places
    status: Status | None  # None: no gateway answers
    why_no_status: str = ""
    faults: tuple[str, ...] = ()  # of the config itself; profiles and rules may have more
    values: Mapping[str, dict[str, Any]] | None = None  # devices heard; None: nobody could be asked
    user: User = field(default_factory=lambda: myself())  # noqa: PLW0108 - it is defined below
    probe: bool = False  # may publish on topics of its own
    roots: Roots = Roots()

    def run(self, *command: str, seconds: float = RUN_S_MAX) -> str | None:
        """Run a program that changes nothing, and return what it prints; None when it is not there or fails."""
        try:
            done = subprocess.run(  # noqa: S603 - fixed words of ours
                command, capture_output=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.decode(errors="replace")[:OUTPUT_CHARS_MAX] if done.returncode == 0 else None

    def environment(self) -> dict[str, str] | None:
        """Return the variables of the gateway that runs; None when none runs, or when they are not for who asks."""
        if self.status is None:
            return None
        try:
            raw = (self.roots.proc / str(self.status.pid) / "environ").read_bytes()
        except OSError:
            return None
        said = (each.decode("utf-8", "surrogateescape").partition("=") for each in raw.split(b"\0"))
        return {name: value for name, _, value in said}

    def processes(self, *names: str) -> dict[str, int]:
        """Return which of these programs run: name -> a process id."""
        found: dict[str, int] = {}
        for comm in self.roots.proc.glob("[0-9]*/comm"):
            name = text(comm)
            if name in names:
                found[name] = int(comm.parent.name)
        return found


def text(path: Path) -> str:
    """Read a small file of the kernel; "" when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(OUTPUT_CHARS_MAX).decode(errors="replace").strip()
    except OSError:
        return ""


def pairs(lines: str, separator: str = "=") -> dict[str, str]:
    """Read lines of ``key=value``."""
    found = (line.partition(separator) for line in lines.splitlines())
    return {key.strip(): value.strip() for key, split, value in found if split}


def myself() -> User:
    """Return who asks."""
    uid = os.geteuid()
    return User(_name(uid), uid, frozenset({os.getegid(), *os.getgroups()}), ourselves=True)


def user_of(pid: int | None, proc: Path = Path("/proc"), names: Sequence[str] = (SERVICE,)) -> User:
    """Return whose rights count: those of the process that runs, else the service's user, else ours."""
    if pid is not None:
        said = pairs(text(proc / str(pid) / "status"), ":")
        if "Uid" in said and "Gid" in said:
            uid = int(said["Uid"].split()[1])
            groups = {int(said["Gid"].split()[1]), *map(int, said.get("Groups", "").split())}
            return User(_name(uid), uid, frozenset(groups), running=True, ourselves=uid == os.geteuid())
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        groups = set(os.getgrouplist(name, entry.pw_gid))
        return User(name, entry.pw_uid, frozenset(groups), ourselves=entry.pw_uid == os.geteuid())
    return myself()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
