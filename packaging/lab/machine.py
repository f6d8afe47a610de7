"""One machine: its disk, and boots of it that run a script and hand back what came of it.

::

    machine = Machine("trixie", tmp_path)
    boot = machine.boot("dpkg -i edge-gateway_*.deb; edge-gateway status", files=[deb])
    boot.code, boot.console, boot.journal

The disk is an overlay above a root that is never written: what a boot leaves, the next one of the same machine finds.
systemd is process 1 of its own namespaces (pid, mount, cgroup, network); the network has loopback only. Needs root and
cgroup v2. Limits of memory and tasks hold only where the host has those controllers in cgroup v2.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.roots import LabError, need, root_of

LIMIT_S = 300.0
JOURNAL_ENTRIES_MAX = 1_000_000
MAIN = """exec >>/lab/out/console.log 2>&1 </dev/null
HOME=$(getent passwd 0 | cut -d: -f6)
export HOME PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
export LANG=C.UTF-8
cd /lab/in && bash ./script
echo $? >/lab/out/code
journalctl --sync
journalctl -b -o json --no-pager >/lab/out/journal.json
journalctl -b -o short-precise --no-pager >/lab/out/journal.txt
sync
systemctl poweroff --no-block
"""


@dataclass(frozen=True)
class Boot:
    """What a boot left: the script's exit code (None: it did not come to its end), console and journal."""

    code: int | None
    folder: Path

    @property
    def console(self) -> str:
        """What the script printed."""
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def journal(self) -> list[dict[str, Any]]:
        """The system's journal of this boot, all fields."""
        path = self.folder / "journal.json"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(errors="replace").splitlines()[:JOURNAL_ENTRIES_MAX]]

    def of_unit(self, unit: str = "edge-gateway.service") -> list[dict[str, Any]]:
        """Return the journal's entries by or about a unit."""
        return [entry for entry in self.journal if unit in (entry.get("_SYSTEMD_UNIT"), entry.get("UNIT"))]

    def file(self, name: str) -> str:
        """Return a file that the script left in /lab/out."""
        return (self.folder / name).read_text()


class Machine:
    """A disk above a suite's root."""

    def __init__(self, suite: str, folder: Path) -> None:
        if os.geteuid() != 0:
            raise LabError("booting a machine needs root")
        need("unshare", "util-linux")
        self.root = root_of(suite)
        self.folder = folder
        self.boots = 0
        for name in ("disk/upper", "disk/work", "mounted"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def boot(
        self,
        script: str,
        files: Iterable[Path] = (),
        *,
        binds: Mapping[Path, str] | None = None,
        limit_s: float = LIMIT_S,
    ) -> Boot:
        """Boot, run a script as root in a folder with `files`, power off; `binds` puts paths of ours into it."""
        self.boots += 1
        handed, out = self.folder / f"in-{self.boots}", self.folder / f"boot-{self.boots}"
        handed.mkdir()
        out.mkdir()
        (handed / "script").write_text(script)
        for file in files:
            shutil.copy(file, handed / file.name)
        (handed / "main").write_text(MAIN)
        plan = {
            "lower": str(self.root),
            "folder": str(self.folder),
            "in": str(handed),
            "out": str(out),
            "binds": {str(ours): theirs for ours, theirs in (binds or {}).items()},
        }
        ended = self._run(plan, out / "boot.log", limit_s)
        code = out / "code"
        if code.exists():
            return Boot(int(code.read_text()), out)
        self._rescue(out)
        (out / "boot.log").open("a").write("out of time\n" if not ended else "ended before the script did\n")
        return Boot(None, out)

    def discard(self) -> None:
        """Delete the disk; what the boots left stays."""
        for name in ("disk", "mounted"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _run(self, plan: dict[str, Any], log: Path, limit_s: float) -> bool:
        """Have a process in its own namespaces boot the disk; False when it did not end in time."""
        group = cgroups() / f"edge-gateway-lab-{uuid.uuid4().hex[:12]}"
        group.mkdir()
        inner = [sys.executable, "-m", "lab.inner", json.dumps(plan)]
        isolated = ["unshare", "--mount", "--pid", "--cgroup", "--fork", "--kill-child", "--propagation", "private"]
        enter = ["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', str(group), *isolated, *inner]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                enter, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment, start_new_session=True
            )
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return False
            else:
                return True
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)  # and with its first child the whole namespace
                    process.wait()
                _remove(group)

    def _rescue(self, out: Path) -> None:
        """Read the journal from the disk of a machine that did not hand it over."""
        stored = self.folder / "disk/upper/var/log/journal"
        if stored.is_dir() and not (out / "journal.json").exists():
            with (out / "journal.json").open("wb") as stream:
                command = ["journalctl", "-D", str(stored), "-o", "json", "--no-pager"]
                subprocess.run(command, stdout=stream, stderr=subprocess.DEVNULL, check=False)


def cgroups() -> Path:
    """Return where cgroup v2 is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise LabError("no cgroup v2 is mounted; type:  mount -t cgroup2 none /sys/fs/cgroup")


def _remove(group: Path) -> None:
    for path, _, _ in os.walk(group, topdown=False):
        try:
            Path(path).rmdir()
        except OSError:
            continue  # its last process is still ending; an empty group costs nothing
