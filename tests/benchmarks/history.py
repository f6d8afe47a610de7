"""What the history index costs and saves: microseconds and bytes an event, milliseconds a question.

    python -m tests.benchmarks.history [--events N] [--devices N] [--folder F]

The same journal is asked with and without the index. SQLite (WAL, synchronous = OFF, as it may be lost; a row an
event with an index by device, type and time, 1,000 events a transaction) is from the same run. CPU is of the thread
that does it. Run it on the file system that counts: a temporary folder may be in memory.
"""

from __future__ import annotations

import argparse
import gc
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from gateway.clock import SystemClock
from gateway.event import Event
from gateway.history.file import HistoryFile
from gateway.history.index import decode_seen
from gateway.history.keeper import HistoryOptions, Keeper
from gateway.history.query import EVERY_LANE, EventFilter, Past
from gateway.journal.journal import Journal
from gateway.journal.options import MIB, JournalOptions

BATCH = 1000
RATE = 3  # events a second, by their times


def event(n: int, devices: int) -> Event:
    """Return an event of about 250 bytes; one in 100,000 is of a door."""
    second = n // RATE
    moment = f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}.000Z"
    door = n % 100_000 == 77
    return Event(
        source="/gateway/house",
        type="door_opened" if door else "temperature_changed",
        subject="house/z2m:hall/door" if door else f"house/z2m:0x00158d0001{n * 7919 % devices:06x}",
        time=f"2026-11-{1 + second // 86400:02d}T{moment}",
        data={"open": True} if door else {"temperature": 20 + n * 7919 % 600 / 100, "unit": "Cel", "battery": 50},
    )


def fill(journal: Journal, events: int, devices: int) -> None:
    """Append so many events."""
    for n in range(events):
        journal.append(event(n, devices))
        if n % BATCH == BATCH - 1:
            journal.commit()
    journal.commit()


def keep(journal: Journal, path: Path) -> Keeper:
    """Index a journal from nothing, as after a loss; print what it took."""
    keeper = Keeper(journal.store, journal.log_id, path, HistoryOptions(), lambda: journal.durable_sequence)
    keeper.load()
    started, thread = time.perf_counter(), time.thread_time()
    keeper.follow()
    wall, cpu, count = time.perf_counter() - started, time.thread_time() - thread, journal.durable_sequence
    index = keeper.index
    assert index is not None
    print(f"indexing: {keeper.seconds / count * 1e6:.2f} us CPU an event, {cpu / count * 1e6:.2f} with reading it back")
    print(f"  all of it again in the background: {wall:.1f} s")
    print(f"  in memory {index.bytes:,} bytes, {len(index.stretches)} stretches")
    print(f"  written {keeper._file.written:,} bytes: {keeper._file.written / count:.2f} an event")
    started = time.perf_counter()
    HistoryFile(path, journal.log_id).load(HistoryOptions().bytes_max, journal.durable_sequence)
    print(f"  read at a start: {1e3 * (time.perf_counter() - started):.1f} ms")
    return keeper


def sqlite(journal: Journal, past: Past, path: Path) -> None:
    """Do the same with a row an event; print what it took."""
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = OFF")
    base.execute("CREATE TABLE event (sequence INTEGER PRIMARY KEY, device TEXT, type TEXT, time TEXT, id TEXT)")
    base.execute("CREATE INDEX by_device ON event (device, type, time)")
    base.execute("CREATE INDEX by_id ON event (id)")
    records = past.records(EventFilter(lanes=EVERY_LANE))
    spent, before = 0.0, written()
    rows: list[tuple[int, str, str, str, str]] = []
    for sequence, raw in records:
        seen = decode_seen(raw)
        rows.append((sequence, seen.subject, seen.type, seen.time, seen.id))
        if len(rows) == BATCH:
            started = time.thread_time()
            base.execute("BEGIN")
            base.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?)", rows)
            base.execute("COMMIT")
            spent += time.thread_time() - started
            rows.clear()
    os.sync()
    count = journal.durable_sequence
    size = sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    print(f"SQLite: {spent / count * 1e6:.2f} us CPU an event beside decoding, {size:,} bytes in its files")
    print(f"  written {(written() - before) / count:.0f} bytes an event")
    base.close()


def written() -> int:
    """Return the bytes this process has caused to be written to disks."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])


def ask(name: str, past: Past, **wanted: object) -> None:
    """Ask once and print how long it took."""
    started = time.perf_counter()
    found = sum(1 for _ in past.events(msgspec.convert(wanted, EventFilter)))
    print(f"  {name}: {1e3 * (time.perf_counter() - started):.1f} ms, {found:,} found")


def main() -> int:
    """Measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--devices", type=int, default=50)
    options.add_argument("--folder", type=Path)
    words = options.parse_args()
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        clock, settings = SystemClock(), JournalOptions(bytes_max=512 * MIB, preallocate=False)
        journal = Journal.open(Path(folder) / "journal", settings, clock)
        fill(journal, words.events, words.devices)
        keeper = keep(journal, Path(folder) / "history")
        starts = journal.table("starts")
        plain = Past(journal.store, lambda: journal.durable_sequence, starts=lambda: starts)
        past = Past(journal.store, lambda: journal.durable_sequence, index=lambda: keeper.index, starts=lambda: starts)
        middle = f"{journal.log_id}-1-{words.events // 2:x}"
        for title, asked in (("with the index", past), ("without", plain)):
            gc.collect()
            print(title)
            ask("a door in all of it", asked, devices=["hall/door"])
            ask("a sensor, an hour of it", asked, devices=["*000003"], since="2026-11-02T00:00:00.000Z",
                until="2026-11-02T01:00:00.000Z")  # fmt: skip
            ask("a sensor's newest 20", asked, devices=["*000003"], limit=20)
            ask("what became of one event", asked, about=middle, lanes=list(EVERY_LANE))
        sqlite(journal, plain, Path(folder) / "peer.sqlite")
        journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
