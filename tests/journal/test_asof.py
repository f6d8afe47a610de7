"""The durable tables of a time that has passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import NS_PER_S, wall_ns_of
from gateway.journal.asof import as_of, before
from gateway.journal.inspection import Inspection
from tests.journal.busy import noise
from tests.rules.recorded import MONDAY, Recorder

EVENTS = 400


def at(seconds: float) -> int:
    """Return a time of the test's clock."""
    return wall_ns_of(MONDAY) + round(seconds * NS_PER_S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a journal of several segments in which a row counts up with each event."""
    recorder = Recorder(tmp_path_factory.mktemp("asof") / "journal")
    recorder.rows(1, {"values": {"gone": 1}})
    for number in range(1, EVENTS + 1):
        recorder.journal.put("values", "count", number)
        recorder.event(10 * number, "t", x=noise(number))
    recorder.rows(10 * EVENTS + 1, {"values": {"gone": None}})
    recorder.close()
    return recorder.folder


@pytest.mark.parametrize("number", [1, 2, 57, 200, 399])
def test_tables_and_sequence_of_a_time(folder: Path, number: int) -> None:
    """Wherever checkpoints lie, the tables are those that were durable just before that time."""
    inspection = Inspection(folder)
    assert len(inspection.entries) > 2
    found = as_of(inspection, at(10 * number + 5))
    assert found.tables is not None
    assert (found.after, found.tables["values"]) == (number, {"gone": 1, "count": number})


@pytest.mark.parametrize("number", [1, 58, 200, 400])
def test_before_a_record(folder: Path, number: int) -> None:
    """What stood before a record does not know what came with it."""
    found = before(Inspection(folder), number)
    assert found.tables is not None
    assert found.tables["values"] == ({"gone": 1, "count": number - 1} if number > 1 else {"gone": 1})


def test_now_is_what_is_there(folder: Path) -> None:
    """After the last record the tables are those of the journal."""
    inspection = Inspection(folder)
    found = as_of(inspection, at(20 * EVENTS))
    assert found.tables is not None
    assert (found.after, found.tables["values"]) == (EVENTS, inspection.table("values"))


def test_before_the_beginning_nobody_knows(folder: Path) -> None:
    """Before the first block there are no tables, and everything lies ahead."""
    found = as_of(Inspection(folder), at(-100))
    assert (found.after, found.tables) == (0, None)
