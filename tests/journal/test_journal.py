"""The journal's public face: append, put, commit, read, start again. Budget: 10 s."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import JournalError
from gateway.event import Event, Lane, decode
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

SMALL = JournalOptions(bytes_max=1024 * 1024, segment_bytes=64 * 1024, preallocate=False)


def event(n: int, lane: str = "telemetry", size: int = 0) -> Event:
    return Event(
        source="/gw/house",
        type="temperature_changed",
        subject="house/z2m:a",
        lane=lane,
        data={"n": n, "pad": "x" * size},
    )  # type: ignore[arg-type]


def opened(folder: Path, options: JournalOptions = SMALL) -> Journal:
    return Journal.open(folder, options, SystemClock())


def test_what_was_committed_is_there_after_a_clean_stop(tmp_path: Path) -> None:
    """Events keep bytes, ids and numbers; tables keep their rows; numbering goes on without a gap."""
    journal = opened(tmp_path)
    raws = [journal.append(event(n)) for n in range(100)]
    journal.put("values", "a", {"temperature": 21.5})
    journal.put("values", "b", {"temperature": 1})
    journal.commit()
    journal.put("values", "b", None)
    journal.close()
    again = opened(tmp_path)
    assert not again.recovery.unclean
    assert (again.log_id, again.epoch, again.last_sequence) == (journal.log_id, 2, 100)
    stored = again.reader(Lane.TELEMETRY).read(0, 1000, 1 << 20)
    assert [each.raw for each in stored] == raws
    assert [each.sequence for each in stored] == list(range(1, 101))
    assert dict(again.table("values")) == {"a": {"temperature": 21.5}}
    first = decode(raws[0])
    assert first.id == f"{journal.log_id}-1-1"
    assert first.sequence == "0000000000000001"
    again.close()


def test_an_unclean_stop_leaves_out_numbers(tmp_path: Path) -> None:
    """After a kill 2^20 sequences are skipped and the start is on record; ids are of a new epoch."""
    journal = opened(tmp_path)
    journal.append(event(1))
    journal.commit()
    journal._lock.release()
    again = opened(tmp_path)
    assert again.recovery.unclean
    raw = again.append(event(2))
    assert decode(raw).id == f"{journal.log_id}-2-1"
    assert again.last_sequence == 1 + 2**20 + 1
    again.commit()
    assert again.get("starts", "00000002")["skipped"] == 2**20
    assert [each.sequence for each in again.reader(Lane.TELEMETRY).read(0, 10, 1 << 20)] == [1, 2**20 + 2]
    again.close()


def test_two_gateways_never_open_one_journal(tmp_path: Path) -> None:
    """The second open is refused while the first lives."""
    journal = opened(tmp_path)
    with pytest.raises(JournalError, match="another gateway"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_lanes_are_read_apart_from_memory_and_from_disk(tmp_path: Path) -> None:
    """Each reader sees its lane only, the same from the tail in memory and from the segments."""
    journal = opened(tmp_path)
    lanes = ["telemetry", "alarm", "telemetry", "command", "timer", "telemetry", "dead_letter"]
    for n in range(700):
        journal.append(event(n, lanes[n % 7], size=50))
        if n % 13 == 0:
            journal.commit()
    journal.commit()
    young = {lane: journal.reader(lane).read(0, 10_000, 1 << 30) for lane in Lane}
    assert [len(young[lane]) for lane in Lane] == [100, 300, 100, 100, 100]
    assert {lane: journal.count(lane, 350) for lane in Lane} == {
        lane: sum(each.sequence > 350 for each in young[lane]) for lane in Lane
    }
    journal.close()
    again = opened(tmp_path)
    assert {lane: again.reader(lane).read(0, 10_000, 1 << 30) for lane in Lane} == young
    assert [each.sequence for each in again.reader(Lane.ALARM).read(351, 3, 1 << 30)] == [352, 359, 366]
    assert len(again.reader(Lane.TELEMETRY).read(0, 1000, 1000)) < 10
    again.close()


def test_a_batch_without_anything_is_no_block(tmp_path: Path) -> None:
    """Sealing nothing gives nothing."""
    journal = opened(tmp_path)
    journal.commit()
    assert journal.seal() is None
    journal.close()


def test_too_large_an_event_is_refused_and_leaves_no_gap(tmp_path: Path) -> None:
    """An event above the limit raises, and the next one takes its number."""
    journal = opened(tmp_path)
    with pytest.raises(JournalError, match="limit"):
        journal.append(event(1, size=300_000))
    journal.append(event(2))
    assert journal.last_sequence == 1
    journal.close()


def test_other_sizes_in_the_config_lose_nothing(tmp_path: Path) -> None:
    """A journal of small segments goes on with larger ones and a smaller budget; old files leave as they are freed."""
    journal = opened(tmp_path, JournalOptions(bytes_max=1024 * 1024, segment_bytes=32 * 1024, preallocate=False))
    raws = []
    for n in range(600):
        raws.append(journal.append(event(n, size=n % 50)))
        if n % 5 == 0:
            journal.commit()
    journal.close()
    other = JournalOptions(bytes_max=8 * 64 * 1024, segment_bytes=64 * 1024, preallocate=False)
    again = opened(tmp_path, other)
    assert [each.raw for each in again.reader(Lane.TELEMETRY).read(0, 1000, 1 << 20)] == raws
    for n in range(8000):
        again.append(event(n, size=n % 50))
        if n % 5 == 0:
            again.commit()
    sizes = {path.stat().st_size for path in tmp_path.glob("*.segment")}
    assert sizes == {64 * 1024}
    assert len(list(tmp_path.glob("*.s*"))) <= 8
    again.close()
