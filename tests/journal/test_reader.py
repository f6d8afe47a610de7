"""Reading beside writing: from memory, from segments, while they are given up and used again. Budget: 10 s."""

from __future__ import annotations

import threading
from pathlib import Path

from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

KIB = 1024


def event(n: int, lane: str = "telemetry") -> Event:
    return Event(source="/gw/house", type="x_changed", lane=lane, data={"n": n, "pad": f"{n * 7919:040d}"})  # type: ignore[arg-type]


def opened(folder: Path, **options: int) -> Journal:
    known = {"bytes_max": 1024 * KIB, "segment_bytes": 32 * KIB, "tail_bytes_max": 8 * KIB}
    return Journal.open(folder, JournalOptions(**(known | options), preallocate=False), SystemClock())  # type: ignore[arg-type]


def test_a_reader_on_another_thread_sees_each_record_once_and_in_order(tmp_path: Path) -> None:
    """While the ring turns several times under it: no record twice, none out of order, no false damage."""
    journal = opened(tmp_path, bytes_max=320 * KIB)
    stop = threading.Event()
    seen: list[int] = []
    wrong: list[str] = []

    def read() -> None:
        reader = journal.reader(Lane.TELEMETRY)
        after = 0
        while not stop.is_set() or after < journal.durable_sequence:
            for each in reader.read(after, 100, 64 * KIB):
                if each.sequence <= after or f'"n":{each.sequence},' not in each.raw.decode():
                    wrong.append(f"{each.sequence} after {after}: {each.raw!r}")
                after = each.sequence
                seen.append(after)
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(1, 20_001):
        journal.append(event(n))
        if n % 20 == 0:
            journal.commit()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert wrong == []
    assert seen == sorted(set(seen))
    assert seen[-1] == 20_000
    journal.commit()
    assert dict(journal.table("damage")) == {}
    journal.close()


def test_reading_goes_over_from_segments_to_memory_without_a_seam(tmp_path: Path) -> None:
    """Read in small steps from the first record to the newest: every one, once."""
    journal = opened(tmp_path)
    for n in range(1, 2001):
        journal.append(event(n, "alarm" if n % 50 == 0 else "telemetry"))
        if n % 7 == 0:
            journal.commit()
    journal.commit()
    assert journal.store.tail.after > 100
    for lane, expected in ((Lane.ALARM, 40), (Lane.TELEMETRY, 1960)):
        reader = journal.reader(lane)
        after, found = 0, []
        while records := reader.read(after, 13, 2000):
            after = records[-1].sequence
            found += [each.sequence for each in records]
        assert len(found) == len(set(found)) == expected
        assert [journal.count(lane, at) for at in (0, 700, 1500, 2000)] == [
            sum(sequence > at for sequence in found) for at in (0, 700, 1500, 2000)
        ]
    journal.close()


def test_only_durable_records_are_read(tmp_path: Path) -> None:
    """What is appended, and what is sealed and not settled, is not there yet."""
    journal = opened(tmp_path)
    journal.append(event(1))
    reader = journal.reader(Lane.TELEMETRY)
    assert reader.read(0, 10, KIB) == []
    block = journal.seal()
    assert block is not None
    journal.write(block)
    assert reader.read(0, 10, KIB) == []
    journal.settle(block)
    assert [each.sequence for each in reader.read(0, 10, KIB)] == [1]
    journal.close()


def test_damage_met_while_reading_is_skipped_and_counted_once(tmp_path: Path) -> None:
    """A block spoiled under a running gateway: its neighbours are read, the loss is in table "damage"."""
    journal = opened(tmp_path, tail_bytes_max=0)
    offsets = []
    for n in range(1, 101):
        journal.append(event(n))
        block = journal.seal()
        assert block is not None
        journal.write(block)
        journal.settle(block)
        assert block.placed is not None
        offsets.append((block.placed.active.name, block.placed.offset))
    name, offset = offsets[10]
    with (tmp_path / name).open("r+b") as file:
        file.seek(offset + 170)
        file.write(b"\xff\xff\xff")
    for _ in range(2):
        found = [each.sequence for each in journal.reader(Lane.TELEMETRY).read(0, 1000, 1 << 20)]
        assert found == [n for n in range(1, 101) if n != 11]
    journal.append(event(101))
    journal.commit()
    assert [(row["blocks"], row["records"]) for row in journal.table("damage").values()] == [(1, 1)]
    copies = list((tmp_path / "quarantine").iterdir())
    assert [copy.read_bytes()[170:173] for copy in copies] == [b"\xff\xff\xff"]
    journal.close()
