"""What waits in a lane, on a real journal: since when, how much, for how long there is room."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.api.lanes import FILLING_S_MIN, Waiting, hours_left, waiting
from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

SMALL = JournalOptions(bytes_max=2 * 1024 * 1024, segment_bytes=64 * 1024, preallocate=False)
RECORDS = 600


def test_bytes_and_the_oldest(tmp_path: Path) -> None:
    """The oldest is the first behind the cursor; bytes are the lane's share, and none when nothing waits."""
    journal = Journal.open(tmp_path, SMALL, SystemClock())
    try:
        for number in range(RECORDS):
            lane = "alarm" if number % 10 == 0 else "telemetry"
            data = {"text": f"{number * 7919:x}" * 40}
            time = f"2026-11-23T06:{number:04d}"
            journal.append(Event(source="/gw/house", type="t", time=time, lane=lane, data=data))
            if number % 20 == 19:
                journal.commit()
        journal.commit()
        telemetry, alarms = waiting(journal, Lane.TELEMETRY, 0), waiting(journal, Lane.ALARM, 0)
        assert (telemetry.oldest, alarms.oldest) == ("2026-11-23T06:0001", "2026-11-23T06:0000")
        used = journal.usage()["segments_live"] * journal.usage()["segment_bytes"]
        assert 0 < alarms.bytes < telemetry.bytes < used
        assert telemetry.bytes == pytest.approx(9 * alarms.bytes, rel=0.05)
        half = waiting(journal, Lane.TELEMETRY, RECORDS // 2)
        assert half.oldest == f"2026-11-23T06:{RECORDS // 2 + 1:04d}", "300 is an alarm"
        assert half.bytes == pytest.approx(telemetry.bytes / 2, rel=0.2)
        assert waiting(journal, Lane.TELEMETRY, RECORDS) == Waiting(None, 0)
    finally:
        journal.close()


def test_hours_left() -> None:
    """A tenth of the room filled in an hour leaves nine; a young backlog and an empty one say nothing."""
    assert hours_left(1000, [20, 80], 3600) == pytest.approx(9)
    assert hours_left(1000, [2000], 3600) == 0
    assert hours_left(1000, [100], FILLING_S_MIN - 1) is None
    assert hours_left(1000, [0, 0], 3600) is None
