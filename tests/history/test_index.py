"""The history index by itself: what it says may be coarse and is never wrong."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from gateway.event import Event, Lane, encode, stamp
from gateway.history.file import HistoryFile
from gateway.history.index import ANYTHING, Gathering, Index, Key, Question, mark

LOG = "0a1b2c3d4e5f"
BYTES_MAX = 1 << 20


def event(sequence: int, kind: str, device: str, minute: int, cause: str | None = None) -> bytes:
    """Write an event."""
    made = Event(source="/pi/house", type=kind, subject=device, time=f"2026-11-23T06:{minute:02d}:00Z", cause=cause)
    stamp(made, f"{LOG}-1-{sequence:x}", sequence)
    return encode(made)


def gathered(index: Index, first: int, *events: bytes, lane: Lane = Lane.TELEMETRY) -> None:
    """Add one stretch of events."""
    gathering = Gathering(index)
    assert gathering.first == first
    gathering.take(events, bytes([lane]) * len(events))
    index.add(gathering.stretch(first + len(events) - 1))


def few() -> Index:
    """Make an index of four stretches of two events."""
    index = Index(BYTES_MAX)
    gathered(index, 1, event(1, "door_opened", "hall", 1), event(2, "door_closed", "hall", 2))
    gathered(index, 3, event(3, "reading_taken", "attic", 3), event(4, "reading_taken", "attic", 9), lane=Lane.ALARM)
    gathered(index, 5, event(5, "reading_taken", "hall", 5), event(6, "alert_raised", "hall", 6, cause=f"{LOG}-1-1"))
    gathered(index, 7, event(7, "reading_taken", "attic", 7), event(8, "reading_taken", "attic", 8))
    return index


def firsts(index: Index, asked: Question) -> list[int]:
    """Return the first sequences of the stretches that may have it."""
    return [stretch.first for stretch in index.may_have(asked)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Question(), [1, 3, 5, 7]),
        (Question(key=lambda key: key[1] == "hall"), [1, 5]),
        (Question(key=lambda key: key == ("reading_taken", "hall")), [5]),
        (Question(key=lambda key: key[1] == "cellar"), []),
        (Question(lanes=1 << Lane.ALARM), [3]),
        (Question(since="2026-11-23T06:08:00Z"), [3, 7]),
        (Question(until="2026-11-23T06:03:00Z"), [1]),
        (Question(since="2026-11-23T06:05:00Z", until="2026-11-23T06:06:00Z"), [3, 5]),
        (Question(mark=mark(f"{LOG}-1-1"), near=1), [1, 5]),
        (Question(mark=mark(f"{LOG}-1-3"), near=3), [1, 3]),
    ],
)
def test_it_names_the_stretches_that_may_have_it(asked: Question, found: list[int]) -> None:
    """Device and type, lane, time, cause and the place of an id: only stretches that may have it are named."""
    assert firsts(few(), asked) == found


def test_it_stays_within_its_bytes_and_is_never_wrong() -> None:
    """However many stretches and made-up devices come, its size is bounded and every record is still found."""
    index = Index(64 * 1024)
    chance = random.Random(7)
    where: list[tuple[int, Key]] = []
    for number in range(2000):
        keys = [(f"type_{chance.randrange(9)}", f"device-{chance.randrange(40 if number < 900 else 90_000)}")] * 2
        where += [(2 * number + 1, key) for key in set(keys)]
        gathered(index, 2 * number + 1, *(event(1, *key, minute=number % 60) for key in keys))
        assert index.bytes <= index.bytes_max
    assert index.through == 4000
    assert [older.last + 1 for older, _ in pairwise(index.stretches)] == [each.first for each in index.stretches[1:]]
    for sequence, key in where[::50]:
        found = list(index.may_have(Question(key=key.__eq__)))
        assert any(stretch.first <= sequence <= stretch.last for stretch in found), key
    assert index.number(("one", "more")) == ANYTHING


def test_joined_stretches_have_what_both_had() -> None:
    """Two stretches made one cover the sequences, times, lanes, pairs, causes and ids of both."""
    older, newer = Index(BYTES_MAX), Index(BYTES_MAX)
    late = event(1, "door_opened", "hall", 30, cause=f"{LOG}-1-77")
    gathered(older, 1, late, lane=Lane.ALARM)
    newer.number(("door_opened", "hall"))  # both count pairs alike
    gathered(newer, 1, event(2, "reading_taken", "attic", 10))
    joined = Index(BYTES_MAX)
    joined.keys = newer.keys
    second = msgspec.structs.replace(newer.stretches[0], first=2, last=2)
    joined.add(older.stretches[0].joined(second))
    assert (joined.stretches[0].first, joined.stretches[0].last) == (1, 2)
    for asked in (
        Question(key=("door_opened", "hall").__eq__, since="2026-11-23T06:30:00Z", lanes=1 << Lane.ALARM),
        Question(key=("reading_taken", "attic").__eq__, until="2026-11-23T06:11:00Z", lanes=1 << Lane.TELEMETRY),
        Question(mark=mark(f"{LOG}-1-77")),
    ):
        assert firsts(joined, asked) == [1]


def test_what_the_journal_gave_up_is_forgotten() -> None:
    """Stretches whose last record is gone go, with what they took; pairs that are in none go at a renewal."""
    index = few()
    assert index.forget(5) == 2
    assert firsts(index, Question()) == [5, 7]
    assert index.renewed().bytes < index.bytes
    assert set(index.renewed().keys[1:]) == {
        ("reading_taken", "hall"),
        ("alert_raised", "hall"),
        ("reading_taken", "attic"),
    }
    assert firsts(index.renewed(), Question(key=lambda key: key[0] == "alert_raised")) == [5]


def test_a_file_is_read_back(tmp_path: Path) -> None:
    """What was appended stretch by stretch is there after a start, and goes on."""
    file = HistoryFile(tmp_path / "history", LOG)
    index = Index(BYTES_MAX)
    for number in range(300):
        gathered(index, number + 1, event(number + 1, f"type_{number % 7}", f"device-{number // 10}", number % 60))
        file.append(index)
    again = HistoryFile(tmp_path / "history", LOG).load(BYTES_MAX, durable=1000)
    asked = Question(key=("type_3", "device-12").__eq__, since="2026-11-23T06:01:00Z")
    assert again.stretches
    assert firsts(again, asked) == firsts(index, asked) != []
    assert again.through == 300
    assert HistoryFile(tmp_path / "history", LOG).load(BYTES_MAX, durable=200).through == 200
    assert HistoryFile(tmp_path / "history", "ffffffffffff").load(BYTES_MAX, durable=1000).through == 0


def test_a_damaged_file_costs_only_what_is_behind_the_damage(tmp_path: Path) -> None:
    """Torn, flipped, emptied or gone: what holds is used, the rest is made again, nothing is believed that is wrong."""
    file = HistoryFile(tmp_path / "history", LOG)
    index = Index(BYTES_MAX)
    for number in range(50):
        gathered(index, number + 1, event(number + 1, "t", f"device-{number}", 1))
        file.append(index)
    whole = file.path.read_bytes()
    chance = random.Random(3)
    for _ in range(200):
        at = chance.randrange(len(whole))
        file.path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        found = HistoryFile(file.path, LOG).load(BYTES_MAX, durable=1000)
        assert found.stretches == () or found.through < 50
        for number in range(found.through):
            assert number + 1 in firsts(found, Question(key=("t", f"device-{number}").__eq__))
        file.path.write_bytes(whole[:at])
        assert HistoryFile(file.path, LOG).load(BYTES_MAX, durable=1000).through < 50
    file.path.unlink()
    assert HistoryFile(file.path, LOG).load(BYTES_MAX, durable=1000).through == 0


def test_the_file_is_bounded(tmp_path: Path) -> None:
    """The file is written anew when most of it is of no use: twice the index and a little at most."""
    file = HistoryFile(tmp_path / "history", LOG)
    index = Index(64 * 1024)
    for number in range(4000):
        gathered(index, number + 1, event(number + 1, f"type_{number % 50}", f"device-{number % 90}", number % 60))
        index.forget(number - 20)
        file.append(index)
        assert file.path.stat().st_size <= 2 * index.bytes + 65 * 1024
