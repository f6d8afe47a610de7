"""Reading events for people, from a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.api import events as events_module
from gateway.api.events import answer, follow
from gateway.api.line import ApiError
from gateway.event import Event, LaneName
from gateway.history import query
from gateway.history.query import EVERY_LANE, EventFilter, Past
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.journal.sweep import Sweep
from tests.rules.recorded import HandClock

OPTIONS = JournalOptions(bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Open an empty journal."""
    opened = Journal.open(tmp_path / "journal", OPTIONS, HandClock("2026-11-23T06:00:00Z"))
    yield opened
    opened.close()


def put(journal: Journal, number: int, lane: LaneName = "telemetry", **attributes: Any) -> str:
    """Append the `number`-th event, one a second, and return its id."""
    time = f"2026-11-23T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    given = {"type": "reading_taken", "subject": "house/z2m:a", "time": time, **attributes}
    event = Event(source="/pi/house", lane=lane, data={"n": number}, **given)
    journal.append(event)
    return event.id


def past(journal: Journal) -> Past:
    """Ask a journal without an index."""
    return Past(journal.store, lambda: journal.durable_sequence, starts=lambda: journal.table("starts"))


def shown(journal: Journal, **wanted: Any) -> list[int]:
    """Return the numbers of the events that are shown."""
    return [msgspec.json.decode(raw)["data"]["n"] for raw in past(journal).events(EventFilter(**wanted))]


def test_lanes_are_merged_in_order(journal: Journal) -> None:
    """Alarms and telemetry come in the order they were appended, other lanes only when asked for."""
    lanes: list[LaneName] = ["telemetry", "alarm", "timer", "telemetry", "dead_letter", "alarm", "command"]
    for number, lane in enumerate(lanes):
        put(journal, number, lane)
        journal.commit()
    assert shown(journal) == [0, 1, 3, 5]
    assert shown(journal, lanes=("timer", "dead_letter")) == [2, 4]
    assert shown(journal, lanes=EVERY_LANE) == list(range(7))


def test_a_sparse_lane_and_a_full_one_lose_nothing(journal: Journal) -> None:
    """When one lane is read in many pieces and the other in one, all records come, in order."""
    for number in range(2000):
        put(journal, number, "alarm" if number % 300 == 0 else "telemetry")
    journal.commit()
    assert shown(journal, limit=None) == list(range(2000))


def test_limit_is_the_newest(journal: Journal) -> None:
    """A limit keeps the newest events that pass the filter, however far back they are."""
    for number in range(3000):
        put(journal, number, type="door_opened" if number in (7, 1500, 2999) else "reading_taken")
        if number % 100 == 0:
            journal.commit()
    journal.commit()
    assert shown(journal, limit=5) == [2995, 2996, 2997, 2998, 2999]
    assert shown(journal, types=["door_*"], limit=2) == [1500, 2999]
    assert shown(journal, types=["door_*"], limit=10) == [7, 1500, 2999]
    assert shown(journal, limit=0) == []


def test_since_is_a_time(journal: Journal) -> None:
    """What is older than the time is not shown."""
    for number in range(3000):
        put(journal, number)
    journal.commit()
    assert shown(journal, since="2026-11-23T00:49:55.000Z") == [2995, 2996, 2997, 2998, 2999]
    assert shown(journal, since="2026-11-23T00:00:00.000Z") == list(range(3000))
    assert shown(journal, since="2026-11-24T00:00:00.000Z") == []
    assert shown(journal, since="2026-11-23T00:00:01.000Z", until="2026-11-23T00:00:04.000Z") == [1, 2, 3]
    assert shown(journal, until="2026-11-23T00:00:04.000Z", limit=2) == [2, 3]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"types": ["door_opened"]}, [1]),
        ({"types": ["door_*", "window_*"]}, [1, 2]),
        ({"devices": ["house/z2m:hall/front"]}, [1, 2]),
        ({"devices": ["hall/front"]}, [1, 2]),
        ({"devices": ["*front*"]}, [1, 2]),
        ({"devices": ["front"]}, []),
        ({"devices": ["hall/front"], "types": ["window_*"]}, [2]),
    ],
)
def test_types_and_devices(wanted: dict[str, Any], numbers: list[int], journal: Journal) -> None:
    """Types and devices are exact or patterns; a device may be named without its source and dialect."""
    put(journal, 0)
    put(journal, 1, type="door_opened", subject="house/z2m:hall/front")
    put(journal, 2, type="window_closed", subject="house/z2m:hall/front")
    journal.commit()
    assert shown(journal, **wanted) == numbers


def test_about_an_event_is_it_and_what_follows(journal: Journal) -> None:
    """One id finds the event and everything that names it as its cause, in all lanes."""
    cause = put(journal, 0)
    put(journal, 1)
    put(journal, 2, "command", cause=cause)
    put(journal, 3, "dead_letter", cause=cause)
    journal.commit()
    assert shown(journal, about=cause, lanes=EVERY_LANE) == [0, 2, 3]


def test_what_is_not_durable_is_not_shown(journal: Journal) -> None:
    """Nobody sees an event that a power cut could still take back."""
    put(journal, 0)
    journal.commit()
    put(journal, 1)
    assert shown(journal) == [0]


def test_a_follower_gets_the_past_and_then_the_present(journal: Journal) -> None:
    """With follow the stream goes on with what becomes durable, in order, nothing twice."""

    async def run() -> list[int]:
        put(journal, 0)
        put(journal, 1)
        journal.commit()
        stream = follow(past(journal), EventFilter(limit=1, follow=True), 0.001)
        got = [await anext(stream)]
        for number in (2, 3, 4):
            put(journal, number, "alarm" if number == 3 else "telemetry")
            journal.commit()
            got.append(await anext(stream))
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator has it
        return [msgspec.json.decode(raw)["data"]["n"] for raw in got]

    assert asyncio.run(asyncio.wait_for(run(), 60)) == [1, 2, 3, 4]


def test_a_follower_that_falls_behind_is_cut_off(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower further behind than the limit ends with the number of records it missed."""
    monkeypatch.setattr(events_module, "BEHIND_MAX", 10)

    async def run() -> None:
        put(journal, 0)
        journal.commit()
        stream = follow(past(journal), EventFilter(follow=True), 0.001)
        await anext(stream)
        for number in range(1, 13):
            put(journal, number)
        journal.commit()
        with pytest.raises(ApiError, match="12 records behind"):
            await anext(stream)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_files_are_closed_when_the_stream_ends(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads lets go of its files, though a client went away in the middle."""
    opened: list[Sweep] = []
    closed: list[Sweep] = []

    class Watched(Sweep):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            opened.append(self)

        def close(self) -> None:
            closed.append(self)
            super().close()

    monkeypatch.setattr(query, "Sweep", Watched)

    async def run() -> None:
        for number in range(2 * events_module.READ_RECORDS):
            put(journal, number)
        journal.commit()
        async for _ in follow(past(journal), EventFilter()):
            pass
        stream = follow(past(journal), EventFilter())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # an async generator has it

    asyncio.run(run())
    assert opened
    assert closed == opened


@pytest.mark.parametrize(
    "wanted",
    [
        {"limit": -1},
        {"limit": 10**9},
        {"follow": True, "until": "2026-11-23T00:00:00Z"},
        {"lanes": ["nonsense"]},
        {"surprise": 1},
    ],
)
def test_a_wrong_filter_is_an_answer(wanted: dict[str, Any], journal: Journal) -> None:
    """What a client sends as a filter is checked before anything is read."""
    with pytest.raises(ApiError, match="events: "):
        answer(past(journal))(**wanted)
