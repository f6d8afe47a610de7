"""Roots of Debian, made once with the machine's own apt sources and never written to afterwards."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SUITES = ("bookworm", "trixie")
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "init-system-helpers"),
    *("python3", "tzdata", "ca-certificates", "iproute2", "procps", "mosquitto", "mosquitto-clients"),
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
UNIT = """[Unit]
Description=The script that was handed in
After=multi-user.target
ConditionPathExists=/lab/main

[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh /lab/main
"""
HOSTS = "127.0.0.1 localhost lab\n"  # the installer writes it; without it not even localhost has an address
SILENT = ("apt-daily.timer", "apt-daily-upgrade.timer", "console-getty.service", "mosquitto.service")


class LabError(Exception):
    """No machine can be made here; the text says what to do."""


def cache() -> Path:
    """Return the folder of made roots: $EDGE_GATEWAY_LAB, or one in the user's cache."""
    if named := os.environ.get("EDGE_GATEWAY_LAB"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-gateway-lab"


def root_of(suite: str) -> Path:
    """Return the root of a suite; a minute the first time."""
    recipe = hashlib.sha256(f"{PACKAGES}{UNIT}{SILENT}{HOSTS}".encode()).hexdigest()[:12]
    root = cache() / f"{suite}-{recipe}"
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at once would take it from under each other's machines
        if not (root / "lab").exists():
            _make(suite, root)
    return root


def _make(suite: str, root: Path) -> None:
    need("mmdebstrap", "mmdebstrap")
    need("systemd-nspawn", "systemd-container")
    new = Path(tempfile.mkdtemp(prefix="new-", dir=root.parent))
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(new)]
    done = subprocess.run(command, input="\n".join(sources(suite)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"mmdebstrap failed:\n{done.stderr[-1500:]}")
    (new / "etc/hostname").write_text("lab\n")
    (new / "etc/hosts").write_text(HOSTS)
    (new / "etc/machine-id").unlink(missing_ok=True)
    units = new / "etc/systemd/system"
    (units / "lab.service").write_text(UNIT)
    (units / "multi-user.target.wants").mkdir(parents=True, exist_ok=True)
    (units / "multi-user.target.wants/lab.service").symlink_to("../lab.service")
    for name in SILENT:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    new.chmod(0o755)
    (new / "lab").mkdir()
    shutil.rmtree(root, ignore_errors=True)
    new.rename(root)


def sources(suite: str) -> list[str]:
    """Return apt's lines for a suite, from wherever this machine has its own packages."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    here = release.get("VERSION_CODENAME", "").strip('"')
    asked = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[str, str] = {}
    for line in listed:
        name, _, address = line.partition(" ")
        found.setdefault(name, address)
    wanted = [(kind, found.get(f"{here}{kind}")) for kind in ("", "-updates", "-security")]
    lines = [f"deb [signed-by={KEYRING}] {address} {suite}{kind} main" for kind, address in wanted if address]
    if not lines:
        raise LabError("apt knows no packages here; type:  apt-get update")
    return lines


def need(program: str, package: str) -> None:
    """Refuse to go on without a program."""
    if shutil.which(program) is None:
        raise LabError(f"there is no {program}; type:  sudo apt-get install {package}")
