"""What dpkg knows of the package: DEBIAN/control, conffiles, md5sums and the scripts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deb.notices import MAINTAINER
from deb.tree import CONFFILES, ETC, FILES, NAME, SCRIPTS, copy, write

DEPENDS = (
    "python3 (>= 3.11), python3 (<< 3.14)",  # Debian 12 has 3.11, 13 has 3.13; the launcher refuses 3.12 in words
    "libc6 (>= 2.36)",
    "tzdata",  # [gateway] timezone names a zone
    "systemd | systemd-standalone-sysusers | systemd-sysusers",
    "init-system-helpers (>= 1.52)",
)
RECOMMENDS = ("ca-certificates",)  # mqtts:// and https:// to servers with a public certificate
# an encrypted journal, recipients that are no web hook, libraries of rules, a broker
SUGGESTS = ("python3-cryptography", "apprise", "python3-pip", "mosquitto")
DESCRIPTION = """IoT edge gateway: keeps events on the disk until the cloud has them
 Takes in events from thermostats, cameras, sensors and meters (MQTT, serial
 ports, Modbus, web hooks), runs rules at the edge and forwards the events to
 a cloud. What it has acknowledged is on the disk, and stays there until the
 cloud has it: over power cuts, restarts and days without a network.
 .
 The Python libraries that it needs are part of the package, for the Python
 of Debian 12 and of Debian 13."""


def write_control(tree: Path, architecture: str, version: str) -> None:
    """Write DEBIAN/ for a tree that has everything else."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    kilobytes = sum(-(-path.stat().st_size // 1024) for path in files) + sum(1 for p in tree.rglob("*") if p.is_dir())
    lines = [
        f"Package: {NAME}",
        f"Version: {version}",
        f"Architecture: {architecture}",
        f"Maintainer: {MAINTAINER}",
        f"Installed-Size: {kilobytes}",
        f"Depends: {', '.join(DEPENDS)}",
        f"Recommends: {', '.join(RECOMMENDS)}",
        f"Suggests: {', '.join(SUGGESTS)}",
        "Section: net",
        "Priority: optional",
        f"Description: {DESCRIPTION}",
    ]
    write(tree / "DEBIAN/control", "\n".join(lines) + "\n")
    write(tree / "DEBIAN/conffiles", "".join(f"/{ETC / name}\n" for name in CONFFILES))
    sums = (
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"  # noqa: S324 - dpkg's format
        for path in files
        if path.relative_to(tree).parts[0] != "etc"
    )
    write(tree / "DEBIAN/md5sums", "".join(sums))
    for script in SCRIPTS:
        copy(FILES / script, tree / "DEBIAN" / script, mode=0o755)
