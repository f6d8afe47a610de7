"""What a shadow is told: how things stand at one instant, and every record from there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.api import shadow
from gateway.api.line import ApiError
from gateway.api.shadow import ShadowAnswers, Written
from gateway.event import Event, LaneName
from gateway.history.query import Past
from gateway.journal.journal import Journal
from tests.rules.recorded import OPTIONS, HandClock

LANES: tuple[LaneName, ...] = ("telemetry", "dead_letter", "command", "timer", "alarm")


class Rig:
    """A journal with records in every lane, and the answers."""

    def __init__(self, folder: Path) -> None:
        self.clock = HandClock()
        self.journal = Journal.open(folder, OPTIONS, self.clock)
        self.seen = 3
        self.answers = ShadowAnswers(
            Past(self.journal.store, lambda: self.journal.durable_sequence),
            self.clock,
            log_id=self.journal.log_id,
            table=self.journal.table,
            seen=lambda: self.seen,
            last=lambda: self.journal.last_sequence,
        )

    def append(self, count: int) -> None:
        """Append records, each a second later and in a commit of its own."""
        for number in range(count):
            self.clock.now_ns += 1_000_000_000
            self.journal.append(Event(source="/x", type="t", lane=LANES[number % 5], data={"n": number}))
            self.journal.commit()

    def take(self, after: int, count: int) -> list[Written]:
        """Take some items of the stream."""

        async def run() -> list[Written]:
            found: list[Written] = []
            async with asyncio.timeout(60):
                async for item in self.answers.records(after):
                    found.append(item)
                    if len(found) == count:
                        break
            return found

        return asyncio.run(run())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Open a journal with ten records."""
    opened = Rig(tmp_path / "journal")
    opened.append(10)
    yield opened
    opened.journal.close()


def test_how_things_stand(rig: Rig) -> None:
    """Tables without calls that wait for another try, where the rules are, and what is appended by then."""
    rig.journal.put("rule_state", "a|state|n", 1)
    rig.journal.put("rule_state", "a|parked|1|event|", b"\x80")
    rig.journal.put("values", "house/z2m:a", {"open": True})
    said = rig.answers.standing()
    assert (said.after, said.last, said.wall_ns) == (3, 10, rig.clock.now_ns)
    assert said.tables["rule_state"] == {"a|state|n": 1}
    assert said.tables["values"] == {"house/z2m:a": {"open": True}}


def test_every_record_that_rules_get_and_what_they_did(rig: Rig) -> None:
    """Block by block with the time it was written, without dead letters; then the time, as long as nothing happens."""
    begin_ns = rig.clock.now_ns - 10 * 1_000_000_000
    items = rig.take(3, 7)
    numbers = [sequence for item in items for sequence in item.sequences]
    assert numbers == [4, 5, 6, 8, 9, 10]  # 2 and 7 are dead letters
    assert [item.wall_ns for item in items[:6]] == [begin_ns + number * 1_000_000_000 for number in numbers]
    assert msgspec.json.decode(items[0].events[0])["data"] == {"n": 3}
    assert (items[6].events, items[6].wall_ns) == ([], rig.clock.now_ns)


def test_who_falls_behind_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is too far behind is cut off with a reason, and costs no memory."""
    monkeypatch.setattr(shadow, "BEHIND_MAX", 5)
    with pytest.raises(ApiError, match="7 records behind, the limit is 5"):
        rig.take(3, 1)
