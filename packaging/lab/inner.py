"""Process 1 of a machine's namespaces: mounts its disk and starts systemd on it (``python -m lab.inner PLAN``)."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

CALLS = "bpf adjtimex clock_adjtime landlock_create_ruleset landlock_add_rule landlock_restrict_self"  # as outside


def main(plan: dict[str, Any]) -> int:
    """Mount, boot, and wait until the machine is off."""
    folder = Path(plan["folder"])
    mount("-t", "proc", "proc", "/proc")
    mount("-t", "tmpfs", "tmpfs", "/run")
    own_cgroups()
    disk, root = folder / "disk", folder / "mounted"
    options = f"lowerdir={plan['lower']},upperdir={disk / 'upper'},workdir={disk / 'work'}"
    mount("-t", "overlay", "-o", options, "overlay", str(root))
    machine_id = root / "etc/machine-id"
    if not machine_id.exists() or len(machine_id.read_text().strip()) != 32:  # machine-id(5)
        machine_id.write_text(uuid.uuid4().hex + "\n")
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)  # it is on the disk, for when the machine is killed
    binds = [
        f"--bind-ro={plan['in']}/main:/lab/main",
        f"--bind-ro={plan['in']}:/lab/in",
        f"--bind={plan['out']}:/lab/out",
    ]
    binds += [f"--bind={ours}:{theirs}" for ours, theirs in plan["binds"].items()]
    command = [
        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only"),
        *("--private-network", f"--system-call-filter={CALLS}", f"--directory={root}", "--machine=lab", *binds),
    ]
    return subprocess.run(command, check=False).returncode


def own_cgroups() -> None:
    """Put a cgroup v2 of our own, rooted where this process is, in place of the host's."""
    while subprocess.run(["umount", "-l", "/sys/fs/cgroup"], capture_output=True, check=False).returncode == 0:
        pass
    mount("-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
    payload = Path("/sys/fs/cgroup/payload")  # systemd wants a group without processes as its root
    payload.mkdir(exist_ok=True)
    (payload / "cgroup.procs").write_text("1")


def mount(*words: str) -> None:
    """Mount, or say why not."""
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
