"""When it really happened: the clock is wrong, is set, is lost over a boot; stored bytes stay as they are."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.clock import NS_PER_S, rfc3339, wall_ns_of
from gateway.errors import JournalError
from gateway.event import Event, Lane, stamp, stamp_unsynced
from gateway.history.query import EventFilter, Past
from gateway.journal.inspection import Inspection
from gateway.journal.journal import Journal
from gateway.journal.options import SEGMENT_BYTES_MIN, JournalOptions
from gateway.journal.timeline import STRETCHES_MAX, TABLE

OPTIONS = JournalOptions(bytes_max=16 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False)
TRUE_NS = 1_800_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
NEAR_NS = 2_000_000  # times are written in milliseconds


@dataclass
class BoardClock:
    """A board's clock: `true_ns` is what nobody there knows."""

    true_ns: int = TRUE_NS
    up_ns: int = 10 * NS_PER_S
    offset_ns: int = 0
    boot: str = "boot-1"
    believed: bool = False

    def wall_ns(self) -> int:
        """Return what it shows."""
        return self.up_ns + self.offset_ns

    def boot_ns(self) -> int:
        """Return the time since boot."""
        return self.up_ns

    def boot_id(self) -> str:
        """Return which boot it is."""
        return self.boot

    def synced(self) -> bool:
        """Return whether it is believed."""
        return self.believed

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.true_ns += round(seconds * NS_PER_S)
        self.up_ns += round(seconds * NS_PER_S)

    def correct(self) -> None:
        """Set it to the truth, and believe it."""
        self.offset_ns, self.believed = self.true_ns - self.up_ns, True

    def reboot(self, off_s: float, name: str) -> None:
        """Begin in 1970 again, after some time without power."""
        self.true_ns += round(off_s * NS_PER_S)
        self.up_ns, self.offset_ns, self.boot, self.believed = 10 * NS_PER_S, 0, name, False


class Board:
    """A journal on a board, and when its events really happened."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, BoardClock()
        self.true: dict[int, int] = {}
        self.start()

    def start(self) -> None:
        """Start the gateway."""
        self.journal = Journal.open(self.folder, OPTIONS, self.clock)
        self._mark()

    def set(self) -> None:
        """Take note of a clock that was changed, as the gateway does."""
        journal = self.journal
        journal.timeline.note(journal, self.clock, journal.last_sequence + 1, epoch=journal.epoch)
        self._mark()

    def _mark(self) -> None:
        self.journal.stamp = stamp if self.clock.believed else stamp_unsynced

    def event(self, **more: Any) -> int:
        """Append one; returns its sequence."""
        time = more.pop("time", None) or rfc3339(self.clock.wall_ns())
        self.journal.append(Event(source="/gw/s", type="t", subject="s/d:a", time=time, **more))
        self.true[self.journal.last_sequence] = self.clock.true_ns
        return self.journal.last_sequence

    def told(self) -> dict[int, dict[str, Any]]:
        """Return what is read, by sequence."""
        self.journal.commit()
        reader = self.journal.reader(Lane.TELEMETRY)
        return {each.sequence: msgspec.json.decode(each.raw) for each in reader.read(0, 10_000, 1 << 24)}


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Return a board that has booted in 1970."""
    return Board(tmp_path)


def test_once_the_clock_is_believed_the_past_has_its_true_time(board: Board) -> None:
    """Events of this boot, before and behind a restart of the gateway, are read as if the clock had been right."""
    first = board.event()
    board.clock.sleep(3600)
    second = board.event()
    board.journal.close()
    board.start()
    third = board.event()
    assert board.told()[first]["clock"] == "unsynced"
    board.clock.correct()
    board.set()
    fourth = board.event()
    told = board.told()
    for sequence in (first, second, third):
        assert told[sequence]["clock"] == "corrected"
        assert told[sequence]["uncorrectedtime"].startswith("1970-01-01T0")
        assert abs(wall_ns_of(told[sequence]["time"]) - board.true[sequence]) <= NEAR_NS
        assert "bootid" not in told[sequence]
    assert "clock" not in told[fourth]
    stored = board.journal.reader(Lane.TELEMETRY, given_up=True).read(0, 10, 1 << 20)
    assert b"corrected" not in b"".join(each.raw for each in stored), "stored bytes are never rewritten"


def test_what_was_never_known_is_marked_ordered_and_bounded(board: Board) -> None:
    """Events of a boot that was never believed say boot, offset, and between which times they happened."""
    board.clock.correct()
    board.set()
    board.event()
    board.journal.close()
    known = board.clock.wall_ns()
    board.clock.reboot(5000, "boot-2")
    board.start()
    lost = board.event()
    board.journal.close()
    board.clock.reboot(5000, "boot-3")
    board.clock.correct()
    board.start()
    after = board.clock.wall_ns()
    event = board.told()[lost]
    assert (event["clock"], event["bootid"], event["clockoffset"]) == ("unsynced", "boot-2", "0")
    assert known - HOUR_NS <= wall_ns_of(event["notbefore"]) <= board.true[lost] <= wall_ns_of(event["notafter"])
    assert abs(wall_ns_of(event["notafter"]) - after) <= NEAR_NS
    board.journal.close()
    inspection = Inspection(board.folder)
    (seen,) = [
        e for e in Past(inspection.store, lambda: inspection.last_sequence).events(EventFilter()) if b"boot-2" in e
    ]
    assert msgspec.json.decode(seen) == event, "the folder of a gateway that does not run says the same"


def test_a_clock_believed_in_a_later_start_of_the_same_boot(board: Board) -> None:
    """The gateway was down while the clock was set: the boot is the same, so its events are corrected."""
    first = board.event()
    board.journal.close()
    board.clock.sleep(60)
    board.clock.correct()
    board.start()
    assert abs(wall_ns_of(board.told()[first]["time"]) - board.true[first]) <= NEAR_NS


def test_what_is_appended_a_little_behind_the_change(board: Board) -> None:
    """An event that was stamped before the clock was set and appended behind it is corrected, too."""
    board.event()
    old, true = rfc3339(board.clock.wall_ns()), board.clock.true_ns
    board.clock.sleep(1)
    board.clock.correct()
    board.set()
    late = board.event(time=old, clock="unsynced")
    own = board.event(clock="unsynced")  # its own doubt: a timer whose waiting nobody could measure
    told = board.told()
    assert abs(wall_ns_of(told[late]["time"]) - true) <= NEAR_NS
    assert told[own]["clock"] == "unsynced"


def test_the_devices_own_time(board: Board) -> None:
    """A device's time that was right stays; one that its clock got from ours is as wrong, and goes along."""
    wrong = rfc3339(board.clock.wall_ns() - 30 * NS_PER_S)
    right = rfc3339(board.clock.true_ns - 30 * NS_PER_S)
    ours = board.event(time=wrong, received=rfc3339(board.clock.wall_ns()))
    theirs = board.event(time=right, received=rfc3339(board.clock.wall_ns()))
    board.clock.correct()
    board.set()
    for sequence in (ours, theirs):
        event = board.told()[sequence]
        assert abs(wall_ns_of(event["time"]) - (board.true[sequence] - 30 * NS_PER_S)) <= NEAR_NS
        assert abs(wall_ns_of(event["received"]) - board.true[sequence]) <= NEAR_NS


def test_how_long_is_left_goes_by_the_boot_clock(board: Board) -> None:
    """A time that a record names is as far away as it was, whatever the wall clock does; an unknown night ends it."""
    timeline, clock = board.journal.timeline, board.clock
    sequence, until = board.event(), clock.wall_ns() + HOUR_NS
    clock.sleep(600)
    clock.correct()
    board.set()
    assert board.journal.timeline.left_ns(sequence, until, clock) == HOUR_NS - 600 * NS_PER_S
    clock.sleep(3001)
    assert timeline.left_ns(sequence, until, clock) < 0
    later, until = board.event(), clock.wall_ns() + HOUR_NS
    board.told()
    board.journal.close()
    clock.reboot(60, "boot-2")
    board.start()
    assert board.journal.timeline.left_ns(later, until, clock) < 0, "nobody knows how long it was off"
    clock.correct()
    board.set()
    assert abs(board.journal.timeline.left_ns(later, until, clock) - (HOUR_NS - 60 * NS_PER_S)) <= NEAR_NS


def test_many_boots_take_a_bounded_table(board: Board) -> None:
    """Rows are kept for what the journal still has, at most STRETCHES_MAX; a clock that is always right needs few."""
    board.clock.correct()
    for n in range(5):
        board.event()
        board.journal.close()
        board.clock.boot = f"right-{n}"
        board.start()
    assert len(board.journal.table(TABLE)) <= 3
    for n in range(70):
        board.event()
        board.journal.close()
        board.clock.reboot(10, f"wrong-{n}")
        board.start()
    assert STRETCHES_MAX // 2 < len(board.journal.table(TABLE)) <= STRETCHES_MAX + 1


def test_a_clock_that_is_set_all_the_time_takes_a_bounded_table(board: Board) -> None:
    """Without a start in between, too: the newest stretches stay, and what is told now is right."""
    board.clock.correct()
    for n in range(3 * STRETCHES_MAX):
        board.clock.sleep(1)
        board.clock.offset_ns += n * NS_PER_S
        board.event()
        board.set()
    assert len(board.journal.table(TABLE)) == STRETCHES_MAX
    assert board.journal.timeline.stretches[-1].first == board.journal.last_sequence + 1


def test_the_smallest_journal_starts_for_ever(tmp_path: Path) -> None:
    """Starts and clocks are remembered within the tables of a journal of the smallest size, full of rows of others."""
    small = JournalOptions(bytes_max=8 * SEGMENT_BYTES_MIN, segment_bytes=SEGMENT_BYTES_MIN)
    clock = BoardClock()
    for n in range(80):
        clock.reboot(10, f"{n:036d}")
        journal = Journal.open(tmp_path, small, clock)
        with suppress(JournalError):
            for row in range(200):
                journal.put("rule_state", f"{n}-{row}", "x" * 100)
                journal.commit()
        journal.append(Event(source="/gw/s", type="t", subject="s/d:a", time=rfc3339(clock.wall_ns())))
        journal.commit()
        journal.close()
    assert len(journal.table(TABLE)) == small.stretches_max < STRETCHES_MAX


def test_history_finds_events_by_their_true_time(board: Board) -> None:
    """Who asks what happened in an hour gets what happened then, not what said so."""
    hidden = board.event()
    board.clock.correct()
    board.set()
    board.event()
    board.journal.commit()
    past = Past(board.journal.store, lambda: board.journal.durable_sequence)
    since = EventFilter(since=rfc3339(board.true[hidden] - HOUR_NS))
    assert [msgspec.json.decode(raw)["sequence"] for raw in past.events(since)] == [f"{n:016d}" for n in (1, 2)]
    assert list(past.events(EventFilter(until="1980-01-01T00:00:00Z"))) == []


@pytest.mark.parametrize("seed", range(8))
def test_any_life_of_a_clock(tmp_path: Path, seed: int) -> None:
    """Boots, jumps and corrections in any order: a time is right, or it is marked and its bounds hold."""
    chance, board = random.Random(seed), Board(tmp_path)
    clock, boots = board.clock, {"boot-1": False}
    where: dict[int, str] = {}
    for step in range(40):
        clock.sleep(chance.uniform(0.1, 500))
        match chance.choice(["event", "event", "event", "correct", "jump", "boot", "start"]):
            case "event":
                where[board.event()] = clock.boot
            case "correct":
                clock.correct()
                board.set()
            case "jump":
                clock.offset_ns += round(chance.uniform(-4e8, 4e8) * NS_PER_S)
                clock.believed = False
                board.set()
            case "boot":
                board.journal.close()
                clock.reboot(chance.uniform(1, 1e6), f"boot-{step + 2}")
                board.start()
            case _:
                board.journal.close()
                board.start()
        boots[clock.boot] = boots.get(clock.boot, False) or clock.believed
    for sequence, event in board.told().items():
        if boots[where[sequence]]:
            assert abs(wall_ns_of(event["time"]) - board.true[sequence]) <= NEAR_NS
        else:
            assert event["clock"] == "unsynced"
            assert event["bootid"] == where[sequence]
            assert wall_ns_of(event.get("notbefore", rfc3339(0))) <= board.true[sequence]
            assert board.true[sequence] <= wall_ns_of(event.get("notafter", "2200-01-01T00:00:00Z"))


def test_every_record_says_its_boot(board: Board) -> None:
    """Of each record boot, time since boot and when it was written are known, whatever the wall clock said then."""
    first = board.event()
    board.journal.commit()
    board.clock.sleep(100)
    board.clock.correct()
    board.set()
    board.event()
    board.journal.commit()
    starts = board.journal.table("starts")
    past = Past(board.journal.store, lambda: board.journal.durable_sequence, starts=lambda: starts)
    for sequence, up_s in ((1, 10.0), (2, 110.0)):
        raw, written = past.at(sequence) or (b"", "")
        assert past.moment(sequence, raw) == {"boot": "boot-1", "boot_s": up_s}
        assert abs(wall_ns_of(written) - board.true[sequence]) <= NEAR_NS
    forgotten = Past(board.journal.store, lambda: board.journal.durable_sequence, starts=lambda: starts)
    board.journal.timeline._now = msgspec.structs.replace(board.journal.timeline._now, firsts=[], stretches=[])
    raw = msgspec.json.encode({"time": rfc3339(20 * NS_PER_S)})
    assert forgotten.moment(first, raw) == {"boot": "boot-1", "boot_s": 20.0}
