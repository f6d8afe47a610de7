"""The clock: is it right, who sees to that, and is it behind what was written already."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.clock import rfc3339
from gateway.codes.clock import CLOCK_UNSYNCED
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import Scene, text
from gateway.quantity import duration

AREA = "clock"
DISCIPLINES = {
    "systemd-timesyn": "systemd-timesyncd",  # as /proc cuts it
    "chronyd": "chrony",
    "ntpd": "ntpd",
    "ntpd-rs": "ntpd-rs",
    "ptp4l": "ptp4l",
}
BEHIND_S_MAX = 60.0  # the newest file may be so far ahead of the clock
PPM_MAX = 490.0  # adjtimex(2) corrects 500 at most
STA_UNSYNC = 0x0040


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the clock."""

    now_s: float
    synced: bool
    by: tuple[str, ...] = ()  # programs that discipline it
    chip: str = ""  # name of the real time clock, "" for none
    trusted: bool = False  # the config says it is right
    ppm: float | None = None  # the kernel's correction of its frequency
    newest_s: float | None = None  # when the newest file of the journal was written
    gateway_synced: bool | None = None  # what the running gateway thinks


def subjects(_scene: Scene) -> list[Subject]:
    """There is one clock."""
    return [Subject("clock")]


def look(scene: Scene, _subject: Subject) -> Facts:
    """Ask the kernel, the programs and the journal's files."""
    synced, ppm = _kernel()
    synced = synced or (scene.roots.run / "systemd/timesync/synchronized").exists()
    chips = sorted((scene.roots.sys / "class/rtc").glob("rtc*"))
    return Facts(
        now_s=time.time(),
        synced=synced,
        by=tuple(sorted(DISCIPLINES[name] for name in scene.processes(*DISCIPLINES))),
        chip=text(chips[0] / "name") if chips else "",
        trusted=scene.config is not None and scene.config.gateway.trust_clock,
        ppm=ppm,
        newest_s=_newest(scene.places.journal),
        gateway_synced=scene.status.clock_synced if scene.status is not None else None,
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether times can be believed."""
    now = rfc3339(int(facts.now_s * 1e9))
    chip = f"clock chip {facts.chip}" if facts.chip else "no clock chip"
    if facts.newest_s is not None and facts.newest_s - facts.now_s > BEHIND_S_MAX:
        behind = duration(facts.newest_s - facts.now_s)
        text = f"the clock is wrong: it says {now}, and the journal's newest file is {behind} younger ({chip})"
        yield bad(text, "sudo timedatectl set-ntp true; timedatectl", CLOCK_UNSYNCED)
        return
    who = " and ".join(facts.by)
    if facts.synced:
        yield ok(f"{now}, synchronised by {who or 'a program that is not known here'}; {chip}")
    elif facts.trusted:
        yield ok(f"{now}, not synchronised, but the config trusts it (trust_clock); {chip}")
    elif who:
        text = f"{now}, not synchronised yet: {who} runs and has not reached a time server; {chip}"
        command = "chronyc sources" if "chrony" in who else "timedatectl timesync-status"
        yield note(text, command, CLOCK_UNSYNCED)
    else:
        text = f"{now}, and nobody synchronises it: events are marked `clock: unsynced`; {chip}"
        yield note(text, "sudo apt install systemd-timesyncd && sudo timedatectl set-ntp true", CLOCK_UNSYNCED)
    if len(facts.by) > 1:
        yield note(f"{who} both discipline the clock and pull at it", "systemctl disable --now systemd-timesyncd")
    if facts.ppm is not None and abs(facts.ppm) > PPM_MAX:
        yield note(
            f"the clock runs {facts.ppm:+.0f} ppm wrong, the most that is corrected: it will drift", "timedatectl"
        )


def _kernel() -> tuple[bool, float | None]:
    """Ask adjtimex(2) whether somebody disciplines the clock, and by how much its frequency is corrected."""
    timex = ctypes.create_string_buffer(256)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return False, None
    wide = ctypes.sizeof(ctypes.c_long) == 8
    frequency = ctypes.c_long.from_buffer(timex, 16 if wide else 8).value
    status = ctypes.c_int.from_buffer(timex, 40 if wide else 20).value
    return state >= 0 and not status & STA_UNSYNC, frequency / 65_536


def _newest(folder: Path) -> float | None:
    """Return when the newest file of a folder was written."""
    try:
        return max((file.stat().st_mtime for file in folder.iterdir()), default=None)
    except OSError:
        return None
