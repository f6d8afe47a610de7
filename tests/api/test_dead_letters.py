"""Retrying and dropping dead letters, on a real journal with a scripted far end."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.api.dead_letters import TABLE, DeadLetters, open_letters
from gateway.api.line import ApiError
from gateway.event import Event, Lane
from gateway.journal.options import JournalOptions
from gateway.profiles.context import Decoded
from gateway.sources.source import Delivery
from tests.forward.scripted import REJECTED, each
from tests.replay.desk import Desk, until

ME = "person:me"


class Letters(Desk):
    """A desk with dead letters on it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, JournalOptions(bytes_max=4 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False))
        self.deliveries: list[Delivery] = []
        self.decoded = Decoded(rejected="no number in it")
        self.appended: list[Event] = []

    def decode(self, delivery: Delivery) -> Decoded:
        """Decode as the test says."""
        self.deliveries.append(delivery)
        return self.decoded

    def append(self, events: Any) -> None:
        """Append to the journal."""
        self.journal.append_all(events)
        self.appended += events

    def rejected(self, **data: Any) -> str:
        """Append a message that could not be decoded; returns the letter's id."""
        given = {"topic": "a/b", "payload_b64": base64.b64encode(b"\xff{").decode(), "reason": "x", **data}
        return self.letter("message_rejected", **given)

    def refused(self, number: int, **data: Any) -> str:
        """Append an event that was refused; returns the letter's id."""
        event = {"specversion": "1.0", "id": f"abc-1-{number}", "type": "t", "subject": "d", "data": {"n": number}}
        return self.letter("event_refused", **{"route": "all", "reason": "no", "attempts": 1, "event": event, **data})

    def letter(self, kind: str, source: str = "/pi/house", **data: Any) -> str:
        """Append a dead letter and return its id."""
        time = "2026-11-23T06:00:00.000Z"
        event = Event(source=source, type=kind, lane="dead_letter", actor="gateway", time=time, data=data)
        self.journal.append(event)
        self.journal.commit()
        return event.id

    def row(self, letter: str) -> Any:
        """Return what became of a letter."""
        return self.journal.get(TABLE, letter)

    def states(self) -> dict[str, str]:
        """Return what became of every letter."""
        return {id_: row["state"] for id_, row in self.journal.table(TABLE).items()}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Letters]:
    """Open a journal."""
    made = Letters(tmp_path)
    yield made
    made.journal.close()


@asynccontextmanager
async def running(desk: Letters) -> AsyncIterator[DeadLetters]:
    """Run what retries."""
    letters = DeadLetters(
        desk.journal, desk.past, desk.clock, desk.ways,
        sources={"house"}, flush=desk.flush, decode=desk.decode, append=desk.append,
    )  # fmt: skip
    task = asyncio.create_task(letters.run())
    await asyncio.sleep(0)
    try:
        yield letters
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def retried(desk: Letters, *ids: str, **given: Any) -> list[dict[str, Any]]:
    """Retry and return the rows."""

    async def run() -> list[dict[str, Any]]:
        async with running(desk) as letters:
            return await letters.retry(list(ids), ME, **given)

    return asyncio.run(run())


def dropped(desk: Letters, *ids: str) -> list[dict[str, Any]]:
    """Drop and return the rows."""

    async def run() -> list[dict[str, Any]]:
        async with running(desk) as letters:
            return await letters.drop(list(ids), ME)

    return asyncio.run(run())


def test_a_message_is_decoded_once_more(desk: Letters) -> None:
    """Once its profile was mended a message is decoded as it came and when it came; events and row are one block."""
    letter = desk.rejected()
    desk.decoded = Decoded(events=[Event(source="/pi/house", type="t"), Event(source="/pi/house", type="u")])
    (answer,) = retried(desk, letter)
    (delivery,) = desk.deliveries
    assert (delivery.source, delivery.topic, delivery.payload, delivery.qos) == ("house", "a/b", b"\xff{", 0)
    assert delivery.received_ns == 1795413600 * 10**9
    delivery.ack()
    assert (answer["state"], answer["events"], answer["actor"]) == ("decoded", 2, ME)
    assert not desk.journal.open_changes
    assert open_letters(desk.journal) == 0


@pytest.mark.parametrize(
    ("decoded", "says"),
    [
        (Decoded(rejected="no number in it"), "no number in it"),
        (Decoded(rejected="?", unclaimed=True), "no profile reads 'a/b'"),
        (Decoded(events=[Event(source="s", type="t", data={"x": "y" * 300_000})]), "is the limit"),
    ],
)
def test_a_message_that_is_rejected_again_says_so_and_stays(decoded: Decoded, says: str, desk: Letters) -> None:
    """What cannot be decoded yet is the same open letter, with the new reason and one more attempt."""
    letter = desk.rejected()
    desk.decoded = decoded
    for attempts in (2, 3):
        (answer,) = retried(desk, letter)
        assert (answer["state"], answer["attempts"]) == ("refused", attempts)
        assert says in answer["reason"]
    assert open_letters(desk.journal) == desk.journal.count(Lane.DEAD_LETTER, 0) == 1
    assert desk.appended == []


def test_an_event_goes_out_by_its_route_under_its_id(desk: Letters) -> None:
    """A refused event is sent again by the one route that it was for; the answer waits for what became of it."""
    letter = desk.refused(7)
    (answer,) = retried(desk, letter)
    assert (answer["state"], answer["route"], answer["attempts"]) == ("delivered", "all", 2)
    (event,) = map(msgspec.json.decode, desk.target.arrived)
    assert (event["id"], event["replayed"], event["data"]) == ("abc-1-7", True, {"n": 7})
    assert desk.journal.last_sequence == 1, "it is not journalled again: no other route and no rule sees it"


def test_another_route_may_take_it(desk: Letters) -> None:
    """`route` sends an event elsewhere; one that there is not is refused with what was probably meant."""
    letter = desk.refused(7, route="gone")
    (answer,) = retried(desk, letter)
    assert (answer["state"], "name another with --route" in answer["reason"]) == ("open", True)
    with pytest.raises(ApiError, match=r"no route 'alarm'.*alarms"):
        retried(desk, letter, route="alarm")
    assert retried(desk, letter, route="alarms")[0]["state"] == "delivered"


def test_refused_again_says_why(desk: Letters) -> None:
    """An event that is refused again is the same open letter with the newest reason; the others of a batch pass."""
    letters = [desk.refused(number) for number in range(3)]
    desk.target.judge = each(lambda number: REJECTED if number == 1 else msgspec.structs.replace(REJECTED, reason=""))
    answers = retried(desk, *letters)
    assert [answer["state"] for answer in answers] == ["refused"] * 3
    assert [answer["reason"] for answer in answers] == ["refused", "422 Unprocessable", "refused"]
    desk.target.judge = None
    assert [answer["state"] for answer in retried(desk, *letters)] == ["delivered"] * 3
    assert desk.row(letters[0])["attempts"] == 3


def test_a_target_that_is_away_is_told_and_waited_for(desk: Letters) -> None:
    """While the route waits the answer is "waiting"; a second try, or a kill in between, sends nothing twice."""
    letter, other = desk.refused(7), desk.refused(8)
    desk.live.caught_up = False

    async def away() -> None:
        async with running(desk) as letters:
            answers = await letters.retry([letter, other], ME, wait_s=0.01)
            assert [answer["state"] for answer in answers] == ["waiting", "waiting"]
            (answer,) = await letters.retry([letter], ME)
            assert "is under way already" in answer["reason"]
            assert (await letters.drop([other], ME))[0]["state"] == "dropped"

    async def back() -> None:
        desk.live.caught_up = True
        async with running(desk):
            await until(lambda: desk.row(letter)["state"] == "delivered")

    asyncio.run(away())
    desk.kill()
    asyncio.run(back())
    desk.kill()
    asyncio.run(back())
    assert desk.target.numbers() == [7]
    assert desk.states() == {letter: "delivered", other: "dropped"}


def test_what_the_letter_could_not_hold_is_found_where_it_came_in(desk: Letters) -> None:
    """Of a large event the letter has its id: the event is taken from the journal."""
    (event_id,) = desk.put([5], type="picture_taken")
    event = Event(source="s", type="event_refused", lane="dead_letter", cause=event_id, data={"route": "all"})
    desk.journal.append(event)
    desk.journal.commit()
    assert retried(desk, event.id)[0]["state"] == "delivered"
    assert desk.target.numbers() == [5]


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        ("message_rejected", {"source": "/pi/gone", "topic": "a", "payload_b64": ""}, "not configured any more"),
        ("message_rejected", {"topic": "a", "payload_sha256": "00", "payload_bytes": 10**7}, "too large to be kept"),
        ("event_refused", {"route": "all", "payload_sha256": "00"}, "too large to be kept"),
        ("event_refused", {"route": "all", "event": {"id": 5}}, "no event that could be sent"),
        ("rule_failed", {"rule": "intruder"}, "cannot be retried"),
    ],
)
def test_what_cannot_be_retried_says_why(kind: str, data: dict[str, Any], says: str, desk: Letters) -> None:
    """A letter whose content was not kept, or of a rule, says so and stays as it was."""
    letter = desk.letter(kind, reason="x", **data)
    (answer,) = retried(desk, letter)
    assert (answer["state"], says in answer["reason"]) == ("open", True), answer
    assert desk.row(letter) is None
    assert desk.target.arrived == []


def test_unknown_letters_are_refused(desk: Letters) -> None:
    """An id that is no dead letter's, or another event's, changes nothing."""
    desk.rejected()
    other = Event(source="/pi/house", type="door_opened")
    desk.journal.append(other)
    desk.journal.commit()
    for wrong in ("nonsense", other.id):
        assert retried(desk, wrong) == [
            {"id": wrong, "state": "open", "tried": False, "reason": f"no dead letter {wrong!r}"}
        ]
        with pytest.raises(ApiError, match="no dead letter"):
            dropped(desk, wrong)
        assert desk.row(wrong) is None
    with pytest.raises(ApiError, match="1 to 500"):
        retried(desk)


def test_a_letter_is_settled_once(desk: Letters) -> None:
    """What was delivered, decoded or dropped is not tried again, not even by two people at the same moment."""
    letter = desk.refused(1)

    async def both() -> list[list[dict[str, Any]]]:
        async with running(desk) as letters:
            return list(await asyncio.gather(letters.retry([letter], ME), letters.retry([letter], "person:other")))

    assert sorted(answer["state"] for (answer,) in asyncio.run(both())) in (
        ["delivered", "waiting"],
        ["delivered", "delivered"],
    )
    (again,) = retried(desk, letter)
    assert again["reason"] == f"dead letter {letter} was delivered before, by {desk.row(letter)['actor']}"
    with pytest.raises(ApiError, match="was delivered before"):
        dropped(desk, letter)
    assert desk.target.numbers() == [1]


def test_rows_go_when_their_letters_have(desk: Letters) -> None:
    """What became of letters that made room for newer records is forgotten; the count of open ones stays right."""
    old = [desk.refused(number) for number in range(3)]
    dropped(desk, *old)
    assert open_letters(desk.journal) == 0
    while any(record.sequence < 10 for record in desk.journal.reader(Lane.DEAD_LETTER).read(0, 1, 1 << 20)):
        desk.rejected(payload_b64=os.urandom(24_000).hex())
    kept = desk.journal.count(Lane.DEAD_LETTER, 0)
    assert open_letters(desk.journal) == kept > 0
    newest = desk.rejected()
    dropped(desk, newest)
    assert list(desk.journal.table(TABLE)) == [newest]
    assert open_letters(desk.journal) == desk.journal.count(Lane.DEAD_LETTER, 0) - 1
