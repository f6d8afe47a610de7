"""The faults that shaped the format, one by one, on the whole journal. Budget: 15 s."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from gateway.errors import DiskRefused, JournalError
from gateway.event import Event, Lane, decode
from gateway.journal import block as blocks
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions, TelemetryLimits
from simulators.disk import SimDisk
from simulators.journal import SimClock

FOLDER = Path("/sim/journal")
KIB = 1024
OLDEST = TelemetryLimits(policy="oldest")
SMALL = JournalOptions(bytes_max=20 * 16 * KIB, segment_bytes=16 * KIB, preallocate=False, telemetry=OLDEST)


def event(n: int, lane: str = "telemetry", pad: int = 0) -> Event:
    text = random.Random(n).randbytes(pad // 2).hex()
    return Event(source="/gw/house", type="temperature_changed", lane=lane, data={"n": n, "pad": text})  # type: ignore[arg-type]


def opened(disk: SimDisk, options: JournalOptions = SMALL) -> Journal:
    return Journal.open(FOLDER, options, SimClock(), disk)


def stored(journal: Journal, lane: Lane = Lane.TELEMETRY) -> dict[int, bytes]:
    reader = journal.reader(lane)
    found = {each.sequence: each.raw for each in reader.read(0, 1 << 30, 1 << 30)}
    reader.close()
    return found


def grow(journal: Journal, segments: int, size: int = 600) -> list[bytes]:
    """Commit events one by one until that many more segments have begun."""
    raws: list[bytes] = []
    lives = {entry.life for entry in journal.store.view.segments}
    while len({entry.life for entry in journal.store.view.segments} - lives) < segments:
        raws.append(journal.append(event(journal.last_sequence, pad=size)))
        journal.commit()
    return raws


# -- 2: the shared page ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("align", [512, 4096])
def test_no_two_commits_share_a_sector(align: int) -> None:
    """Destroy every byte of the last block's aligned range: the blocks before it are all there."""
    disk = SimDisk(1)
    journal = opened(disk, msgspec.structs.replace(SMALL, align=align))
    raws = []
    for n in range(10):
        raws.append(journal.append(event(n)))
        block = journal.seal()
        assert block is not None
        journal.write(block)
        journal.settle(block)
        assert block.placed is not None
        assert block.placed.offset % align == 0
    disk.kill()
    data = disk.contents(FOLDER / block.placed.active.name)
    data[block.placed.offset : block.placed.offset + block.placed.length] = b"\xff" * block.placed.length
    disk.rotted()
    again = opened(disk, msgspec.structs.replace(SMALL, align=align))
    assert list(stored(again).values()) == raws[:9]


def test_new_segments_are_written_with_zeros_and_never_grow() -> None:
    """A commit changes no file's length: it is data only, not metadata."""
    disk = SimDisk(2)
    journal = opened(disk)
    journal.append(event(1))
    journal.commit()
    assert len(disk.image(FOLDER / "00000001.segment")) == 16 * KIB
    before = [len(disk.image(FOLDER / name)) for name in disk.names(FOLDER)]
    for n in range(5):
        journal.append(event(n))
        journal.commit()
    assert [len(disk.image(FOLDER / name)) for name in disk.names(FOLDER)] == before


# -- 5: pinning and eviction ------------------------------------------------------------------------------------------


def test_an_alarm_now_and_then_pins_nothing() -> None:
    """Weeks offline in a small ring: every alarm stays under its id and number, telemetry is evicted and counted."""
    disk = SimDisk(3)
    journal = opened(disk)
    for lane in ("alarm", "telemetry"):
        journal.put("cursors", f"route:cloud:{lane}", {"after": 0, "done": []})
    alarms: dict[int, bytes] = {}
    telemetry = 0
    for hour in range(400):
        raw = journal.append(event(hour, "alarm"))
        alarms[journal.last_sequence] = raw
        for n in range(6):
            journal.append(event(n, pad=200))
            telemetry += 1
        journal.commit()
    assert stored(journal, Lane.ALARM) == alarms
    gap = journal.get("gaps", "route:cloud:telemetry:evicted")
    assert gap is not None
    left = stored(journal)
    assert gap["count"] + len(left) == telemetry
    assert gap["first"] == 2
    assert gap["last"] < min(left)
    assert journal.get("gaps", "route:cloud:alarm:evicted") is None
    assert len([name for name in disk.names(FOLDER) if name.endswith(".segment")]) <= 20
    disk.crash()
    again = opened(disk)
    assert stored(again, Lane.ALARM) == alarms
    assert again.get("gaps", "route:cloud:telemetry:evicted") == gap


def test_delivered_history_makes_way_first_and_is_no_loss() -> None:
    """While there are delivered segments nothing undelivered is evicted, and no gap is counted."""
    disk = SimDisk(4)
    journal = opened(disk)
    for n in range(3000):
        journal.append(event(n, pad=100))
        if n % 10 == 9:
            journal.put("cursors", "route:cloud:telemetry", {"after": journal.last_sequence - 5, "done": []})
            journal.commit()
    assert dict(journal.table("gaps")) == {}
    left = stored(journal)
    assert 3000 in left
    assert len(left) > 500  # history is kept until room is needed
    assert 1 not in left


def test_alarms_make_way_only_for_newer_alarms() -> None:
    """When undelivered alarms alone fill the ring, the oldest go, counted as alarms."""
    disk = SimDisk(5)
    journal = opened(disk)
    journal.put("cursors", "route:cloud:alarm", {"after": 0, "done": []})
    for n in range(1500):
        journal.append(event(n, "alarm", pad=300))
        if n % 3 == 2:
            journal.commit()
    left = stored(journal, Lane.ALARM)
    gap = journal.get("gaps", "route:cloud:alarm:evicted")
    assert gap is not None
    assert gap["count"] + len(left) == 1500
    assert gap["last"] < min(left)
    assert max(left) == 1500


def test_a_gap_reported_while_more_is_evicted_leaves_the_rest() -> None:
    """A row deleted in an open batch does not take with it what an eviction counts before that batch is written."""
    disk = SimDisk(6)
    journal = opened(disk)
    journal.put("cursors", "route:cloud:telemetry", {"after": 0, "done": []})
    count = 0
    while journal.get("gaps", "route:cloud:telemetry:evicted") is None:
        journal.append(event(count, pad=600))
        journal.commit()
        count += 1
    reported = journal.get("gaps", "route:cloud:telemetry:evicted")
    assert reported is not None
    journal.put("gaps", "route:cloud:telemetry:evicted", None)  # delivered; the batch stays open
    lives = {entry.life for entry in journal.store.view.segments}
    while True:  # until something else is given up while the deletion is still on its way
        journal.append(event(count, pad=600))
        count += 1
        block = journal.seal()
        assert block is not None
        chore = journal.chore()
        if chore is not None:
            chore()
            journal.finish(chore)
        journal.write(block)
        journal.settle(block)
        if not lives <= {entry.life for entry in journal.store.view.segments}:
            break
        journal.put("gaps", "route:cloud:telemetry:evicted", None)
    journal.commit()
    disk.crash()
    again = opened(disk)
    row = again.get("gaps", "route:cloud:telemetry:evicted")
    assert row is not None
    assert reported["count"] + row["count"] + len(stored(again)) == count


def test_parked_events_hold_their_segment() -> None:
    """An event that a route has set aside to try again is not given up as delivered."""
    disk = SimDisk(7)
    journal = opened(disk)
    journal.append(event(0, "alarm"))
    journal.put("cursors", "route:cloud:alarm", {"after": 10**9, "done": [], "parked": [[1, 3]]})
    for n in range(3000):
        journal.append(event(n, pad=100))
        if n % 10 == 0:
            journal.commit()
    assert set(stored(journal, Lane.ALARM)) == {1}


# -- 8: start --------------------------------------------------------------------------------------------------------


class Counting(SimDisk):
    """Counts the bytes that are read."""

    read = 0

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        """Read and count."""
        data = super().pread(handle, length, offset)
        self.read += len(data)
        return data


def test_a_start_reads_no_more_for_a_long_backlog() -> None:
    """Ready after one head per segment file, a checkpoint and the newest segment, however much waits."""
    costs = []
    for segments in (2, 60):
        disk = Counting(8)
        options = JournalOptions(bytes_max=80 * 16 * KIB, segment_bytes=16 * KIB, preallocate=False)
        journal = opened(disk, options)
        grow(journal, segments)
        disk.kill()
        disk.read = 0
        assert opened(disk, options).recovery.unclean
        costs.append(disk.read)
    assert costs[1] - costs[0] < 58 * 512 + 16 * KIB


def test_a_damaged_newest_checkpoint_is_replaced_by_the_one_before() -> None:
    """Destroy the newest segment's checkpoint: tables and events are all there, nothing but it is lost."""
    disk = SimDisk(9)
    journal = opened(disk)
    raws = grow(journal, 3)
    for n in range(4):
        raws.append(journal.append(event(n)))
        journal.put("values", "device", {"n": n})
        journal.commit()
    name = journal.store.view.segments[-1].name
    disk.kill()
    disk.contents(FOLDER / name)[0:512] = bytes(512)
    disk.rotted()
    again = opened(disk)
    assert again.recovery.checkpoints_skipped == 1
    assert again.recovery.damaged_blocks == 1
    assert again.recovery.damaged_records == 0
    assert list(stored(again).values()) == raws
    assert again.get("values", "device") == {"n": 3}
    again.append(event(5))
    again.commit()
    disk.crash()
    assert len(stored(opened(disk))) == len(raws) + 1


def test_a_journal_of_a_newer_format_is_not_touched() -> None:
    """A start that meets a later version raises and changes no byte of any segment."""
    disk = SimDisk(10)
    journal = opened(disk)
    journal.append(event(1))
    journal.commit()
    disk.kill()
    data = disk.contents(FOLDER / "00000001.segment")
    header = bytearray(data[:156])
    header[4] = 2
    data[:160] = header + blocks.zlib.crc32(header).to_bytes(4, "little")
    disk.rotted()
    before = disk.image(FOLDER / "00000001.segment")
    with pytest.raises(JournalError, match="newer version"):
        opened(disk)
    assert disk.image(FOLDER / "00000001.segment") == before


# -- 10, 11: a disk that refuses ---------------------------------------------------------------------------------------


def failing(calls: int) -> Callable[[str], int | None]:
    """Return a refusal of the next `calls` syncs."""

    def refuse(asked: str) -> int | None:
        nonlocal calls
        if asked == "fdatasync" and calls > 0:
            calls -= 1
            return errno.EIO
        return None

    return refuse


def test_a_block_whose_sync_failed_goes_to_a_new_segment_that_names_the_old_ones_end() -> None:
    """Ids and sequences stay; nothing of it is visible or acknowledged before a sync has succeeded."""
    disk = SimDisk(11)
    journal = opened(disk)
    journal.append(event(1))
    journal.commit()
    old = journal.store.view.segments[-1]
    raw = journal.append(event(2))
    block = journal.seal()
    assert block is not None
    disk.refuse = failing(1)
    with pytest.raises(DiskRefused):
        journal.write(block)
    assert stored(journal).keys() == {1}
    assert journal.durable_sequence == 1
    journal.write(block)
    journal.settle(block)
    new = journal.store.view.segments[-1]
    assert (new.previous_life, new.previous_end) == (old.life, old.end)
    assert new.name != old.name
    assert stored(journal) == {1: journal.reader(Lane.TELEMETRY).read(0, 1, 1 << 20)[0].raw, 2: raw}
    disk.crash()
    assert stored(opened(disk))[2] == raw


def test_two_segments_that_fail_make_it_read_only_until_one_takes_it() -> None:
    """Refused twice it says read-only; the same block succeeds later under the same numbers."""
    disk = SimDisk(12)
    journal = opened(disk)
    journal.commit()
    raw = journal.append(event(1))
    block = journal.seal()
    assert block is not None
    disk.refuse = failing(2)
    for _ in range(2):
        with pytest.raises(DiskRefused):
            journal.write(block)
    assert journal.read_only
    journal.write(block)
    journal.settle(block)
    assert not journal.read_only
    assert decode(raw).id.endswith("-1-1")
    disk.crash()
    assert stored(opened(disk)) == {1: raw}


def test_a_full_file_system_withholds_telemetry_and_lets_alarms_out() -> None:
    """ENOSPC before the budget is written: telemetry waits, an alarm takes the reserve, all of it goes on later."""
    disk = SimDisk(13)
    journal = opened(disk)
    for key in ("route:cloud:alarm", "route:cloud:telemetry"):
        journal.put("cursors", key, {"after": 0, "done": []})
    grow(journal, 3)
    pool = journal._writer.pool
    for _ in range(3):
        pool.fill()
    disk.capacity_bytes = sum(len(disk.image(FOLDER / name)) for name in disk.names(FOLDER))
    withheld = None
    while withheld is None:
        journal.append(event(journal.last_sequence, pad=600))
        try:
            journal.commit()
        except DiskRefused:
            withheld = journal.last_sequence
    assert withheld not in stored(journal)
    assert journal.flight is not None
    alarm = journal.append(event(0, "alarm"))
    assert journal.reopen(journal.flight)
    journal.commit()
    assert stored(journal, Lane.ALARM) == {withheld + 1: alarm}
    assert withheld in stored(journal)
    assert dict(journal.table("gaps")) == {}
    disk.capacity_bytes = 1 << 30
    grow(journal, 2)
    disk.crash()
    assert withheld in stored(opened(disk))


def test_an_unreadable_segment_is_never_written_again() -> None:
    """A file that cannot be read at a start keeps its bytes and its place in the index: it may be readable later."""

    class Stubborn(SimDisk):
        broken = ""

        def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
            if path.name == self.broken:
                raise OSError(errno.EIO, "input/output error")
            return super().open(path, create=create, write=write)

    disk = Stubborn(14)
    journal = opened(disk)
    journal.put("cursors", "route:cloud:telemetry", {"after": 0, "done": []})
    raws = grow(journal, 3)
    first = journal.store.view.segments[0]
    disk.kill()
    disk.broken = first.name
    before = disk.image(FOLDER / first.name)
    again = opened(disk)
    seen = stored(again)
    assert min(seen) == first.last + 1
    grow(again, 2)
    disk.kill()
    assert disk.image(FOLDER / first.name) == before
    disk.broken = ""
    assert list(stored(opened(disk)).values())[: len(raws)] == raws


def test_a_segment_begun_in_vain_and_lost_with_the_cache_is_still_seen_as_what_it_was() -> None:
    """Found by seed 20574: the start must see the life that the medium holds, not only the one the cache shows."""
    # A segment is begun (durable), its first block fails, it is begun again in place and that fails, too; the process
    # is killed. The cache shows the second life, the medium holds the first. Forgetting the first would let it come
    # back at a later power cut, and with it the earlier end of the segment before: acknowledged blocks would be cut.

    class Fated(SimDisk):
        fates = iter(("kept", "lost", "lost"))  # what of a failed sync reaches the medium

        def _fates(self) -> Callable[[], str]:
            fate = next(self.fates, "lost")
            return lambda: fate

    disk = Fated(15)
    options = msgspec.structs.replace(SMALL, bytes_max=8 * 16 * KIB)
    journal = opened(disk, options)
    journal.append(event(1))
    journal.commit()
    pool = journal._writer.pool
    while not pool.complete:
        pool.fill()
    del pool._spares[1:]
    pool._files_max = pool.files  # one free segment, and no more to be had
    journal.append(event(2))
    block = journal.seal()
    assert block is not None
    block.leave = 0
    syncs = iter((errno.EIO, None, errno.EIO, errno.EIO))  # the block; a new segment's checkpoint; the block; again
    disk.refuse = lambda call: next(syncs) if call == "fdatasync" else None
    for _ in range(3):
        with pytest.raises(DiskRefused):
            journal.write(block)
    disk.refuse = lambda _call: None
    disk.kill()
    again = opened(disk, options)
    raw = again.append(event(3))
    again.commit()
    disk.crash()
    assert raw in stored(opened(disk, options)).values()
