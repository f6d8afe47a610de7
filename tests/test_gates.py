"""Events that wait for a gate: which are held, what leaves, what a restart finds, and what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gateway.event import Event, decode, encode
from gateway.gates import HELD_MAX, Gates
from gateway.profiles.devices import Device, Devices
from gateway.rules.protocol import GateInfo
from simulators.journal import SimClock

LIMIT_S = 2.0
FRONT = "house/z2m:front"
OPEN = GateInfo("people", ("door_opened",), kind=("door",))
CLOSED = GateInfo("secret", ("door_opened", "motion_detected"), room=("bath",), closed=True, file="secret.py")
BATH = "house/z2m:bath"


class Log:
    """Stands around gates: a clock, a log of records, the rows of their table."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.rows: dict[str, Any] = {}
        self.records: list[tuple[int, bytes]] = []
        self.devices = Devices([Device(id="house/z2m:bath", room="bath", kind="door")])
        self.disabled: set[str] = set()
        self.woken = 0
        self.gates = self.start()

    def start(self) -> Gates:
        """Begin (again) with what is on the disk."""
        self.gates = Gates(
            "log", self.clock, LIMIT_S, dict(self.rows), keep=self._keep, last_sequence=lambda: len(self.records),
            installed=self.devices.get, values={FRONT: {"$": {"class": "contact_sensor"}}},
            disabled=lambda: self.disabled, wake=self._wake,
        )  # fmt: skip
        self.gates.restore(self._read, len(self.records))
        return self.gates

    def _wake(self) -> None:
        self.woken += 1

    def _keep(self, table: str, key: str, row: Any) -> None:
        assert table == "gates"
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = msgspec.msgpack.decode(msgspec.msgpack.encode(row))

    def _read(self, after: int, limit: int) -> tuple[Sequence[tuple[int, bytes]], int]:
        found = [record for record in self.records if record[0] > after][:limit]
        return found, found[-1][0] if found else len(self.records)

    def append(self, *events: Event) -> list[Event]:
        """Append as the pipeline does."""
        self.gates.hold(events)
        raws = []
        for event in events:
            sequence = len(self.records) + 1
            msgspec.structs.force_setattr(event, "sequence", f"{sequence:016d}")
            msgspec.structs.force_setattr(event, "id", event.id or f"log-{sequence:x}")
            raws.append(encode(event))
            self.records.append((sequence, raws[-1]))
        self.gates.took(events, raws)
        return list(events)


def opened(subject: str = FRONT, **attributes: Any) -> Event:
    """Return the event of a door."""
    return Event(source="/gw/house", type="door_opened", subject=subject, data={"open": True}, **attributes)


@pytest.fixture
def log() -> Log:
    """Return gates that hold events of doors and of the bath."""
    made = Log()
    made.gates.declare([OPEN, CLOSED])
    return made


def test_only_what_a_gate_is_about_is_held(log: Log) -> None:
    """By type and by what the device is: kind from its class, room from devices.toml."""
    motion = Event(source="/gw/house", type="motion_detected", subject="house/z2m:bath")
    other = Event(source="/gw/house", type="motion_detected", subject="house/z2m:hall")
    held = log.append(opened(), motion, other, opened("house/z2m:unknown"))
    assert [event.held for event in held] == [True, True, False, False]
    assert [decode(raw).held for _, raw in log.records] == [True, True, False, False]
    assert log.gates.waiting == 2


def test_a_verdict_lets_a_copy_go_changed_or_not_at_all(log: Log) -> None:
    """Copies have an id of their own that is always the same, the event as their cause, and say which gate."""
    one, two, three = log.append(opened(), opened(), opened())
    verdicts = [(1, True, ""), (2, {"open": "yes"}, "people"), (3, False, "people")]
    left = log.gates.judge(3, verdicts)
    assert [(event.cause, event.gate, event.data, event.held) for event in left] == [
        (one.id, "open", {"open": True}, False),
        (two.id, "people", {"open": "yes"}, False),
    ]
    assert left[0].id not in (left[1].id, one.id)
    assert three.id not in {event.cause for event in left}
    log.gates.note()
    assert log.gates.report()["people"] == {"held": 3, "changed": 1, "dropped": 1}
    assert log.start().report()["people"]["dropped"] == 1, "over a restart, too"


def test_what_no_gate_said_anything_of_goes(log: Log) -> None:
    """A gate that was removed or disabled meanwhile holds nothing back."""
    log.append(opened())
    assert [event.gate for event in log.gates.judge(1, [])] == ["open"]


def test_time_over_lets_go_or_drops(log: Log) -> None:
    """After the limit an event goes as it is; one that a gate with fail="closed" is about is dropped, and counted."""
    log.append(opened(), opened("house/z2m:bath"))
    assert log.gates.overdue() == []
    log.clock.pass_time(LIMIT_S)
    assert [event.gate for event in log.gates.overdue()] == ["late"]
    assert log.gates.waiting == 0
    assert log.gates.judge(2, [(1, False, "people"), (2, True, "")]) == [], "decided once"
    assert log.gates.report()["secret"] == {"held": 1, "late": 1, "dropped": 1}


def test_a_restart_finds_what_was_held_and_not_decided(log: Log) -> None:
    """With the decision on the disk it is not asked again; without it, it gets the same id."""
    log.append(opened(), opened())
    first = log.gates.judge(1, [(1, True, "")])
    log.gates.note()
    before = log.gates.judge(2, [(2, True, "")])  # and a kill before it is on the disk
    again = log.start()
    assert again.waiting == 1
    assert [event.id for event in again.judge(2, [])] == [event.id for event in before]
    assert first[0].id != before[0].id


def test_what_was_held_is_counted_once_over_a_kill(log: Log) -> None:
    """What waits counts as held at once; a kill before or behind its decision changes no number, the first included."""
    log.append(opened(), opened(BATH))
    assert log.gates.report() == {"people": {"held": 2}, "secret": {"held": 1}}
    again = log.start()
    assert again.report() == {"people": {"held": 2}, "secret": {"held": 1}}, "nothing was noted before the kill"
    again.judge(2, [(1, True, ""), (2, False, "secret")])
    again.note()
    assert log.start().report() == {"people": {"held": 2}, "secret": {"held": 1, "dropped": 1}}


def test_a_change_of_gates_is_committed_now(log: Log) -> None:
    """The next start holds events by what is on the disk: a gate that is new there waits for no other event."""
    woken = log.woken
    log.gates.declare([OPEN])
    assert log.woken == woken + 1
    log.gates.declare([OPEN])
    assert log.woken == woken + 1


def test_events_are_held_from_the_first_moment_of_a_start(log: Log) -> None:
    """Nobody has loaded a rule yet: the gates of the last run count."""
    log.start()
    assert [event.held for event in log.append(opened())] == [True]


def test_a_restart_long_after_reads_little(log: Log) -> None:
    """What passed by unheld is not read again."""
    other = [Event(source="/gw/house", type="temperature_changed", subject=FRONT) for _ in range(12_000)]
    log.append(*other)
    log.gates.note()
    assert log.rows["after"] == 12_000


def test_too_many_are_decided_as_if_their_time_were_over(log: Log) -> None:
    """Memory is bounded, whatever rules do."""
    log.append(*[opened() for _ in range(HELD_MAX + 5)])
    assert [event.gate for event in log.gates.overdue()] == ["late"] * 5
    assert log.gates.waiting == HELD_MAX


def test_without_gates_nothing_is_held(log: Log) -> None:
    """The last rule file with a gate is gone; what waits still gets its answer."""
    log.append(opened())
    log.gates.declare([])
    assert [event.held for event in log.append(opened())] == [False]
    assert [event.gate for event in log.gates.judge(2, [])] == ["open"]
    assert "declared" not in log.rows


def test_a_closed_gate_whose_file_does_not_load_stays_closed(log: Log) -> None:
    """Nobody is asked, so nothing of what it is about leaves, over a restart, too; others' events go as they did."""
    log.append(opened(BATH))
    log.gates.declare([OPEN], {"secret.py"})
    assert log.gates.judge(1, [(1, True, "")]) == [], "held before, judged after: it could not be asked"
    assert [gate.name for gate in log.gates.lost] == ["secret"]
    log.gates.note()
    again = log.start()
    again.declare([OPEN], {"secret.py"})
    log.append(opened(BATH), opened())
    assert [event.subject for event in again.judge(3, [(2, True, ""), (3, True, "")])] == [FRONT]
    log.append(opened(BATH))
    log.clock.pass_time(LIMIT_S)
    assert again.overdue() == []
    assert again.report()["secret"] == {"held": 3, "dropped": 3}


def test_a_closed_gate_opens_when_its_file_loads_is_removed_or_it_is_disabled(log: Log) -> None:
    """What was dropped by a gate that is back and was not asked is not let go; a person's word opens it."""
    log.gates.declare([], {"secret.py"})
    assert log.gates.types == {"door_opened", "motion_detected"}, "the open gate is gone"
    log.append(opened(BATH))
    log.gates.declare([CLOSED])
    assert log.gates.lost == []
    assert log.gates.judge(1, []) == [], "appended while nobody could be asked, and nobody was"
    log.gates.declare([], {"secret.py"})
    log.append(opened(BATH))
    log.gates.declare([CLOSED])
    assert [event.gate for event in log.gates.judge(2, [(2, True, "")])] == ["open"], "it was asked after all"
    log.gates.declare([], {"secret.py", "people.py"})
    log.disabled.add("secret")
    log.gates.declare([], {"secret.py"})
    assert [event.held for event in log.append(opened(BATH))] == [False]
    log.disabled.clear()
    log.gates.declare([CLOSED])
    log.gates.declare([])
    assert [event.held for event in log.append(opened(BATH))] == [False], "its file was removed"
