"""What the journal costs: microseconds and bytes an event, start and memory with a million queued.

    python -m tests.benchmarks.journal [--events N] [--queued N] [--folder F]

CPU is of this process, all threads. Bytes are /proc/self/io write_bytes, on recycled segments and with a cursor in
every commit, so all that an event causes in its life is in them. The table of SQLite (WAL, FULL, a row an event) is
from the same run on the same file system. Run it on the file system that counts: a temporary folder may be in memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from gateway.clock import SystemClock
from gateway.event import Event, Lane, encode
from gateway.journal.journal import Journal
from gateway.journal.options import MIB, JournalOptions
from gateway.secrets import Secret
from simulators.keys import SECRETS

BATCHES = (1, 10, 100, 1000)
WARM_COMMITS = 400
READ_MAX = 1000
READ_BYTES_MAX = 1 << 20


def event(n: int) -> Event:
    """Return an event of about 250 bytes, as a thermostat makes it."""
    return Event(
        source="/gateway/house",
        type="temperature_changed",
        subject=f"house/z2m:0x00158d0001{n % 50:06x}",
        time=f"2026-11-23T06:{n // 60000 % 60:02d}:{n // 1000 % 60:02d}.{n % 1000:03d}Z",
        data={"temperature": 20 + n * 7919 % 600 / 100, "unit": "Cel", "battery": 50 + n % 50},
    )


def written() -> int:
    """Return the bytes this process has caused to be written to disks."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    return 0


class Meter:
    """CPU seconds, wall seconds and bytes of a stretch."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.bytes = 0


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure what happens inside."""
    meter = Meter()
    cpu, wall, size = time.process_time(), time.perf_counter(), written()
    yield meter
    meter.cpu, meter.wall, meter.bytes = time.process_time() - cpu, time.perf_counter() - wall, written() - size


def resident() -> float:
    """Return this process's memory now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def commit_cost(folder: Path, batch: int, events: int, key: Secret | None = None) -> Meter:
    """Append and commit `events`, `batch` at a time, each with a cursor, on recycled segments."""
    options = JournalOptions(bytes_max=12 * MIB, segment_bytes=MIB, preallocate=False, key=key)
    journal = Journal.open(folder, options, SystemClock())
    made = 0

    def commits(count: int) -> None:
        nonlocal made
        for _ in range(count):
            for _ in range(batch):
                journal.append(event(made))
                made += 1
            journal.put("cursors", "route:cloud:telemetry", {"after": journal.last_sequence - batch, "done": []})
            journal.commit()

    while not journal._writer.pool.complete:
        commits(max(1, WARM_COMMITS // batch))
    with metered() as meter:
        commits(max(1, events // batch))
    journal.close()
    return meter


def sqlite_cost(file: Path, batch: int, events: int) -> Meter:
    """Do the same with a row an event: insert, commit, and delete what the cursor has passed in the next commit."""
    base = sqlite3.connect(file, isolation_level=None)
    base.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE event (n INTEGER PRIMARY KEY, raw BLOB);"
        "CREATE TABLE cursor (name TEXT PRIMARY KEY, after INTEGER);"
    )
    made = 0

    def commits(count: int) -> None:
        nonlocal made
        for _ in range(count):
            base.execute("BEGIN")
            base.executemany("INSERT INTO event (raw) VALUES (?)", [(encode(event(made + n)),) for n in range(batch)])
            made += batch
            base.execute("DELETE FROM event WHERE n <= ?", (made - 10_000,))
            base.execute("REPLACE INTO cursor VALUES ('route', ?)", (made - batch,))
            base.execute("COMMIT")

    commits(max(1, 2000 // batch))
    with metered() as meter:
        commits(max(1, events // batch))
    base.close()
    return meter


def appending(folder: Path, count: int) -> tuple[float, float]:
    """Return microseconds an event: encoding alone, and append (encoding included)."""
    events = [event(n) for n in range(count)]
    start = time.process_time()
    for each in events:
        encode(each)
    encoding = time.process_time() - start
    options = JournalOptions(bytes_max=512 * MIB, segment_bytes=64 * MIB, preallocate=False)
    journal = Journal.open(folder, options, SystemClock())
    append = journal.append
    start = time.process_time()
    for each in events:
        append(each)
    took = time.process_time() - start
    journal.close()
    return encoding / count * 1e6, took / count * 1e6


def queue(folder: Path, count: int) -> tuple[float, float, float]:
    """Queue `count` events; returns CPU microseconds an event, bytes an event, and MiB of memory afterwards."""
    options = JournalOptions(bytes_max=512 * MIB, preallocate=False)
    journal = Journal.open(folder, options, SystemClock())
    journal.put("cursors", "route:cloud:telemetry", {"after": 0, "done": []})
    with metered() as meter:
        for start in range(0, count, 500):
            for n in range(start, min(start + 500, count)):
                journal.append(event(n))
            journal.commit()
    size = sum(entry.end for entry in journal.store.view.segments)
    memory = resident()
    journal._writer.close()  # as a kill would leave it
    journal._lock.release()
    return meter.cpu / count * 1e6, size / count, memory


def start(folder: Path, count: int) -> tuple[float, float, float, float]:
    """Start on a queue; returns milliseconds to ready, MiB, microseconds an event to drain, and MiB after that."""
    options = JournalOptions(bytes_max=512 * MIB, preallocate=False)
    begin = time.perf_counter()
    journal = Journal.open(folder, options, SystemClock())
    ready = (time.perf_counter() - begin) * 1000
    memory = resident()
    reader = journal.reader(Lane.TELEMETRY)
    after = found = 0
    with metered() as meter:
        while records := reader.read(after, READ_MAX, READ_BYTES_MAX):
            after = records[-1].sequence
            found += len(records)
    assert found == count, (found, count)
    journal.close()
    return ready, memory, meter.cpu / count * 1e6, resident()


def apart(work: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """Run in a process of its own, so that memory is its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, work))
    process.start()
    result: tuple[float, ...] = mine.recv()
    process.join()
    return result


def _send(pipe: Connection, work: Callable[[], tuple[float, ...]]) -> None:
    pipe.send(work())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.journal", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=20_000, help="events a line of the commit table")
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="where to write (default: a temporary folder)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=words.folder) as name:
        folder = Path(name)
        encoding, append = appending(folder / "append", 100_000)
        print(f"event of {len(encode(event(1)))} bytes + id: encode {encoding:.2f} us, append {append:.2f} us\n")
        print(
            "events a commit |  CPU us/event   wall us/commit   bytes/event"
            " |  encrypted: CPU us/event   bytes/event |  SQLite: CPU us/event   bytes/event"
        )
        for batch in BATCHES:
            events = min(words.events, 2000 * batch)
            ours = commit_cost(folder / f"b{batch}", batch, events)
            sealed = commit_cost(folder / f"e{batch}", batch, events, SECRETS[0])
            other = sqlite_cost(folder / f"s{batch}.db", batch, events)
            count = events // batch * batch
            print(
                f"{batch:15} | {ours.cpu / count * 1e6:13.2f} {ours.wall / count * batch * 1e6:16.0f}"
                f" {ours.bytes / count:13.0f} | {sealed.cpu / count * 1e6:24.2f} {sealed.bytes / count:13.0f}"
                f" | {other.cpu / count * 1e6:21.2f} {other.bytes / count:13.0f}"
            )
        print("\n   queued | CPU us/event in   bytes/event   MiB | start ms   MiB   CPU us/event out   MiB")
        for count in (10_000, words.queued):
            into = apart(partial(queue, folder / f"q{count}", count))
            out = apart(partial(start, folder / f"q{count}", count))
            print(
                f"{count:9} | {into[0]:15.2f} {into[1]:13.0f} {into[2]:5.0f} |"
                f" {out[0]:8.0f} {out[1]:5.0f} {out[2]:18.2f} {out[3]:5.0f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
