"""What a person or a program changes is on the record, once, with who did it and without secrets."""

from __future__ import annotations

import asyncio
import inspect
import os
from pathlib import Path
from typing import Any

import pytest

from gateway import actors
from gateway.audit import CHANGE, LEFT_BYTES_MAX, NAMED_MAX, Audit, hash_of, leave
from gateway.clock import SystemClock
from gateway.errors import DiskRefused
from gateway.event import Event
from gateway.secrets import secret_of


class Rows(dict[tuple[str, str], Any]):
    """Durable tables, without a disk."""

    def get(self, table: str, key: str) -> Any:  # type: ignore[override]
        """Return a row."""
        return super().get((table, key))

    @property
    def batch(self) -> int:
        """The open batch."""
        return 7

    def put(self, table: str, key: str, value: Any) -> None:
        """Set a row."""
        self[table, key] = value


@pytest.fixture
def told() -> list[Event]:
    """Give what was recorded."""
    return []


@pytest.fixture
def audit(told: list[Event], tmp_path: Path) -> Audit:
    """Give an audit that records into `told`."""
    return Audit(told.append, SystemClock(), gateway="pi", rules=lambda: tmp_path)


def test_a_record(audit: Audit, told: list[Event]) -> None:
    """A change is an event that leaves by routes, with actor, what, before and after."""
    audit.record("config_reloaded", "person:anna", before="aa", after="bb", changed=["log.level"], more=None)
    (event,) = told
    assert (event.type, event.actor, event.lane, event.source) == (CHANGE, "person:anna", "telemetry", "/pi/audit")
    assert event.data == {"what": "config_reloaded", "before": "aa", "after": "bb", "changed": ["log.level"]}


def test_no_secret_and_no_end(audit: Audit, told: list[Event], tmp_path: Path) -> None:
    """What is recorded has no secret in it, and so many things at most."""
    (tmp_path / "word").write_text("kellerwort")
    secret_of({"file": "word"}, tmp_path)()
    audit.record("x_changed", "person:a", before={"url": "mqtt://u:geheim1@h", "w": "a kellerwort"}, ids=list("x" * 99))
    data = told[0].data
    assert data["before"] == {"url": "mqtt://u:***@h", "w": "a ***"}
    assert len(data["ids"]) == NAMED_MAX


def test_what_is_asked_is_recorded_when_it_is_done(audit: Audit, told: list[Event]) -> None:
    """Dropping dead letters and starting a replay leave a record with who asked; what failed leaves none."""

    async def drop(ids: list[str], actor: str) -> list[str]:
        if not ids:
            raise DiskRefused("no")
        return [actor, *ids]

    async def start(route: str, **wanted: Any) -> dict[str, Any]:
        return {"number": 7, "route": route, **wanted}

    found = audit.answers({"dead_letters_drop": drop, "replay_start": start, "status": dict})
    assert found["status"] is dict
    for function in (found["dead_letters_drop"], found["replay_start"]):
        assert "actor" in inspect.signature(function).parameters
    assert asyncio.run(found["dead_letters_drop"](ids=["a", "b"], actor="person:anna")) == ["person:anna", "a", "b"]
    asyncio.run(found["replay_start"](route="cloud", types=["x"], actor="person:ben"))
    with pytest.raises(DiskRefused):
        asyncio.run(found["dead_letters_drop"](ids=[], actor="person:anna"))
    assert [(event.actor, event.data["what"]) for event in told] == [
        ("person:anna", "dead_letters_dropped"),
        ("person:ben", "replay_started"),
    ]
    assert told[1].data["number"] == 7


def test_what_stays_in_the_lane_of_time_is_told_beside(audit: Audit, told: list[Event], tmp_path: Path) -> None:
    """Rules that changed are recorded again in a record that leaves, by the person, or by whose file it is."""
    (tmp_path / "a.py").write_text("")
    data = {"hash": "new", "was": "old", "files": {"a.py": "1234"}, "actor": "file"}
    audit.beside(Event(source="/pi/rules", type="rules_changed", lane="timer", actor="gateway", data=data))
    audit.beside(Event(source="/pi/rules", type="timer_fired", lane="timer", actor="gateway", data={}))
    assert [event.type for event in told] == ["rules_changed", CHANGE, "timer_fired"]
    assert told[1].actor == actors.by_file(tmp_path / "a.py")
    assert told[1].actor.startswith("file:")
    assert told[1].data == {"what": "rules_changed", "before": "old", "after": "new", "files": {"a.py": "1234"}}


def test_another_config_at_the_start(audit: Audit, told: list[Event], tmp_path: Path) -> None:
    """A start with another config than the last one says so, once, and a first start does not."""
    rows, file = Rows(), tmp_path / "gateway.toml"
    file.write_text("")
    for config in ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}):
        audit.begin(config, file, tmp_path, rows)
    (tmp_path / "gateway.d").mkdir()
    (tmp_path / "gateway.d" / "10-a.toml").write_text("")
    os.utime(file, (1, 1))
    audit.begin({"a": 3}, file, tmp_path, rows)
    event, of_overlay = told
    assert of_overlay.data["file"] == "10-a.toml"
    assert event.data == {
        "what": "config_changed", "before": hash_of({"a": 1}), "after": hash_of({"a": 2}),
        "at": "start", "file": "gateway.toml",
    }  # fmt: skip


def test_what_was_changed_while_nothing_ran(audit: Audit, told: list[Event], tmp_path: Path) -> None:
    """A restore leaves its change for the next start, which records it once; a damaged line is passed over."""
    leave(tmp_path, "backup_restored", "person:anna", "2026-11-23T06:00:00.000Z", file=Path("pi.tar"))
    with (tmp_path / "changes.ndjson").open("ab") as file:
        file.write(b"{ no JSON\n")
    rows, config = Rows(), tmp_path / "gateway.toml"
    audit.begin({}, config, tmp_path, Rows())
    told.clear()  # killed before it was on the disk: it is recorded again
    for _ in range(2):  # killed when it was: it is not
        audit.begin({}, config, tmp_path, rows)
        audit.durable(rows.batch - 1)
    assert (tmp_path / "changes.ndjson").exists()
    audit.durable(rows.batch)
    assert not (tmp_path / "changes.ndjson").exists()
    (event,) = told
    assert event.actor == "person:anna"
    assert event.data == {"what": "backup_restored", "at": "2026-11-23T06:00:00.000Z", "file": "pi.tar"}


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    """A gateway that is never started does not fill its card with changes."""
    for _ in range(100):
        leave(tmp_path, "x_changed", "person:a", "", text="x" * 2000)
    assert (tmp_path / "changes.ndjson").stat().st_size <= LEFT_BYTES_MAX


def test_a_journal_that_refuses_stops_nobody(tmp_path: Path) -> None:
    """A change that cannot be recorded is in effect all the same, and the log says that it is not on the record."""

    def refuse(_event: Event) -> None:
        raise DiskRefused("no room")

    Audit(refuse, SystemClock(), gateway="pi", rules=lambda: tmp_path).record("x_changed", "person:a")
