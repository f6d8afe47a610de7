"""Timers on a clock that jumps, over a reboot, and where nobody knows the time."""

from __future__ import annotations

from typing import Any

from gateway.clock import NS_PER_S
from gateway.rules.worker.schedule import Schedule

YEAR_S = 365 * 86_400
WALL_S = 1_800_000_000  # some day in 2027


class FakeClock:
    """A clock that is moved by hand: time is the one thing that can't be the real one here."""

    def __init__(self) -> None:
        self.wall_s, self.boot_s, self.boot, self.is_synced = float(WALL_S), 100.0, "boot-1", True

    def wall_ns(self) -> int:
        """Return the wall time."""
        return round(self.wall_s * NS_PER_S)

    def boot_ns(self) -> int:
        """Return the time since boot."""
        return round(self.boot_s * NS_PER_S)

    def boot_id(self) -> str:
        """Return the boot's id."""
        return self.boot

    def synced(self) -> bool:
        """Return whether the wall clock is believed."""
        return self.is_synced

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.wall_s += seconds
        self.boot_s += seconds

    def reboot(self, seconds: float, *, wall_s: float | None = None, synced: bool = True) -> None:
        """Be without power for a time; wake up with some wall time."""
        self.wall_s = self.wall_s + seconds if wall_s is None else wall_s
        self.boot_s, self.boot, self.is_synced = 5.0, self.boot + "+", synced


def row(clock: FakeClock, after_s: float) -> dict[str, Any]:
    """Return a timer as the engine sets it."""
    return {"due": clock.wall_ns() + round(after_s * NS_PER_S), "after": round(after_s * NS_PER_S)}


def keys(schedule: Schedule) -> list[str]:
    """Return what is due."""
    return [due.key for due in schedule.due(100)]


def started(clock: FakeClock, after_s: float) -> tuple[Schedule, dict[str, Any]]:
    """Return a schedule with one timer, and the row as the journal keeps it."""
    schedule = Schedule(clock)
    kept = schedule.anchored(row(clock, after_s))
    schedule.add("a", kept)
    return schedule, kept


def test_in_order_and_once() -> None:
    """Timers are given out at their time, oldest first, each once, as many as asked for."""
    clock = FakeClock()
    schedule = Schedule(clock)
    for name, after_s in (("c", 30), ("a", 10), ("b", 20)):
        schedule.add(name, schedule.anchored(row(clock, after_s)))
    assert schedule.wait_s() == 10
    clock.sleep(25)
    assert [due.key for due in schedule.due(1)] == ["a"]
    assert keys(schedule) == ["b"]
    assert (keys(schedule), len(schedule)) == ([], 1)


def test_a_clock_set_while_a_rule_runs_changes_nothing() -> None:
    """A timer reckoned before the wall clock was set, and kept after, is due at its distance, over a reboot, too."""
    clock = FakeClock()
    then, kept = (clock.wall_ns(), clock.boot_ns()), row(clock, 1800)
    clock.sleep(1)
    clock.wall_s -= 5 * 365 * 86400
    schedule = Schedule(clock)
    kept = schedule.anchored(kept, then)
    schedule.add("a", kept)
    assert schedule.wait_s() == 1799
    clock.reboot(1000)
    again = Schedule(clock)
    again.add("a", kept)
    assert again.wait_s() == 799


def test_a_clock_that_jumps_by_years_changes_nothing() -> None:
    """Within a boot only the boot clock counts; the fired time is put on the wall clock as it is now."""
    clock = FakeClock()
    schedule, _ = started(clock, 1800)
    clock.sleep(600)
    clock.wall_s += 30 * YEAR_S
    assert keys(schedule) == []
    clock.sleep(1205)
    (due,) = schedule.due(10)
    assert due.wall_ns == clock.wall_ns() - 5 * NS_PER_S
    assert due.trusted


def test_over_a_restart_of_the_gateway_the_boot_clock_still_counts() -> None:
    """The row of the journal is enough, whatever the wall clock did meanwhile."""
    clock = FakeClock()
    _, kept = started(clock, 60)
    clock.wall_s -= 10 * YEAR_S
    clock.sleep(50)
    schedule = Schedule(clock)
    schedule.add("a", kept)
    assert keys(schedule) == []
    clock.sleep(10)
    assert keys(schedule) == ["a"]


def test_over_a_reboot_the_synced_wall_clock_counts() -> None:
    """What fell due without power is due at the start, with its true time; the rest waits what is left."""
    clock = FakeClock()
    _, soon = started(clock, 60)
    _, later = started(clock, 600)
    clock.reboot(300)
    schedule = Schedule(clock)
    schedule.add("soon", soon)
    schedule.add("later", later)
    (due,) = schedule.due(10)
    assert (due.key, due.wall_ns) == ("soon", soon["due"])
    assert schedule.wait_s() == 300


def test_over_a_reboot_without_the_time_a_timer_is_late_never_early() -> None:
    """Without a synced clock the whole distance runs again; once it is synced, the true time counts."""
    clock = FakeClock()
    _, kept = started(clock, 600)
    clock.reboot(300, wall_s=0, synced=False)
    schedule = Schedule(clock)
    schedule.add("a", kept)
    clock.sleep(599)
    assert keys(schedule) == []
    clock.sleep(2)
    (due,) = schedule.due(10)
    assert not due.trusted

    schedule = Schedule(clock)
    schedule.add("a", kept)
    clock.is_synced, clock.wall_s = True, WALL_S + 599.0
    assert keys(schedule) == []
    clock.sleep(2)
    (due,) = schedule.due(10)
    assert due.trusted


def test_what_was_set_unsynced_is_never_trusted_over_a_reboot() -> None:
    """A wall time nobody believed then is not believed now."""
    clock = FakeClock()
    clock.is_synced = False
    _, kept = started(clock, 600)
    clock.reboot(0, wall_s=WALL_S + YEAR_S)
    schedule = Schedule(clock)
    schedule.add("a", kept)
    assert keys(schedule) == []
    clock.sleep(600)
    assert keys(schedule) == ["a"]


def test_removed_and_set_again() -> None:
    """A timer that was removed never fires; one set again fires at its new time only."""
    clock = FakeClock()
    schedule, _ = started(clock, 10)
    schedule.remove("a")
    schedule.add("b", schedule.anchored(row(clock, 5)))
    schedule.add("b", schedule.anchored(row(clock, 15)))
    clock.sleep(12)
    assert keys(schedule) == []
    clock.sleep(4)
    assert keys(schedule) == ["b"]


def test_a_clock_that_is_set_is_noticed_once() -> None:
    """A jump, forward or back, is said once; what a clock drifts is said when it comes to seconds."""
    clock = FakeClock()
    schedule = Schedule(clock)
    clock.sleep(1000)
    assert schedule.clock_set() is None
    clock.wall_s += YEAR_S
    assert (schedule.clock_set(), schedule.clock_set()) == (YEAR_S, None)
    clock.wall_s -= 3600
    assert (schedule.clock_set(), schedule.clock_set()) == (-3600, None)
    found = []
    for _ in range(10):
        clock.wall_s += 0.75
        found.append(schedule.clock_set())
    assert [round(jump, 2) for jump in found if jump] == [5.25]


def test_a_clock_that_is_believed_now_is_noticed() -> None:
    """Synchronisation is news even when the clock was right; that it is lost is none."""
    clock = FakeClock()
    clock.is_synced = False
    schedule = Schedule(clock)
    assert schedule.clock_set() is None
    clock.is_synced = True
    assert (schedule.clock_set(), schedule.clock_set()) == (0, None)
    clock.is_synced = False
    assert schedule.clock_set() is None
    clock.is_synced = True
    assert schedule.clock_set() == 0


def test_what_is_set_and_removed_for_ever_takes_no_more_room() -> None:
    """A timer of a year that is set anew with every event leaves nothing behind, and those that wait still fire."""
    clock = FakeClock()
    schedule = Schedule(clock)
    for number in range(20_000):
        schedule.add(f"flap {number}", row(clock, YEAR_S))
        schedule.remove(f"flap {number}")
        if number % 1000 == 0:
            schedule.add(f"kept {number:05d}", row(clock, 10 + number))
    assert len(schedule._heap) < 2000
    clock.sleep(30_000)
    assert keys(schedule) == [f"kept {number:05d}" for number in range(0, 20_000, 1000)]
