"""`python -m simulators.journal_process FOLDER SEED ALIGN`: a journal as a process that says what it promised.

Before each commit it prints ``try [[sequence, id, crc], ...] CURSOR``, and when the commit has returned ``ok``; after
each of the two it waits for a line on standard input, so that whoever listens knows what was on its way to the disk at
that moment. First it prints ``start [sequence, ...]``: what it found. A line ``stop`` makes it end in good order.

Records before the cursor are delivered and may be used as room; all others must be kept.
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from pathlib import Path
from typing import Final

from gateway.clock import SystemClock
from gateway.event import Event, Lane, LaneName
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

SEGMENT_BYTES: Final = 64 * 1024
SEGMENTS: Final = 10
ROUTE: Final = "route:cloud"
BEHIND_MAX: Final = 120  # records that are not delivered
READ_MAX: Final = 1 << 20
LANES: Final[tuple[LaneName, ...]] = ("telemetry", "telemetry", "telemetry", "alarm")


def options(align: int) -> JournalOptions:
    """Return the options of its journal: a small ring, so that it turns several times in a minute."""
    return JournalOptions(bytes_max=SEGMENTS * SEGMENT_BYTES, segment_bytes=SEGMENT_BYTES, align=align)


def shown(journal: Journal) -> dict[int, tuple[str, int]]:
    """Return everything that readers see: sequence -> (event id, CRC of its bytes)."""
    found: dict[int, tuple[str, int]] = {}
    for lane in Lane:
        reader = journal.reader(lane)
        found.update({each.sequence: _mark(each.raw) for each in reader.read(0, READ_MAX, READ_MAX * 16)})
        reader.close()
    return found


def cursor(journal: Journal) -> int:
    """Return up to where its records are delivered."""
    row = journal.get("cursors", f"{ROUTE}:telemetry")
    return int(row["after"]) if row else 0


def _mark(raw: bytes) -> tuple[str, int]:
    return str(json.loads(raw)["id"]), zlib.crc32(raw)


def main(arguments: list[str]) -> int:
    """Commit until told to stop."""
    folder, seed, align = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    chance = random.Random(seed)
    journal = Journal.open(folder, options(align), SystemClock())
    if not _heard("start " + json.dumps(sorted(shown(journal)))):
        return 0
    while True:
        marks = [_append(journal, chance) for _ in range(chance.choice((1, 1, 2, 5, 20)))]
        after = max(cursor(journal), journal.durable_sequence - chance.randrange(BEHIND_MAX))
        for lane in ("telemetry", "alarm"):
            journal.put("cursors", f"{ROUTE}:{lane}", {"after": after, "done": []})
        journal.put("values", f"device{chance.randrange(20)}", {"n": journal.last_sequence})
        if not _heard(f"try {json.dumps(marks)} {after}"):
            break
        journal.commit()
        if not _heard("ok"):
            break
        chore = journal.chore()
        if chore is not None:
            chore()
            journal.finish(chore)
    journal.close()
    return 0


def _append(journal: Journal, chance: random.Random) -> tuple[int, str, int]:
    data = {"pad": chance.randbytes(chance.choice((10, 60, 200, 1500))).hex()}
    raw = journal.append(Event(source="/gw/card", type="x_changed", lane=chance.choice(LANES), data=data))
    return journal.last_sequence, *_mark(raw)


def _heard(line: str) -> bool:
    """Say a line and wait for the answer; False when it is over."""
    print(line, flush=True)
    return sys.stdin.readline() == "go\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
