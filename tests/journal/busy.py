"""A journal that is written as fast as it goes, into a ring so small that its segments are used again all the time."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.clock import SystemClock
from gateway.event import Event
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

TINY = JournalOptions(bytes_max=8 * 16 * 1024, segment_bytes=16 * 1024, tail_bytes_max=0)


def noise(number: int) -> str:
    """Return a text that does not compress."""
    return hashlib.sha512(str(number).encode()).hexdigest()


@contextmanager
def busy(folder: Path, options: JournalOptions = TINY) -> Iterator[list[int]]:
    """Write on another thread, all of it delivered at once; yields the last durable sequence."""
    journal = Journal.open(folder, options, SystemClock())
    reached, stop = [0], threading.Event()

    def write() -> None:
        while not stop.is_set():
            for number in range(8):
                journal.append(Event(source="/pi/house", type="reading_taken", data={"x": noise(reached[0] + number)}))
            journal.put("cursors", "route:cloud:telemetry", {"after": journal.last_sequence, "done": []})
            journal.commit()
            reached[0] = journal.durable_sequence
        journal.close()

    thread, interval = threading.Thread(target=write), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # both get to run between any two of the other's steps
    thread.start()
    try:
        while not reached[0] and thread.is_alive():
            pass
        yield reached
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
