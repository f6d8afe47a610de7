"""A mount that vanishes and comes back, sectors that cannot be read, a disk that is gone. Budget: 5 s."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import DiskRefused, JournalError
from gateway.event import Event, Lane
from gateway.journal.journal import Journal
from gateway.journal.merged import Merged
from gateway.journal.options import JournalOptions
from simulators.disk import SECTOR, SimDisk
from simulators.journal import SimClock

FOLDER = Path("/sim/journal")
KIB = 1024
SMALL = JournalOptions(bytes_max=20 * 16 * KIB, segment_bytes=16 * KIB, preallocate=False, tail_bytes_max=0)
PAGE = 4096


class Sectors(SimDisk):
    """A disk with pages that cannot be read, and one that can be read not at all."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.bad: set[tuple[str, int]] = set()  # (file, page)
        self.deaf = False

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """Read what can be read."""
        self._readable(handle, length, offset)
        return super().pread(handle, length, offset)

    def pread_direct(self, handle: int, length: int, offset: int) -> bytes:
        """Read what can be read."""
        self._readable(handle, length, offset)
        return super().pread_direct(handle, length, offset)

    def _readable(self, handle: int, length: int, offset: int) -> None:
        name = next((Path(name).name for name, file in self._files.items() if file is self._handles[handle]), "")
        pages = range(offset // PAGE, (offset + length - 1) // PAGE + 1)
        if self.deaf or any((name, page) in self.bad for page in pages):
            raise OSError(errno.EIO, "input/output error")


def opened(disk: SimDisk) -> Journal:
    return Journal.open(FOLDER, SMALL, SimClock(), disk)


def append(journal: Journal, count: int = 1, lane: str = "telemetry") -> list[int]:
    """Commit events one by one; returns their sequences."""
    found = []
    for _ in range(count):
        data = {"pad": f"{journal.last_sequence * 7919:0600d}"}
        journal.append(Event(source="/gw/house", type="x_changed", lane=lane, data=data))  # type: ignore[arg-type]
        journal.commit()
        found.append(journal.last_sequence)
    return found


def do_chores(journal: Journal) -> None:
    """Do whatever is to be done between commits."""
    while chore := journal.chore():
        try:
            chore()
        finally:
            journal.finish(chore)


def stored(journal: Journal, lane: Lane = Lane.TELEMETRY) -> list[int]:
    reader = journal.reader(lane)
    found = [each.sequence for each in reader.read(0, 1 << 30, 1 << 30)]
    reader.close()
    return found


# -- the mount -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("torn", "other"), [(False, False), (True, False), (True, True)])
def test_a_mount_that_comes_back_is_gone_on_with(torn: bool, other: bool) -> None:
    """While it is away nothing is written, anywhere; the same journal on the same or a new mount takes it up again."""
    disk = SimDisk(1)
    journal = opened(disk)
    kept = append(journal, 30)
    disk.unmount(torn=torn)
    files = disk.names(FOLDER), dict(disk._files)
    journal.append(Event(source="/gw/house", type="x_changed", data={}))
    for _ in range(3):
        with pytest.raises(DiskRefused, match="is its file system mounted"):
            journal.commit()
    assert journal.read_only
    assert (disk.names(FOLDER), disk._files) == files
    disk.mount(other=other)
    journal.commit()
    assert not journal.read_only
    with pytest.raises(JournalError, match="another gateway has the journal"):
        opened(disk)
    kept += [kept[-1] + 1, *append(journal, 30)]
    assert stored(journal) == kept
    disk.crash()
    assert stored(opened(disk)) == kept


def test_another_file_system_in_its_place_is_left_alone() -> None:
    """A card with another journal, or an older copy of this one, is not written to; the right one is gone on with."""
    disk = SimDisk(3)
    journal = opened(disk)
    kept = append(journal, 5)
    old = {name: disk.image(Path(name)) for name in disk._files}
    kept += append(journal, 5)
    new = {name: disk.image(Path(name)) for name in disk._files}
    disk.unmount(torn=True)
    for name, content in old.items():
        disk.add(Path(name), content)
    disk.mount(other=True)
    journal.append(Event(source="/gw/house", type="x_changed", data={}))
    with pytest.raises(DiskRefused, match="does not hold what was written last"):
        journal.commit()
    assert {name: disk.image(Path(name)) for name in disk._files} == old
    for name, content in new.items():
        disk.add(Path(name), content)
    journal.commit()
    assert stored(journal) == [*kept, kept[-1] + 1]


def test_a_journal_that_another_gateway_has_gone_on_with_is_left_alone() -> None:
    """A mount comes back after somebody else wrote to it: this gateway refuses for good and writes nothing."""
    disk = SimDisk(4)
    journal = opened(disk)
    append(journal, 3)
    disk.unmount(torn=True)
    disk.mount(other=True)
    second = opened(disk)
    append(second, 3)
    second.close()
    before = {name: disk.image(Path(name)) for name in disk._files}
    journal.append(Event(source="/gw/house", type="x_changed", data={}))
    with pytest.raises(DiskRefused, match="another gateway has gone on"):
        journal.commit()
    assert {name: disk.image(Path(name)) for name in disk._files} == before


def test_zeros_ahead_of_use_do_not_go_elsewhere() -> None:
    """The chore that prepares segments stops while the mount is away."""
    disk = SimDisk(5)
    journal = Journal.open(FOLDER, JournalOptions(bytes_max=20 * 16 * KIB, segment_bytes=16 * KIB), SimClock(), disk)
    append(journal)
    disk.unmount()
    files = dict(disk._files)
    with pytest.raises(OSError, match="is its file system mounted"):
        do_chores(journal)
    assert disk._files == files


def test_what_comes_after_the_segment_in_use_was_deleted_is_kept() -> None:
    """Found by damage to an open journal: nothing is acknowledged into a file that has no name any more."""
    disk = SimDisk(13)
    journal = opened(disk)
    before = append(journal, 3)
    disk.remove(FOLDER / journal.store.view.segments[-1].name)
    after = append(journal, 3)
    assert stored(journal) == after
    journal.commit()
    assert sum(row["records"] for row in journal.table("damage").values()) == len(before)
    disk.crash()
    assert stored(opened(disk)) == after


def test_a_deleted_segment_does_not_stop_eviction() -> None:
    """Found by damage to an open journal: a full ring gives up a segment whose file is gone, and counts its records."""
    disk = SimDisk(14)
    journal = opened(disk)
    for lane in ("alarm", "telemetry"):
        journal.put("cursors", f"route:cloud:{lane}", {"after": 0, "done": []})
    append(journal, 60)
    gone = journal.store.view.segments[0]
    disk.remove(FOLDER / gone.name)
    alarms = append(journal, 3, "alarm")
    append(journal, 1000)
    assert stored(journal, Lane.ALARM) == alarms
    assert sum(row["records"] for row in journal.table("damage").values()) == gone.last - gone.first + 1


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", ["deaf", "unmounted"])
def test_a_disk_that_is_gone_is_not_damage(gone: str) -> None:
    """Reading waits: nothing is skipped, set aside or counted as lost, and all of it is there when the disk is."""
    disk = Sectors(6)
    journal = opened(disk)
    kept = append(journal, 40)
    merged = Merged(journal, [Lane.TELEMETRY])
    if gone == "deaf":
        disk.deaf = True
    else:
        disk.unmount(torn=True)
    with pytest.raises(DiskRefused, match="cannot be read"):
        stored(journal)
    assert merged.read(0, 100) == ((), 0)
    assert 0 < journal.count(Lane.TELEMETRY, 3) <= 40, "a person who asks gets an estimate"
    disk.deaf = False
    disk.mount(other=gone == "unmounted")
    append(journal)
    assert stored(journal) == [*kept, kept[-1] + 1]
    assert len(merged.read(0, 100)[0]) == 41
    assert dict(journal.table("damage")) == {}


def test_a_reader_with_files_open_goes_on_with_the_new_mount() -> None:
    """A reader that was in the middle of a segment opens it anew."""
    disk = SimDisk(7)
    journal = opened(disk)
    kept = append(journal, 40)
    reader = journal.reader(Lane.TELEMETRY)
    assert [each.sequence for each in reader.read(0, 5, 1 << 20)] == kept[:5]
    disk.unmount(torn=True)
    disk.mount(other=True)
    append(journal)
    assert [each.sequence for each in reader.read(5, 100, 1 << 20)] == [*kept[5:], kept[-1] + 1]


def test_an_unreadable_sector_costs_the_blocks_in_it() -> None:
    """While running: what lies in the page is damage, all around it is read."""
    disk = Sectors(8)
    journal = opened(disk)
    kept = append(journal, 40)
    first = journal.store.view.segments[0]
    disk.bad.add((first.name, 1))
    found = stored(journal)
    append(journal)
    rows = journal.table("damage").values()
    assert 0 < len(found) < 40
    assert found == [each for each in kept if each in found]
    assert sum(row["records"] for row in rows) == 40 - len(found)


def test_a_start_goes_around_an_unreadable_sector() -> None:
    """In the newest segment: the start is not refused, the blocks in that page are counted, all others are there."""
    disk = Sectors(9)
    journal = opened(disk)
    kept = append(journal, 40)
    while (newest := journal.store.view.segments[-1]).end < 3 * PAGE:
        kept += append(journal)
    disk.crash()
    for page in (0, 1):
        disk.bad = {(newest.name, page)}
        again = opened(disk)
        found = stored(again)
        assert again.recovery.damaged_records + again.recovery.missing_records == len(kept) - len(found) > 0
        assert found == [each for each in kept if each in found]
        assert found[-1] == kept[-1]
        disk.kill()


def test_a_start_on_a_disk_that_cannot_be_read_is_refused_and_changes_nothing() -> None:
    """With every segment unreadable a new log would hide the old one: better to be started again later."""
    disk = Sectors(10)
    journal = opened(disk)
    kept = append(journal, 40)
    disk.crash()
    disk.deaf = True
    names = disk.names(FOLDER)
    with pytest.raises(DiskRefused, match="can be read"):
        opened(disk)
    disk.deaf = False
    disk.kill()
    assert disk.names(FOLDER) == names
    assert stored(opened(disk)) == kept


def test_an_unreadable_sector_does_not_stop_eviction() -> None:
    """A full ring gives up a segment with a bad sector: what cannot be read is counted, alarms around it survive."""
    disk = Sectors(11)
    journal = opened(disk)
    for lane in ("alarm", "telemetry"):
        journal.put("cursors", f"route:cloud:{lane}", {"after": 0, "done": []})
    alarms = append(journal, 3, "alarm")
    append(journal, 20)
    alarms += append(journal, 3, "alarm")
    disk.bad.add((journal.store.view.segments[0].name, 1))
    append(journal, 1000)
    assert stored(journal, Lane.ALARM) == alarms
    assert sum(row["records"] for row in journal.table("damage").values()) > 0


def test_what_is_being_read_by_chance_is_read_again() -> None:
    """A card that fails to read once loses nothing by it."""
    disk = SimDisk(12)
    journal = opened(disk)
    kept = append(journal, 40)
    failing: Callable[[str], int | None] = lambda call: errno.EIO if call == "pread" and next(turns) else None  # noqa: E731
    turns = iter([True, False, True] + [False] * 10_000)
    disk.refuse = failing
    assert stored(journal) == kept
    assert SECTOR == 512
