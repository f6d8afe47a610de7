"""Retrying and dropping dead letters, on a real journal."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.api.dead_letters import TABLE, DeadLetters, open_letters
from gateway.api.line import ApiError
from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.sources.source import Delivery

ME = "person:me"


class Desk:
    """A journal with dead letters, and what was made of them."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.deliveries: list[Delivery] = []
        self.events: list[Event] = []
        self.letters = DeadLetters(
            journal,
            SystemClock(),
            sources={"house"},
            flush=self._flush,
            inbox=self._inbox,
            append=self.events.append,
        )

    async def _flush(self) -> None:
        self.journal.commit()

    def _inbox(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries

    def letter(self, kind: str, source: str = "/pi/house", **data: Any) -> str:
        """Append a dead letter and return its id."""
        event = Event(source=source, type=kind, lane="dead_letter", actor="gateway", data=data)
        self.journal.append(event)
        self.journal.commit()
        return event.id


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Open a journal."""
    options = JournalOptions(bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False)
    journal = Journal.open(tmp_path / "journal", options, SystemClock())
    yield Desk(journal)
    journal.close()


def test_a_message_is_decoded_once_more(desk: Desk) -> None:
    """A message that could not be decoded goes through its source's decoder again, as it came."""
    payload = b"\xff{"
    letter = desk.letter("message_rejected", topic="a/b", payload_b64=base64.b64encode(payload).decode(), reason="x")
    answer = asyncio.run(desk.letters.retry(letter, ME))
    (delivery,) = desk.deliveries
    assert (delivery.source, delivery.topic, delivery.payload, delivery.qos) == ("house", "a/b", payload, 0)
    delivery.ack()
    assert (answer["state"], answer["actor"]) == ("retried", ME)


def test_an_event_is_queued_again_under_its_id(desk: Desk) -> None:
    """An event that a target refused goes out again with the id that the cloud knows it by."""
    event = {
        "specversion": "1.0",
        "id": "abc-1-2",
        "source": "/pi/house",
        "type": "door_opened",
        "data": {"open": True},
    }
    letter = desk.letter("event_refused", route="all", reason="Not authorized", event=event)
    asyncio.run(desk.letters.retry(letter, ME))
    (queued,) = desk.events
    assert (queued.id, queued.type, queued.lane, queued.data) == ("abc-1-2", "door_opened", "telemetry", {"open": True})


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_what_was_done_is_durable(verb: str, desk: Desk, tmp_path: Path) -> None:
    """Who did what with a letter is on the disk when the answer comes."""
    letter = desk.letter("message_rejected", topic="a", payload_b64="", reason="x")
    asyncio.run(getattr(desk.letters, verb)(letter, ME))
    assert desk.journal.open_changes is False
    row = desk.journal.get(TABLE, letter)
    assert row is not None
    assert (row["state"], row["actor"]) == ({"retry": "retried", "drop": "dropped"}[verb], ME)


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("message_rejected", {"source": "/pi/gone", "topic": "a", "payload_b64": ""}, "not configured any more"),
        ("message_rejected", {"topic": "a", "payload_sha256": "00", "payload_bytes": 10**7}, "too large to be kept"),
        ("event_refused", {"route": "all", "payload_sha256": "00"}, "too large to be kept"),
        ("rule_failed", {"rule": "intruder"}, "cannot be retried"),
    ],
)
def test_what_cannot_be_retried_says_why(kind: str, data: dict[str, Any], says: str, desk: Desk) -> None:
    """A letter whose content was not kept, or of a rule, is refused and stays as it was."""
    letter = desk.letter(kind, reason="x", **data)
    with pytest.raises(ApiError, match=says):
        asyncio.run(desk.letters.retry(letter, ME))
    assert desk.journal.get(TABLE, letter) is None
    assert not desk.deliveries
    assert not desk.events


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_unknown_letters_are_refused(verb: str, desk: Desk) -> None:
    """An id that is no dead letter's, or another event's, changes nothing."""
    desk.letter("message_rejected", topic="a", payload_b64="", reason="x")
    other = Event(source="/pi/house", type="door_opened")
    desk.journal.append(other)
    desk.journal.commit()
    for wrong in ("nonsense", other.id):
        with pytest.raises(ApiError, match="no dead letter"):
            asyncio.run(getattr(desk.letters, verb)(wrong, ME))
        assert desk.journal.get(TABLE, wrong) is None


def test_a_letter_is_settled_once(desk: Desk) -> None:
    """What was retried or dropped is not retried again by a second click."""
    letter = desk.letter("message_rejected", topic="a", payload_b64="", reason="x")
    asyncio.run(desk.letters.retry(letter, ME))
    with pytest.raises(ApiError, match="was retried before, by person:me"):
        asyncio.run(desk.letters.retry(letter, "person:other"))
    assert len(desk.deliveries) == 1


def test_rows_go_when_their_letters_have(desk: Desk) -> None:
    """What became of letters that made room for newer records is forgotten; the count of open ones stays right."""
    old = [desk.letter("event_refused", event={"id": "x", "source": "/pi/house", "type": "t"}) for _ in range(3)]
    for letter in old:
        asyncio.run(desk.letters.drop(letter, ME))
    assert open_letters(desk.journal) == 0
    while any(record.sequence < 10 for record in desk.journal.reader(Lane.DEAD_LETTER).read(0, 1, 1 << 20)):
        desk.letter("message_rejected", topic="a/b", payload_b64=os.urandom(24_000).hex(), reason="x")
    kept = desk.journal.count(Lane.DEAD_LETTER, 0)
    assert open_letters(desk.journal) == kept > 0
    newest = desk.letter("message_rejected", topic="a/b", payload_b64="eA==", reason="x")
    asyncio.run(desk.letters.drop(newest, ME))
    assert list(desk.journal.table(TABLE)) == [newest]
    assert open_letters(desk.journal) == desk.journal.count(Lane.DEAD_LETTER, 0) - 1
