"""What a commit writes: one page for one event, wherever the blocks before it ended."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal.journal import Journal
from gateway.journal.options import MIB, PAGE_BYTES, JournalOptions

OPTIONS = JournalOptions(bytes_max=16 * MIB, segment_bytes=2 * MIB, preallocate=False)


def event(size: int, seed: int) -> Event:
    """Return an event whose data compress to about `size` bytes."""
    text = random.Random(seed).randbytes(size // 2).hex()
    return Event(source="/gw/house", type="snapshot_taken", data={"noise": text})


@pytest.mark.parametrize("size", [150, 600, 1000])
@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_small_commit_writes_one_page(tmp_path: Path, size: int, before: int) -> None:
    """Blocks of 512, 1024 and 1536 bytes never lie across two pages, whatever blocks came before them."""
    journal = Journal.open(tmp_path, OPTIONS, SystemClock())
    raws = []
    for n in range(before):
        raws.append(journal.append(event(100, n)))
        journal.commit()
    raws.append(journal.append(event(size, 99)))
    journal.commit()
    written = journal.usage()["written_bytes"]
    for n in range(64):
        raws.append(journal.append(event(size, 100 + n)))
        journal.commit()
    assert (journal.usage()["written_bytes"] - written) / 64 == PAGE_BYTES
    journal.close()
    again = Journal.open(tmp_path, OPTIONS, SystemClock())
    assert not again.recovery.unclean
    assert not again.recovery.damaged_blocks
    assert [each.raw for each in again.reader(Lane.TELEMETRY).read(0, 1000, MIB)] == raws
    again.close()
