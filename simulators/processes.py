"""A started command with all its descendants: what it costs, and how to end it, read from /proc.

Each command runs in a session of its own, so a worker process it starts is counted with it and dies with it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

STOP_TIMEOUT_S = 60.0  # generous: a loaded machine
PORT_MIN = 10_000
PORTS_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_CHANCE = random.SystemRandom()  # two who choose at once, with the same seed, must not choose the same
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SESSION, _USER_TIME, _CHILD_SYSTEM_TIME = 3, 11, 15  # fields of /proc/PID/stat behind the command's name


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session has used since it started: CPU seconds, bytes handed to the disk, memory now and at its peak."""

    cpu_s: float
    written_bytes: int
    rss_bytes: int
    rss_peak_bytes: int


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _field(pid: int, file: str, name: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    except (OSError, ValueError):  # it ended between the listing and the read
        pass
    return 0


class Session:
    """One command and its descendants. Not a daemon's business: for rigs and benchmarks."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pipes: bool = False,
    ) -> None:
        """Start `argv`; its output is appended to `log`, except standard output with `pipes`."""
        self.log = log
        with log.open("ab") as out:
            self.process: subprocess.Popen[str] = subprocess.Popen(  # noqa: S603 - the rig's own commands
                list(argv),
                env=dict(env) if env is not None else None,
                cwd=cwd,
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else out,
                stderr=out,
                text=True,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def pids(self) -> list[int]:
        """Return the living members of the session."""
        found = []
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    stat = _stat(int(entry.name))
                except OSError:
                    continue
                if int(stat[_SESSION]) == self.pid and stat[0] != "Z":
                    found.append(int(entry.name))
        return found

    def usage(self) -> Usage:
        """Add up the living members and the children they have reaped."""
        cpu = written = rss = peak = 0
        for pid in self.pids():
            try:
                cpu += sum(map(int, _stat(pid)[_USER_TIME:_CHILD_SYSTEM_TIME]))
            except OSError:
                continue
            written += _field(pid, "io", "write_bytes:")
            rss += _field(pid, "status", "VmRSS:")
            peak += _field(pid, "status", "VmHWM:")
        return Usage(cpu / _TICKS_PER_S, written, rss * 1024, peak * 1024)

    def resident(self) -> dict[str, int]:
        """Return the memory of the living members by the names of their programs, of equal names together."""
        found: dict[str, int] = {}
        for pid in self.pids():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            found[name] = found.get(name, 0) + _field(pid, "status", "VmRSS:") * 1024
        return found

    def reset_peak(self) -> None:
        """Make the peak of memory count from now."""
        for pid in self.pids():
            try:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                continue

    def alive(self) -> bool:
        """Return whether the command itself still runs."""
        return self.process.poll() is None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """Ask it to end (SIGTERM), then end what is left of its session; return its exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
        code = self.process.poll()
        self.kill()
        return code

    def kill(self) -> None:
        """SIGKILL every member of the session, the command first, and reap it."""
        self.kill_command()
        while members := self.pids():  # a member may have forked while the list was read
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.001)
        for pipe in self._pipes():
            pipe.close()

    def kill_command(self) -> None:
        """SIGKILL the command alone and reap it; its children learn it the hard way."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def tail(self, lines: int = 20) -> str:
        """Return the end of its log, for a message to a person."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def _pipes(self) -> list[IO[str]]:
        return [pipe for pipe in (self.process.stdin, self.process.stdout) if pipe is not None]


def wait_until(condition: Callable[[], bool], timeout_s: float, step_s: float = 0.02) -> bool:
    """Poll `condition` until it holds; return False when `timeout_s` passes first."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True


def listening(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago, and that no connection is given as its own end meanwhile.

    Whoever is killed and started again leaves its port for seconds: one that the system gives to connections might be
    taken then, even by those who dial it.
    """
    try:
        end = int(PORTS_OF_CONNECTIONS.read_text().split()[0])
    except (OSError, ValueError):
        end = 32_768
    while True:
        port = _CHANCE.randrange(PORT_MIN, end) if end > 2 * PORT_MIN else 0
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            found: int = probe.getsockname()[1]
            return found


def machine_busy_s() -> float:
    """Return the busy seconds of all cores since boot: what else ran beside a measurement."""
    values = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(values) - values[3] - values[4]) / _TICKS_PER_S
