"""What was written is read back from the medium: mended while the cache has it, reported when not. Budget: 3 s."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.journal.segment import Entry
from simulators.disk import SimDisk
from simulators.journal import SimClock

FOLDER = Path("/sim/journal")
KIB = 1024
SMALL = JournalOptions(bytes_max=20 * 16 * KIB, segment_bytes=16 * KIB, preallocate=False, tail_bytes_max=0)


def opened(disk: SimDisk) -> Journal:
    return Journal.open(FOLDER, SMALL, SimClock(), disk)


def filled(journal: Journal) -> tuple[list[int], Entry]:
    """Commit until a segment is sealed; returns the sequences and that segment."""
    kept = []
    while len(journal.store.view.segments) < 2:
        journal.append(Event(source="/gw/house", type="x_changed", data={"pad": f"{journal.last_sequence:0600d}"}))
        journal.commit()
        kept.append(journal.last_sequence)
    return kept, journal.store.view.segments[0]


def idle(journal: Journal) -> int:
    """Do what is done while nothing is to be committed; returns how many steps that took."""
    steps = 0
    while (chore := journal.chore()) is not None:
        assert not chore.pressing
        chore()
        journal.finish(chore)
        steps += 1
    return steps


def stored(journal: Journal) -> list[int]:
    reader = journal.reader(Lane.TELEMETRY)
    found = [each.sequence for each in reader.read(0, 1 << 30, 1 << 30)]
    reader.close()
    return found


def test_a_sealed_segment_is_read_back_once() -> None:
    """All its bytes, in idle time, and nothing when nothing was sealed."""
    journal = opened(SimDisk(1))
    _, sealed = filled(journal)
    assert idle(journal) > 0
    assert journal.usage()["read_back_bytes"] == sealed.end
    assert journal.usage()["mended_blocks"] == 0
    assert idle(journal) == 0


def test_what_did_not_reach_the_medium_is_written_again_out_of_the_cache() -> None:
    """Bytes that the card lost after fdatasync are found and mended: a power cut then loses nothing."""
    disk = SimDisk(2)
    journal = opened(disk)
    kept, sealed = filled(journal)
    disk.contents(FOLDER / sealed.name)[4096:6144] = bytes(2048)  # the cache has it still
    idle(journal)
    assert journal.usage()["mended_blocks"] > 0
    assert dict(journal.table("damage")) == {}
    disk.crash()
    again = opened(disk)
    assert stored(again) == kept
    assert again.recovery.damaged_records == 0


@pytest.mark.parametrize("cached", [True, False])
def test_what_cannot_be_mended_is_reported(cached: bool) -> None:
    """When the cache has forgotten it, or the card does not take it, the records are counted as damaged."""

    class Stubborn(SimDisk):
        def fdatasync(self, handle: int) -> None:
            """Take nothing any more of what is written."""
            if self.stubborn:
                self._handles[handle].unsynced.clear()
            super().fdatasync(handle)

        stubborn = False

    disk = Stubborn(3)
    journal = opened(disk)
    kept, sealed = filled(journal)
    disk.contents(FOLDER / sealed.name)[4096:6144] = bytes(2048)
    disk.stubborn = cached
    if not cached:
        disk.rotted()
    idle(journal)
    disk.stubborn = False
    assert journal.usage()["mended_blocks"] == 0
    journal.append(Event(source="/gw/house", type="x_changed", data={}))
    journal.commit()
    lost = sum(row["records"] for row in journal.table("damage").values())
    assert lost > 0
    disk.crash()
    assert len(set(kept) - set(stored(opened(disk)))) == lost


def test_a_segment_that_was_given_up_is_nobodys_business() -> None:
    """What is used again before it was read back is not read, and is no damage."""
    journal = opened(SimDisk(4))
    filled(journal)
    for _ in range(2000):
        journal.append(Event(source="/gw/house", type="x_changed", data={"pad": f"{journal.last_sequence:0600d}"}))
        journal.commit()
    idle(journal)
    journal.commit()
    assert dict(journal.table("damage")) == {}


def test_a_disk_that_is_gone_is_read_back_later() -> None:
    """While the disk cannot be read nothing is damage; it goes on with the next segment when writes are taken."""
    disk = SimDisk(5)
    journal = opened(disk)
    filled(journal)
    disk.refuse = lambda call: errno.EIO if call in {"pread", "open"} else None
    assert idle(journal) <= 2
    disk.refuse = lambda _call: None
    while len(journal.store.view.segments) < 4:
        journal.append(Event(source="/gw/house", type="x_changed", data={"pad": f"{journal.last_sequence:0600d}"}))
        journal.commit()
    idle(journal)
    assert journal.usage()["read_back_bytes"] > 0
    assert dict(journal.table("damage")) == {}


class Indirect(SimDisk):
    """A file system without O_DIRECT."""

    def open_direct(self, path: Path) -> int:
        """Refuse."""
        raise OSError(errno.EINVAL, "invalid argument")


def test_without_direct_reads_it_says_so() -> None:
    """Where O_DIRECT is refused nothing is read back, status can say so, and verify goes through the cache."""
    disk = Indirect(6)
    journal = opened(disk)
    kept, _ = filled(journal)
    idle(journal)
    assert journal.usage()["direct"] == 0
    assert journal.usage()["read_back_bytes"] == 0
    looked = Inspection(FOLDER, disk=disk)
    segments = list(looked.verify())
    assert sum(segment.records for segment in segments) == len(kept)
    assert not any(segment.direct for segment in segments)


def test_verify_looks_past_the_cache() -> None:
    """What only the cache has is damage to `verify`, as it will be after a power cut."""
    disk = SimDisk(7)
    journal = opened(disk)
    _, sealed = filled(journal)
    assert all(segment.direct and not segment.damaged_blocks for segment in Inspection(FOLDER, disk=disk).verify())
    disk.contents(FOLDER / sealed.name)[4096:6144] = bytes(2048)
    assert sum(segment.damaged_blocks for segment in Inspection(FOLDER, disk=disk).verify()) > 0


def test_on_the_real_disk(tmp_path: Path) -> None:
    """On this machine's file system a sealed segment is read back whole, or it is said that it cannot be."""
    journal = Journal.open(tmp_path / "journal", SMALL, SystemClock())
    kept, sealed = filled(journal)
    idle(journal)
    usage = journal.usage()
    assert usage["read_back_bytes"] == (sealed.end if usage["direct"] else 0)
    assert (usage["mended_blocks"], dict(journal.table("damage"))) == (0, {})
    segments = list(Inspection(tmp_path / "journal").verify())
    assert sum(segment.records for segment in segments) == len(kept)
    assert all(segment.direct == bool(usage["direct"]) for segment in segments)
    journal.close()
