"""Which file system a folder is on, and which disk is behind it: from mountinfo and sysfs, proc(5), sysfs-block."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from gateway.doctor.scene import Roots, text

DEPTH_MAX = 8  # device mapper upon partition upon ...


class Mount(NamedTuple):
    """One line of mountinfo."""

    point: str
    kind: str  # ext4, overlay, tmpfs
    source: str
    options: frozenset[str]  # of the mount and of the file system


def mount_of(folder: Path, roots: Roots) -> Mount | None:
    """Return the mount a folder is on; None where that cannot be found out."""
    folder = nearest(folder).resolve()
    found = [each for each in map(_line, text(roots.proc / "self/mountinfo").splitlines()) if each is not None]
    inside = [each for each in found if folder.is_relative_to(each.point)]
    return max(reversed(inside), key=lambda each: len(each.point), default=None)


def nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there and that we may see."""
    folder = folder.absolute()
    while not seen(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def seen(path: Path) -> bool:
    """Return whether a path is there, as far as we may look."""
    try:
        return path.exists()
    except PermissionError:  # of a folder on the way
        return False


def disk_of(folder: Path, roots: Roots) -> Path | None:
    """Return the whole disk in sysfs that a folder lies on: /sys/.../mmcblk0; None where there is none."""
    device = nearest(folder).stat().st_dev
    found = roots.sys / "dev/block" / f"{os.major(device)}:{os.minor(device)}"
    if not found.exists():
        return None
    found = found.resolve()
    for _ in range(DEPTH_MAX):
        below = sorted((found / "slaves").glob("*")) if (found / "slaves").is_dir() else []
        if below:
            found = below[0].resolve()
        elif (found / "partition").exists():
            found = found.parent
        else:
            return found
    return found


def _line(line: str) -> Mount | None:
    words = line.split(" ")
    try:
        dash = words.index("-", 6)
        kind, source, outer = words[dash + 1], words[dash + 2], words[dash + 3]
    except (ValueError, IndexError):
        return None
    point = words[4].encode().decode("unicode_escape") if "\\" in words[4] else words[4]
    return Mount(point, kind, source, frozenset({*words[5].split(","), *outer.split(",")}))
