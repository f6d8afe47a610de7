"""Reading every lane at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.clock import SystemClock
from gateway.event import Event, Lane, LaneName
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.journal.sweep import EVERY, Sweep

LANES: tuple[LaneName, ...] = ("alarm", "telemetry", "telemetry", "timer", "telemetry", "command", "dead_letter")


@pytest.fixture(scope="module", params=[0, 8 * 1024 * 1024], ids=["disk", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """Open a journal of many blocks and segments, with and without its newest part in memory."""
    options = JournalOptions(
        bytes_max=2 * 1024 * 1024, segment_bytes=32 * 1024, preallocate=False, tail_bytes_max=request.param
    )
    opened = Journal.open(tmp_path_factory.mktemp("sweep") / "journal", options, SystemClock())
    for number in range(700):
        opened.append(Event(source="/pi/house", type="t", lane=LANES[number % 7], data={"n": number, "x": "y" * 300}))
        if number % 20 == 0:
            opened.commit()
    opened.commit()
    yield opened
    opened.close()


def swept(journal: Journal, after: int, through: int, lanes: tuple[Lane, ...] = EVERY) -> list[int]:
    """Return the sequences that a sweep yields."""
    sweep = Sweep(journal.store)
    try:
        runs = list(sweep.runs(after, through, lanes))
    finally:
        sweep.close()
    return [run.sequence(i) for run in runs for i in range(run.begin, run.end) if Lane(run.lanes[i]) in lanes]


@pytest.mark.parametrize(("after", "through"), [(0, 700), (0, 1), (13, 14), (20, 21), (250, 617), (699, 700), (5, 5)])
def test_every_record_once_in_order(after: int, through: int, journal: Journal) -> None:
    """Between two sequences a sweep yields every record once, in order, wherever blocks and segments end."""
    assert swept(journal, after, through) == list(range(after + 1, through + 1))


@pytest.mark.parametrize("lane", Lane)
def test_a_lane_is_what_its_reader_reads(lane: Lane, journal: Journal) -> None:
    """What a sweep finds of a lane is what the lane's own reader finds."""
    reader = journal.reader(lane)
    assert swept(journal, 100, 600, (lane,)) == [
        record.sequence for record in reader.read(100, 10_000, 1 << 30) if record.sequence <= 600
    ]
    reader.close()


def test_what_is_not_durable_is_not_there(journal: Journal) -> None:
    """A sweep ends where the disk ends, however far it was asked to go."""
    journal.append(Event(source="/pi/house", type="t"))
    assert swept(journal, 690, 10_000) == list(range(691, 701))
