"""What waits in a lane: since when, how many bytes, and for how long there is room. For `status`.

All of it is an estimate from the journal's index: a segment's bytes by a lane's share of its records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.errors import DiskRefused
from gateway.event import Lane, decode
from gateway.journal.journal import Journal

FILLING_S_MIN = 60.0  # a backlog younger than this says nothing about a rate
S_PER_HOUR = 3600.0


class Waiting(NamedTuple):
    """What waits in one lane."""

    oldest: str | None  # time of the oldest event, RFC 3339
    bytes: int


def waiting(journal: Journal, lane: Lane, after: int) -> Waiting:
    """Look at what lies behind a sequence. BLOCKING: may read one block from the disk. While that is gone: no time."""
    reader = journal.reader(lane)
    try:
        found = reader.read(after, 1, 1)
        return Waiting(decode(found[0].raw).time, reader.bytes_behind(after)) if found else Waiting(None, 0)
    except DiskRefused:
        return Waiting(None, reader.bytes_behind(after))
    finally:
        reader.close()


def hours_left(room_bytes: float, filled_bytes: Sequence[int], age_s: float) -> float | None:
    """Say for how long there is room if it goes on as since the oldest event; None when that is not known.

    `room_bytes` is for everything that is kept as long as this lane is: `filled_bytes`, lane by lane.
    """
    filled = sum(filled_bytes)
    if age_s < FILLING_S_MIN or not filled:
        return None
    return max(0.0, room_bytes - filled) / (filled / age_s) / S_PER_HOUR
