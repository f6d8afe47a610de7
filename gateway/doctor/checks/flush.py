"""How long the disk takes to keep a block: measured on a file without a name, which is gone when it is closed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.codes.disk import DISK_IS_SLOW
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, note, ok
from gateway.doctor.mounts import disk_of, nearest
from gateway.doctor.scene import Scene

AREA = "disk"
TRIES = 6  # of BLOCK_BYTES each: less than the gateway itself writes in a second
BLOCK_BYTES = 4096
MEASURE_S_MAX = 3.0
SLOW_S, VERY_SLOW_S = 0.1, 0.5
NO_DISK_S = 30e-6  # no flash keeps a block in so little


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    folder: str
    seconds: tuple[float, ...] = ()  # of each write with fdatasync
    why_not: str = ""
    disk: str = ""


def subjects(scene: Scene) -> list[Subject]:
    """Return the journal's folder."""
    return [Subject("flush", scene.places.journal)]


def look(scene: Scene, subject: Subject) -> Facts:
    """Write some blocks to a file that has no name (O_TMPFILE), each with fdatasync."""
    folder = nearest(subject.about)
    disk = disk_of(folder, scene.roots)
    facts = Facts(folder=str(folder), disk=disk.name if disk else "")
    if not Path(subject.about).exists():
        return msgspec.structs.replace(facts, why_not=f"{subject.about} is not there yet")
    try:
        handle = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as error:
        return msgspec.structs.replace(facts, why_not=error.strerror or str(error))
    taken: list[float] = []
    try:
        while len(taken) < TRIES and sum(taken) < MEASURE_S_MAX:
            began = time.perf_counter()
            os.pwrite(handle, os.urandom(BLOCK_BYTES), len(taken) * BLOCK_BYTES)
            os.fdatasync(handle)
            taken.append(time.perf_counter() - began)
    except OSError as error:
        return msgspec.structs.replace(facts, why_not=error.strerror or str(error))
    finally:
        os.close(handle)
    return msgspec.structs.replace(facts, seconds=tuple(taken))


def judge(facts: Facts) -> Iterator[Finding]:
    """Say how long an acknowledgement waits for the disk."""
    if not facts.seconds:
        yield ok(f"not measured: {facts.why_not}")
        return
    middle, longest = statistics.median(facts.seconds), max(facts.seconds)
    times = f"{middle * 1000:.1f} ms, {longest * 1000:.1f} ms at most, of {len(facts.seconds)} tries"
    said = f"{BLOCK_BYTES // 1024} KB are kept in {times}"
    figures = {"median_s": round(middle, 6), "max_s": round(longest, 6)}
    if longest > VERY_SLOW_S or middle > SLOW_S:
        text = f"{said}: acknowledgements and alarms wait so long for {facts.disk or 'the disk'}"
        yield note(text, "sudo iotop -o shows who else writes; a worn card gets slow", DISK_IS_SLOW, **figures)
    elif middle < NO_DISK_S:
        yield note(
            f"{said}: too quick for a flush to a medium; memory, or a disk that only says so", "", None, **figures
        )
    else:
        yield ok(said, **figures)
