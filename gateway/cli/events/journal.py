"""`journal`: what is on the disk, read-only, whether the gateway runs or not."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.terminal.printing import say, say_json, table
from gateway.cli.verb import BAD, OK, Verbs, add, group
from gateway.quantity import size

if TYPE_CHECKING:
    from gateway.journal.inspection import Inspection


def add_verbs(verbs: Verbs) -> None:
    """Declare `journal stat` and `journal verify`."""
    words = group(verbs, "journal", "the journal on the disk: stat, verify")
    for name, title, run in (
        ("stat", "segments, records per lane, cursors and what waits behind them", stat),
        ("verify", "read every block from the medium and check its CRC; 1 when something is damaged", verify),
    ):
        examples = [f"edge-gateway journal {name}", f"edge-gateway journal {name} --folder /mnt/card/journal --json"]
        parser = add(words, name, title, run, examples=examples, json=True)
        parser.add_argument("--folder", type=Path, metavar="FOLDER", help="default: as the config says")


def stat(words: argparse.Namespace) -> int:
    """Say what the folder holds."""
    found = _inspection(words).contents()
    if words.json:
        say_json(found)
        return OK
    say(f"{found.folder}: log {found.log_id}, epoch {found.epoch}, last record {found.last_sequence:,}", "bold")
    say(f"{size(found.bytes)} in {found.segments} segments, {size(found.file_bytes)} of files")
    say()
    table(
        ["lane", "records", "first", "last"], [[each.lane, each.records, each.first, each.last] for each in found.lanes]
    )
    if found.cursors:
        say()
        table(["cursor", "at record", "waiting"], [[each.cursor, each.after, each.waiting] for each in found.cursors])
    if found.rows:
        say()
        table(["table", "rows"], list(found.rows.items()))
    return OK


def verify(words: argparse.Namespace) -> int:
    """Read every block of every segment."""
    inspection = _inspection(words)
    segments = list(inspection.verify())
    damaged = sum(segment.damaged_blocks for segment in segments)
    records = sum(segment.records for segment in segments)
    if words.json:
        say_json({"ok": not damaged, "segments": segments, "recovery": msgspec.to_builtins(inspection.recovery)})
        return BAD if damaged else OK
    for segment in segments:
        for offset, end in segment.damage:
            say(f"{segment.name}: damaged from byte {offset:,} to {end:,}", "red")
    held = (
        f"{sum(segment.blocks for segment in segments):,} blocks with {records:,} records in {len(segments)} segments"
    )
    if damaged:
        lost = sum(segment.damaged_records for segment in segments)
        say(
            f"{held} hold; {damaged:,} blocks with {lost:,} records are damaged: the gateway starts without them", "red"
        )
        return BAD
    say(f"{held} hold, none is damaged", "green")
    if not all(segment.direct for segment in segments):
        say("This file system cannot be read past its cache: what the medium itself has was not seen.", "yellow")
    return OK


def _inspection(words: argparse.Namespace) -> Inspection:
    from gateway.cli.asking.offline import inspected

    return inspected(words.config, words.folder)
