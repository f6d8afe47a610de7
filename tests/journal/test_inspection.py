"""A journal's folder looked at read-only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import JournalError
from gateway.event import Event, Lane, LaneName
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from tests.journal.busy import busy, noise

OPTIONS = JournalOptions(bytes_max=2 * 1024 * 1024, segment_bytes=64 * 1024, preallocate=False)
RECORDS = 1500


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open a journal and put some segments of records and a cursor into it."""
    opened = Journal.open(tmp_path / "journal", OPTIONS, SystemClock())
    for number in range(RECORDS):
        lane: LaneName = "alarm" if number % 100 == 0 else "telemetry"
        opened.append(
            Event(source="/pi/house", type="reading_taken", lane=lane, data={"n": number, "x": noise(number)})
        )
        if number % 20 == 19:
            opened.commit()
    opened.put("cursors", "route:cloud:telemetry", {"after": 1001, "done": []})
    opened.put("values", "house/z2m:a", {"open": True})
    opened.commit()
    yield opened
    opened.close()


def files(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder with its content."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_beside_a_running_gateway(journal: Journal, tmp_path: Path) -> None:
    """While a gateway has the journal open, everything durable is seen, and nothing is touched."""
    before = files(tmp_path / "journal")
    inspection = Inspection(tmp_path / "journal")
    assert inspection.last_sequence == journal.durable_sequence == RECORDS
    assert (inspection.log_id, inspection.epoch) == (journal.log_id, journal.epoch)
    assert inspection.table("values") == {"house/z2m:a": {"open": True}}
    assert inspection.table("nothing") == {}
    reader = inspection.reader(Lane.ALARM)
    assert [record.sequence for record in reader.read(0, 100, 10**6)] == list(range(1, RECORDS, 100))
    reader.close()
    assert files(tmp_path / "journal") == before


def test_contents(journal: Journal, tmp_path: Path) -> None:
    """Lanes, cursors and what waits behind them are counted exactly."""
    found = Inspection(tmp_path / "journal").contents()
    lanes = {lane.lane: (lane.records, lane.first, lane.last) for lane in found.lanes}
    assert lanes["alarm"] == (15, 1, 1401)
    assert lanes["telemetry"] == (RECORDS - 15, 2, RECORDS)
    assert lanes["command"] == (0, 0, 0)
    (cursor,) = found.cursors
    assert (cursor.cursor, cursor.after, cursor.waiting) == ("route:cloud:telemetry", 1001, RECORDS - 1001 - 4)
    assert found.segments == 3
    assert 0 < found.bytes <= found.file_bytes <= OPTIONS.bytes_max
    assert found.rows["values"] == 1


def test_a_sound_journal_verifies(journal: Journal, tmp_path: Path) -> None:
    """Every block holds, and every record is counted once."""
    segments = list(Inspection(tmp_path / "journal").verify())
    assert sum(segment.records for segment in segments) == RECORDS
    assert sum(segment.damaged_blocks for segment in segments) == 0


def test_damage_is_found_and_counted(journal: Journal, tmp_path: Path) -> None:
    """One flipped byte costs the block it is in: its place and its records are told."""
    sound = list(Inspection(tmp_path / "journal").verify())
    wounded = tmp_path / "journal" / sound[1].name
    content = bytearray(wounded.read_bytes())
    content[sound_offset(content)] ^= 0xFF
    wounded.write_bytes(content)
    found = list(Inspection(tmp_path / "journal").verify())
    assert (found[1].damaged_blocks, len(found[1].damage)) == (1, 1)
    assert 0 < found[1].damaged_records <= 20
    assert found[1].records + found[1].damaged_records == sound[1].records
    assert [segment.damaged_blocks for segment in found[2:]] == [0] * len(found[2:])


def sound_offset(content: bytearray) -> int:
    """Return a place inside the payload of a segment's third block."""
    at = -1
    for _ in range(3):
        at = content.index(b"\xffEGB", at + 1)
    return at + 200


@pytest.mark.parametrize("make", [False, True])
def test_no_journal(make: bool, tmp_path: Path) -> None:
    """A folder without a journal, or none at all, is said and not made."""
    if make:
        (tmp_path / "journal").mkdir()
    with pytest.raises(JournalError, match="there is no journal"):
        Inspection(tmp_path / "journal")
    assert (tmp_path / "journal").exists() is make


def test_segments_used_again_meanwhile_are_no_damage(tmp_path: Path) -> None:
    """Beside a gateway that goes round its ring as fast as it can, nothing ever looks damaged or missing."""
    with busy(tmp_path) as reached:
        while reached[0] < 8000:  # some sixty rounds
            before = reached[0]
            inspection = Inspection(tmp_path)
            found = inspection.contents()
            assert found.last_sequence >= before
            assert [segment for segment in inspection.verify() if segment.damaged_blocks] == []
            report = inspection.recovery
            assert (report.damaged_blocks, report.missing_segments, report.missing_records) == (0, 0, 0)
            assert (report.checkpoints_skipped, report.rebuilt) == (0, False)
