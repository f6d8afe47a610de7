"""The file systems that state and journal are on: whether they keep what they are given, and have room for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.codes.disk import DISK_REFUSES, ROOM_IS_SHORT, STATE_IS_FORGOTTEN
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.mounts import mount_of, nearest
from gateway.doctor.scene import Scene
from gateway.quantity import size

AREA = "disk"
MARGIN_BYTES = 64 << 20  # for everything else that writes there
INODES_FREE_MIN = 1000
FORGETFUL = {"tmpfs": "in memory", "ramfs": "in memory", "rootfs": "in memory", "squashfs": "read-only for ever"}
FOREIGN = {"nfs", "nfs4", "cifs", "smb3", "9p", "vboxsf", "fuse.sshfs", "virtiofs"}
WITHOUT_RIGHTS = {"vfat", "exfat", "ntfs", "ntfs3", "fuseblk"}
NO_FLUSH = {"nobarrier", "barrier=0", "fsync_mode=nobarrier", "nobarriers"}
WRITEBACK = {"data=writeback"}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one of them."""

    folder: str
    there: bool = True  # the folder itself
    kind: str = ""
    point: str = ""
    source: str = ""
    options: frozenset[str] = frozenset()
    upper: str = ""  # of an overlay: the kind of what is written to
    wanted_rw: bool = True  # /etc/fstab does not ask for read-only
    free_bytes: int = 0
    total_bytes: int = 0
    inodes_free: int | None = None  # None: this file system has no fixed number
    needed_bytes: int = 0  # the journal may still grow by
    budget_bytes: int = 0
    writable: bool = True  # for the service's user
    user: str = ""


def subjects(scene: Scene) -> list[Subject]:
    """Return the state's folder, and the journal's where it is on another file system."""
    places = dict.fromkeys([scene.places.state, scene.places.journal])
    by_device = {nearest(folder).stat().st_dev: folder for folder in reversed(places)}
    return [Subject(str(folder), folder) for folder in places if folder in by_device.values()]


def look(scene: Scene, subject: Subject) -> Facts:
    """Ask the kernel."""
    folder: Path = subject.about
    at = nearest(folder)
    mount, room = mount_of(folder, scene.roots), os.statvfs(at)
    budget = scene.config.journal.bytes_max if scene.config is not None else 0
    journal = scene.places.journal
    here = journal.is_relative_to(folder) or nearest(journal).stat().st_dev == at.stat().st_dev
    return Facts(
        folder=str(folder),
        there=at == folder.absolute(),
        kind=mount.kind if mount else "",
        point=mount.point if mount else "",
        source=mount.source if mount else "",
        options=mount.options if mount else frozenset(),
        upper=_upper(mount.options, scene) if mount and mount.kind == "overlay" else "",
        wanted_rw=not _asked_read_only(mount.point if mount else "", scene),
        free_bytes=room.f_bavail * room.f_frsize,
        total_bytes=room.f_blocks * room.f_frsize,
        inodes_free=room.f_favail if room.f_files else None,
        needed_bytes=max(0, budget - _used(journal)) if here else 0,
        budget_bytes=budget if here else 0,
        writable=not room.f_flag & os.ST_RDONLY and scene.user.may(at.stat(), 3),
        user=scene.user.name,
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether what is written there stays there, and fits."""
    where = f"{facts.folder} on {facts.kind or 'an unknown file system'} ({facts.source}, {facts.point})"
    findings = [*_keeps(facts, where), *_takes(facts, where), *_holds(facts)]
    yield from findings
    if not facts.there and not findings:
        yield ok(f"{facts.folder} is not there yet: the gateway makes it, on {facts.kind} ({facts.source})")
    elif not findings:
        grows = f", of which the journal may take {size(facts.needed_bytes)} more" if facts.needed_bytes else ""
        free = f"{size(facts.free_bytes)} of {size(facts.total_bytes)} free{grows}"
        yield ok(f"{where}: {free}", free_bytes=facts.free_bytes)


def _keeps(facts: Facts, where: str) -> Iterator[Finding]:
    real = "state of [gateway] in gateway.toml must be a folder on a real disk; see it with: findmnt -T "
    if facts.kind in FORGETFUL:
        text = f"{where} is {FORGETFUL[facts.kind]}: a power cut loses everything that was acknowledged"
        yield bad(text, real + facts.folder, STATE_IS_FORGOTTEN)
    elif facts.kind == "overlay" and facts.upper in (*FORGETFUL, ""):
        upper = f"which keeps changes in memory ({facts.upper})" if facts.upper else "whose upper layer cannot be seen"
        text = f"{where} is an overlay, {upper}: a restart may lose everything that was acknowledged"
        command = "sudo raspi-config nonint disable_overlayfs, or state on a partition of its own"
        yield (bad if facts.upper else note)(text, command, STATE_IS_FORGOTTEN)
    elif facts.kind in FOREIGN:
        text = (
            f"{where} is another machine's: whether it keeps what was flushed cannot be known, and locks may not hold"
        )
        yield note(text, real + facts.folder, STATE_IS_FORGOTTEN)
    elif facts.kind in WITHOUT_RIGHTS:
        text = f"{where} knows no owners and no journal of its own: a power cut may damage it"
        yield note(text, "mkfs.ext4 on a partition of its own", STATE_IS_FORGOTTEN)
    if weak := sorted(facts.options & NO_FLUSH):
        text = f"{where} is mounted with {', '.join(weak)}: it acknowledges flushes that were not made"
        yield bad(
            text, f"sudo mount -o remount,barrier=1 {facts.point}, and take it out of /etc/fstab", STATE_IS_FORGOTTEN
        )
    if weak := sorted(facts.options & WRITEBACK):
        text = f"{where} is mounted with {', '.join(weak)}: after a power cut files may hold old bytes"
        yield note(text, "take it out of /etc/fstab, then restart the machine", STATE_IS_FORGOTTEN)


def _takes(facts: Facts, where: str) -> Iterator[Finding]:
    if "ro" in facts.options:
        why = ": probably the kernel has found errors on it" if facts.wanted_rw else ", as /etc/fstab says"
        command = (
            f"sudo dmesg | grep -i -e {Path(facts.source).name} -e error; then: sudo mount -o remount,rw {facts.point}"
        )
        yield bad(f"{where} is mounted read-only{why}: nothing is acknowledged", command, DISK_REFUSES)
    elif facts.there and not facts.writable:
        command = f"sudo chown -R {facts.user}: {facts.folder}"
        yield bad(f"{facts.folder}: user {facts.user} may not write there", command, DISK_REFUSES)


def _holds(facts: Facts) -> Iterator[Finding]:
    short = facts.needed_bytes + MARGIN_BYTES - facts.free_bytes
    if short > 0 and facts.kind not in FORGETFUL:
        text = (
            f"{facts.point} has {size(facts.free_bytes)} free, the journal may take {size(facts.needed_bytes)} more"
            f" (bytes_max is {size(facts.budget_bytes)})"
        )
        command = f"sudo du -xh {facts.point} | sort -h | tail; or a smaller bytes_max under [journal] in gateway.toml"
        yield (bad if facts.free_bytes < MARGIN_BYTES else note)(text, command, ROOM_IS_SHORT)
    if facts.inodes_free is not None and facts.inodes_free < INODES_FREE_MIN:
        text = f"{facts.point} has room for {facts.inodes_free} files more"
        yield note(text, f"sudo du --inodes -x {facts.point} | sort -n | tail", ROOM_IS_SHORT)


def _used(journal: Path) -> int:
    try:
        return sum(file.stat().st_size for file in journal.iterdir() if file.is_file())
    except OSError:
        return 0


def _upper(options: frozenset[str], scene: Scene) -> str:
    """Return the kind of the file system an overlay writes to."""
    folder = next((each.removeprefix("upperdir=") for each in options if each.startswith("upperdir=")), "")
    mount = mount_of(Path(folder), scene.roots) if folder and Path(folder).exists() else None
    return mount.kind if mount is not None and mount.kind != "overlay" else ""


def _asked_read_only(point: str, scene: Scene) -> bool:
    try:
        lines = (scene.roots.etc / "fstab").read_text(errors="replace").splitlines()
    except OSError:
        return False
    words = [line.split() for line in lines if not line.lstrip().startswith("#")]
    return any(len(each) > 3 and each[1] == point and "ro" in each[3].split(",") for each in words)
