"""Dead letters of a run are set against what was damaged, one by one: what nothing explains is found."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

from simulators.house.books import Books
from simulators.house.gadget import Said
from simulators.house.house import Sent
from simulators.house.letters import Damaged, explain
from simulators.house.port import Port

TOPIC = "zigbee2mqtt/air"
HURT = Damaged("house", TOPIC, b'{"temperature":2')
LINE = Damaged("radio", "", b'{"id":\xff12}\r\n')


def letter(payload: bytes, topic: str = TOPIC, source: str = "house", kind: str = "message_rejected") -> dict[str, Any]:
    """Return a dead letter of a message."""
    data = {"reason": "not JSON", "topic": topic, "payload_b64": base64.b64encode(payload).decode()}
    return {"id": "a-1-1", "type": kind, "source": f"/gw/{source}", "data": data}


def judged(letters: list[dict[str, Any]], *damaged: Damaged) -> tuple[int, int, int]:
    """Return how many are explained, come again, and are not explained."""
    found = explain(letters, damaged)
    assert len(found.examples) == found.unexplained
    return found.explained, found.again, found.unexplained


def test_each_letter_has_its_message() -> None:
    """Bytes and topic of a message that was damaged explain a letter; of another topic, or whole ones, they do not."""
    assert judged([letter(HURT.payload)], HURT) == (1, 0, 0)
    assert judged([letter(HURT.payload, "zigbee2mqtt/door")], HURT) == (0, 0, 1)
    assert judged([letter(b'{"temperature":20}')], HURT, HURT) == (0, 0, 1)


def test_a_count_that_fits_hides_nothing() -> None:
    """Ten damaged messages without a letter do not make one letter of a good message expected."""
    assert judged([letter(b"21.5", "shelly/temperature")], *[HURT] * 10) == (0, 0, 1)


def test_what_the_broker_delivers_again() -> None:
    """A retained copy that comes again behind a restart is counted apart, as often as it comes, and is no fault."""
    assert judged([letter(HURT.payload)] * 3, HURT) == (1, 2, 0)
    assert judged([letter(HURT.payload)] * 3, HURT, HURT) == (2, 1, 0)


def test_lines_of_a_port() -> None:
    """What framing leaves of a damaged line is that line's, once, and only at its own port."""
    left = letter(LINE.payload[:-2], "radio", "radio")
    assert judged([left], LINE) == (1, 0, 0)
    assert judged([left, left], LINE) == (1, 0, 1)
    assert judged([letter(LINE.payload[:-2], "panel", "panel")], LINE) == (0, 0, 1)


def test_a_line_that_was_cut() -> None:
    """The beginning of a line that ran into the next one explains both, once; the longest beginning goes first."""
    head, other = Damaged("radio", "", b'{"id":12,"on":'), Damaged("radio", "", b"{")
    both = letter(head.payload + b'{"id":13,"on":1}', "radio", "radio")
    assert judged([both, letter(b'{{"id":13}', "radio", "radio")], other, head) == (2, 0, 0)
    assert judged([both, both], head) == (1, 0, 1)


def test_what_a_full_line_takes_of_a_message_is_booked(tmp_path: Path) -> None:
    """A message that a port nobody reads took in part is damaged, to what of it went; one that went whole is not."""
    link, books = tmp_path / "port", Books()
    sent = Sent(1.0, 1, "radio", Said("", b"x" * 999, "air"))

    async def fill() -> list[int]:
        port = Port(link)
        port.plug(lambda _: None)
        try:
            went = [port.write(sent.said.payload) for _ in range(200)]
        finally:
            port.unplug()
        return [*went, port.write(sent.said.payload)]

    went = asyncio.run(fill())
    went.insert(1, 15)  # wherever this system's buffer ends
    for written in went:
        books.went(sent, written)
    assert (went[0], went[-1]) == (999, 0)
    assert [len(each.said.payload) for each in books.hurt] == [each for each in went if 0 < each < 999]
    assert not any(each.said.clean for each in books.hurt)


def test_only_messages_are_excused() -> None:
    """An event that the cloud refused and a rule that failed are not explained by damage."""
    assert judged([letter(HURT.payload, kind="event_refused")], HURT) == (0, 0, 1)
    failed = {"id": "a-1-2", "type": "rule_failed", "data": {"reason": "ValueError", "rule": "airing"}}
    assert judged([failed], HURT, LINE) == (0, 0, 1)


def test_large_messages_by_their_hash() -> None:
    """Of a large message the letter has only hash and head, and is explained all the same."""
    large = Damaged("house", TOPIC, b"x" * 100_000)
    said = letter(b"")
    said["data"] = {
        "topic": TOPIC,
        "payload_bytes": 100_000,
        "payload_sha256": hashlib.sha256(large.payload).hexdigest(),
    }
    assert judged([said], large) == (1, 0, 0)
