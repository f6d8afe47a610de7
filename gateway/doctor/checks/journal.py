"""The journal: whether it can be read, what is damaged in it, as much as can be read in the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.codes.disk import JOURNAL_UNUSABLE, RECORDS_DAMAGED
from gateway.doctor.check import Subject
from gateway.doctor.finding import Finding, bad, note, ok
from gateway.doctor.scene import SERVICE, Scene
from gateway.errors import ConfigError, JournalError
from gateway.quantity import size

AREA = "disk"
READ_S_MAX = 2.5  # of reading blocks; the rest is left to `journal verify`


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of it."""

    folder: str
    there: bool = True
    seen: bool = True  # we may look into it
    error: str = ""
    running: bool = False  # a gateway has it open
    records: int = 0
    bytes: int = 0
    segments: int = 0
    read: int = 0  # segments of which every block was read
    damaged_blocks: int = 0
    damaged_records: int = 0
    set_aside: int = 0  # copies in quarantine


def subjects(scene: Scene) -> list[Subject]:
    """There is one."""
    return [Subject("journal", scene.places.journal)]


def look(scene: Scene, subject: Subject) -> Facts:
    """Read the index, then blocks of the newest segments first."""
    from gateway.journal.cipher import keys_of
    from gateway.journal.inspection import Inspection
    from gateway.journal.options import JournalOptions

    folder: Path = subject.about
    facts = Facts(folder=str(folder), running=scene.status is not None)
    try:
        there = any(folder.iterdir())
    except PermissionError:
        return msgspec.structs.replace(facts, seen=False)
    except OSError:
        there = False
    if not there:
        return msgspec.structs.replace(facts, there=False)
    options = scene.config.journal if scene.config is not None else JournalOptions()
    try:
        found = Inspection(folder, align=options.align, keys=keys_of(options))
        contents = found.contents()
    except (JournalError, ConfigError, OSError) as error:
        return msgspec.structs.replace(facts, error=str(error).removeprefix(f"{folder}: "))
    damaged_blocks = damaged_records = read = 0
    end = time.monotonic() + READ_S_MAX
    for segment in found.verify():
        read += 1
        damaged_blocks += segment.damaged_blocks
        damaged_records += segment.damaged_records
        if time.monotonic() > end:
            break
    return msgspec.structs.replace(
        facts,
        records=sum(lane.records for lane in contents.lanes),
        bytes=contents.bytes,
        segments=contents.segments,
        read=read,
        damaged_blocks=damaged_blocks,
        damaged_records=damaged_records,
        set_aside=len(list((folder / "quarantine").glob("*"))),
    )


def judge(facts: Facts) -> Iterator[Finding]:
    """Say whether it holds."""
    if not facts.seen:
        yield note(f"{facts.folder}: you may not look into it", f"sudo {SERVICE} doctor disk")
    elif not facts.there:
        yield ok(f"{facts.folder}: nothing there yet")
    elif facts.error:
        yield bad(f"{facts.folder}: {facts.error}", "edge-gateway journal stat", JOURNAL_UNUSABLE)
    elif facts.damaged_blocks:
        text = (
            f"{facts.damaged_blocks:,} blocks with {facts.damaged_records:,} records are damaged; all others are read"
        )
        yield note(text, "edge-gateway journal verify", RECORDS_DAMAGED)
    else:
        part = "every block" if facts.read >= facts.segments else f"blocks of {facts.read} of {facts.segments} segments"
        aside = f"; {facts.set_aside} damaged blocks from before lie in quarantine" if facts.set_aside else ""
        rest = "" if facts.read >= facts.segments else "; all of them: edge-gateway journal verify"
        yield ok(f"{facts.records:,} records in {size(facts.bytes)}, {part} read and whole{rest}{aside}")
