"""The disk under the journal: what it is, how worn it says it is, and how fast it is being written to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from gateway.codes.disk import CARD_IS_WORN
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.mounts import disk_of
from gateway.doctor.scene import Scene, text
from gateway.quantity import size

AREA = "disk"
SECTOR_BYTES = 512  # of /sys/block/*/stat, whatever the disk's own are
YEAR_S, DAY_S = 365 * 86_400.0, 86_400.0
CYCLES = 1000  # an SD card's cells stand about so many; half of it is left for what the card writes for itself
WRITE_SHARE = 0.5
YEARS_MIN = 3.0
UPTIME_S_MIN = 3600.0  # a shorter time says nothing about a day
LIFE_SOON, LIFE_OVER = 8, 10  # JEDEC 5.1, DEVICE_LIFE_TIME_EST: tenths of its life that are used, 11: exceeded
PRE_EOL = {2: "four fifths of its spare blocks are used up", 3: "its spare blocks are nearly used up"}  # PRE_EOL_INFO


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What sysfs says of a disk."""

    name: str = ""  # mmcblk0; empty: none behind this file system
    kind: str = ""  # SD, MMC
    model: str = ""
    made: str = ""  # "06/2021"
    life: tuple[int, ...] = ()  # tenths used, of each kind of its cells
    pre_eol: int = 0
    removable: bool = False
    rotational: bool = False
    size_bytes: int = 0
    written_bytes: int = 0  # since boot
    up_s: float = 0.0


def subjects(scene: Scene) -> list[Subject]:
    """Return the disk that the journal is on."""
    return [Subject("disk", scene.places.journal)]


def look(scene: Scene, subject: Subject) -> Facts:
    """Read sysfs."""
    disk = disk_of(subject.about, scene.roots)
    if disk is None:
        return Facts()
    device, counts = disk / "device", text(disk / "stat").split()
    return Facts(
        name=disk.name,
        kind=text(device / "type") if disk.name.startswith("mmc") else "",
        model=text(device / "name") or text(device / "model"),
        made=text(device / "date"),
        life=tuple(int(word, 16) for word in text(device / "life_time").split()),
        pre_eol=int(text(device / "pre_eol_info") or "0", 16),
        removable=text(disk / "removable") == "1",
        rotational=text(disk / "queue/rotational") == "1",
        size_bytes=int(text(disk / "size") or 0) * SECTOR_BYTES,
        written_bytes=int(counts[6]) * SECTOR_BYTES if len(counts) > 6 else 0,
        up_s=time.clock_gettime(time.CLOCK_BOOTTIME),
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say how much of its life is left, as far as it tells."""
    if not facts.name:
        yield ok("no disk of this machine is behind the journal's file system")
        return
    kind = {"SD": "SD card", "MMC": "eMMC"}.get(facts.kind, "hard disk" if facts.rotational else "disk")
    what = f"{kind} {facts.name}" + (f" {facts.model}" if facts.model else "")
    what += f" of {facts.made}" if facts.made else ""
    used = max(facts.life, default=0)
    if facts.pre_eol >= 2 or used >= LIFE_SOON:
        life = [PRE_EOL.get(facts.pre_eol, "")] + ([f"{min(used, 10) * 10} % of its life are used"] if used else [])
        over = facts.pre_eol >= 3 or used > LIFE_OVER
        text = f"{what}: {', '.join(filter(None, life))}"
        yield (bad if over else note)(text, "edge-gateway backup FILE, and get a new one", CARD_IS_WORN, life=used)
    else:
        said = f", {used * 10} % of its life used at most" if used else ""
        yield ok(f"{what}, {size(facts.size_bytes)}{said}{_pace(facts)}", life=used)
    years = _years(facts)
    if years is not None and years < YEARS_MIN:
        text = f"{what} is written to so much that it lasts some {years:.1f} years{_pace(facts)}"
        yield note(text, "sudo iotop -ao; and a larger max_delay_ms under [journal]", CARD_IS_WORN)
    if facts.removable and not facts.kind:
        yield note(f"{what} can be pulled out while it is written to")


def _pace(facts: Facts) -> str:
    if facts.up_s < UPTIME_S_MIN or not facts.written_bytes:
        return ""
    return f", {size(facts.written_bytes / facts.up_s * DAY_S)} written a day since boot"


def _years(facts: Facts) -> float | None:
    """Return how long flash lasts at the pace since boot."""
    flash = facts.kind in ("SD", "MMC") or (facts.removable and not facts.rotational)
    if not flash or facts.up_s < UPTIME_S_MIN or not facts.written_bytes or not facts.size_bytes:
        return None
    return facts.size_bytes * CYCLES * WRITE_SHARE / (facts.written_bytes / facts.up_s) / YEAR_S
