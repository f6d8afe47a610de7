"""Makes a golden journal: `python -m tests.journal.golden_maker FOLDER`, once for each version of the format.

The folder holds the files as they lie on the disk, and ``expected.json``: every record's sequence, lane and CRC, the
tables of a workload, and how the last stop was. It has three starts, an orderly stop and a power cut, records of all
lanes, segments used again, evicted telemetry with survivors, a moved cursor with holes, and a torn end.
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from pathlib import Path
from typing import Any

from gateway.event import LANES, Event, Lane
from gateway.journal.block import VERSION
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from simulators.disk import SimDisk
from simulators.journal import SimClock

OPTIONS = JournalOptions(bytes_max=8 * 16 * 1024, segment_bytes=16 * 1024, preallocate=False)
PLACE = Path("/golden")
LIVES = 3
COMMITS = 60


def seen(journal: Journal) -> dict[str, Any]:
    """Return what a journal holds, as JSON can say it."""
    records = []
    for lane in Lane:
        reader = journal.reader(lane)
        records += [
            [each.sequence, lane.name.lower(), zlib.crc32(each.raw)] for each in reader.read(0, 1 << 20, 1 << 30)
        ]
        reader.close()
    tables = {name: dict(sorted(journal.table(name).items())) for name in ("values", "cursors", "gaps")}
    return {"log_id": journal.log_id, "records": sorted(records), "tables": tables}


def make(seed: int = 1) -> tuple[dict[str, bytearray], dict[str, Any]]:
    """Return the files of a journal and what is in it."""
    chance, disk, clock = random.Random(seed), SimDisk(seed), SimClock()
    for life in range(LIVES):
        journal = Journal.open(PLACE, OPTIONS, clock, disk, random=chance.randbytes)
        for _ in range(COMMITS):
            for _ in range(chance.choice((1, 2, 6))):
                lane = chance.choice(("telemetry",) * 8 + tuple(LANES))
                data = {"n": journal.last_sequence, "pad": chance.randbytes(chance.choice((10, 120))).hex()}
                journal.append(Event(source="/golden/house", type="x_changed", lane=lane, data=data))
            journal.put("values", f"device{chance.randrange(6)}", {"n": journal.last_sequence, "open": True})
            journal.put("cursors", "route:cloud:alarm", {"after": 0, "done": []})
            done = [[journal.durable_sequence, journal.durable_sequence]] if life == 1 else []
            journal.put("cursors", "route:cloud:telemetry", {"after": 5, "done": done})
            journal.commit()
        if life == 0:
            journal.close()
        if life < LIVES - 1:
            disk.crash()
    journal.append(Event(source="/golden/house", type="x_changed", data={"torn": chance.randbytes(900).hex()}))
    block = journal.seal()
    assert block is not None
    entry = journal.store.view.segments[-1]
    expected = seen(journal)
    journal.write(block)
    files = {name: bytearray(disk.image(PLACE / name)) for name in disk.names(PLACE)}
    torn = files[entry.name]
    torn[entry.end + 512 :] = bytes(len(torn) - entry.end - 512)
    return files, {"version": VERSION, "epoch": LIVES, **expected}


def main(arguments: list[str]) -> int:
    """Write it."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True)
    files, expected = make()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "expected.json").write_text(json.dumps(expected, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
