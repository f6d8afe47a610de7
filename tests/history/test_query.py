"""Questions about the past, with and without the index, on a real journal: the answers are the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.event import Event, Lane, LaneName, derived_id
from gateway.history import keeper as keeping
from gateway.history.keeper import HistoryOptions, Keeper
from gateway.history.query import EVERY_LANE, EventFilter, Past
from gateway.journal.journal import Journal
from gateway.journal.options import DeadLetterLimits, JournalOptions
from gateway.journal.sweep import Sweep
from tests.rules.rig import MovedClock

OPTIONS = JournalOptions(
    bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False, tail_bytes_max=16 * 1024
)
ORDINARY: LaneName = "telemetry"
LANES: tuple[LaneName, ...] = ("alarm", "command", *[ORDINARY] * 20)


@pytest.fixture(autouse=True)
def _small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "STRETCH_RECORDS", 100)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open an empty journal."""
    opened = Journal.open(tmp_path / "journal", OPTIONS, MovedClock.at("2026-11-24T00:00:00Z"))
    yield opened
    opened.close()


def keep(journal: Journal, path: Path) -> Keeper:
    """Make a keeper, loaded."""
    made = Keeper(journal.store, journal.log_id, path / "history", HistoryOptions(), lambda: journal.durable_sequence)
    made.load()
    return made


def fill(journal: Journal, numbers: range, chance: random.Random) -> None:
    """Append events: one a second, most of few devices, some with a cause, some late; rare ones now and then."""
    for number in numbers:
        second = number - (chance.randrange(500) if number % 50 == 0 else 0)
        cause = f"{journal.log_id}-1-{max(1, number - 3):x}" if number % 9 == 0 else None
        device = "rare" if number % 611 == 0 else f"d{chance.randrange(5)}"
        event = Event(
            id=derived_id(journal.log_id, "rule", cause, 0) if cause and number % 2 else "",
            source="/pi/house",
            type="door_opened" if device == "rare" else "reading_taken",
            subject=f"house/z2m:{device}",
            time=f"2026-11-23T{second // 3600:02d}:{second // 60 % 60:02d}:{max(second, 0) % 60:02d}.000Z",
            lane=chance.choice(LANES),
            cause=cause,
            data={"n": number, "x": "y" * chance.randrange(200)},
        )
        journal.append(event)
        if number % 17 == 0:
            journal.commit()
    journal.commit()


def shown(past: Past, **wanted: Any) -> list[int]:
    """Return the numbers of the events found."""
    return [msgspec.json.decode(raw)["data"]["n"] for raw in past.events(EventFilter(**wanted))]


QUESTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"limit": 7},
    {"lanes": EVERY_LANE, "since": "2026-11-23T00:10:00.000Z", "until": "2026-11-23T00:20:00.000Z"},
    {"devices": ["rare"]},
    {"devices": ["rare"], "limit": 2},
    {"types": ["door_*"], "since": "2026-11-23T00:15:00.000Z"},
    {"devices": ["house/z2m:d3"], "until": "2026-11-23T00:05:00.000Z", "limit": 50},
    {"lanes": ("command",), "devices": ["d1", "d2"]},
    {"devices": ["nobody"]},
)


def test_the_index_changes_no_answer(journal: Journal, tmp_path: Path) -> None:
    """Every question has the same answer without an index, with one that is behind, and with a whole one."""
    chance = random.Random(1)
    fill(journal, range(1, 1500), chance)
    keeper = keep(journal, tmp_path)
    keeper.follow()
    fill(journal, range(1500, 2200), chance)  # not indexed
    starts = journal.table("starts")
    plain = Past(journal.store, lambda: journal.durable_sequence, starts=lambda: starts)
    behind = Past(journal.store, lambda: journal.durable_sequence, index=lambda: keeper.index, starts=lambda: starts)
    ids = [msgspec.json.decode(raw)["id"] for raw in plain.events(EventFilter(lanes=EVERY_LANE))]
    about = [{"about": each, "lanes": EVERY_LANE} for each in (*ids[::83], "nonsense", f"{journal.log_id}-1-zz")]
    wholes = [shown(plain, **wanted) for wanted in (*QUESTIONS, *about)]
    assert shown(plain) == sorted(shown(plain))
    assert wholes[3] == [611, 1222, 1833]
    assert [shown(behind, **wanted) for wanted in (*QUESTIONS, *about)] == wholes
    keeper.follow()
    assert keeper.index is not None
    assert keeper.index.through > 2000
    assert [shown(behind, **wanted) for wanted in (*QUESTIONS, *about)] == wholes


def test_a_rare_device_is_found_without_reading_the_rest(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one device did, and what became of one event, is read in a few stretches, not in the whole journal."""
    fill(journal, range(1, 3000), random.Random(2))
    keeper = keep(journal, tmp_path)
    keeper.follow()
    starts = journal.table("starts")
    past = Past(journal.store, lambda: journal.durable_sequence, index=lambda: keeper.index, starts=lambda: starts)
    read: list[int] = []
    runs = Sweep.runs

    def counted(self: Sweep, *given: Any) -> Iterator[Any]:
        for run in runs(self, *given):
            read.append(run.end - run.begin)
            yield run

    monkeypatch.setattr(Sweep, "runs", counted)
    assert shown(past, devices=["rare"], lanes=EVERY_LANE) == [611, 1222, 1833, 2444]
    assert sum(read) < 1000
    read.clear()
    event_id = f"{journal.log_id}-1-{600:x}"
    assert shown(past, about=event_id, lanes=EVERY_LANE) == [600, 603]
    assert sum(read) < 1000


def test_what_is_evicted_leaves_the_index_and_the_rest_is_found(journal: Journal, tmp_path: Path) -> None:
    """While the ring turns the index forgets what is gone; a start with its file goes on where it was."""
    keeper = keep(journal, tmp_path)
    chance = random.Random(3)
    for part in range(8):
        for number in range(part * 600, part * 600 + 600):
            data = {"n": number, "x": chance.randbytes(2000).hex()}
            journal.append(
                Event(
                    source="/pi/house", type="t", subject=f"d{number % 7}", time=f"2026-11-{part + 1:02d}T", data=data
                )
            )
        journal.commit()
        keeper.follow()
    assert keeper.index is not None
    kept = min(entry.first for entry in journal.store.view.segments)
    assert kept > 1000
    assert keeper.index.stretches[0].last >= kept
    past = Past(journal.store, lambda: journal.durable_sequence, index=lambda: keeper.index)
    assert shown(past, devices=["d3"], limit=3) == [4784, 4791, 4798]
    again = keep(journal, tmp_path)
    assert again.index is not None
    assert again.reached == keeper.index.through
    assert again.index.stretches[-1].last == keeper.index.through


def test_a_lost_file_is_made_again(journal: Journal, tmp_path: Path) -> None:
    """Without its file the index is made again from the journal, the same."""
    fill(journal, range(1, 1000), random.Random(4))
    first = keep(journal, tmp_path)
    first.follow()
    (tmp_path / "history").unlink()
    second = keep(journal, tmp_path)
    assert second.index is not None
    assert second.index.stretches == ()
    second.follow()
    assert first.index is not None
    assert second.index.stretches == first.index.stretches


def test_a_file_that_cannot_be_written_stops_nothing(journal: Journal, tmp_path: Path) -> None:
    """Where the file cannot be, the index is in memory only."""
    (tmp_path / "history").mkdir()
    fill(journal, range(1, 500), random.Random(5))
    keeper = keep(journal, tmp_path)
    keeper.follow()
    assert keeper.index is not None
    assert keeper.index.through > 300


def test_letters_beyond_their_limit_are_not_listed(tmp_path: Path) -> None:
    """A dead letter that is counted as dropped is found by nobody any more, though its bytes may still be there."""
    capped = DeadLetterLimits(bytes_max=32 * 1024, age_max_s=None)
    options = msgspec.structs.replace(OPTIONS, bytes_max=2 * 1024 * 1024, segment_bytes=64 * 1024, dead_letters=capped)
    journal = Journal.open(tmp_path / "capped", options, MovedClock.at("2026-11-24T00:00:00Z"))
    for number in range(100):
        body = {"n": number, "reason": "unreadable", "raw": random.Random(number).randbytes(700).hex()}
        journal.append(Event(source="/pi/house", type="message_rejected", lane="dead_letter", data=body))
        journal.commit()
        if (chore := journal.chore()) is not None:
            chore()
            journal.finish(chore)
    kept = [record.sequence for record in journal.reader(Lane.DEAD_LETTER).read(0, 1000, 1 << 20)]
    past = Past(journal.store, lambda: journal.durable_sequence)
    listed = [sequence for sequence, _ in past.records(EventFilter(lanes=("dead_letter",)))]
    searched = [sequence for sequence, _ in past.between(0, journal.durable_sequence, (Lane.DEAD_LETTER,))]
    journal.close()
    assert 0 < len(kept) < 100
    assert listed == searched == kept
