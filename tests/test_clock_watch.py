"""The clock is watched: believed, set, behind; and a machine's clock that moves only when it is settled."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import clock as clocks
from gateway.clock import NS_PER_S, RELEASED_NS, SystemClock, rfc3339, state_of, wall_ns_of
from gateway.clock_watch import STEPS_TOLD_MAX, ClockWatch
from gateway.event import Event, Lane, decode
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions

OPTIONS = JournalOptions(bytes_max=16 * 1024 * 1024, segment_bytes=256 * 1024, preallocate=False)


class Machine:
    """What a machine says of its clock; put in the place of the kernel's words."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        true_ns = wall_ns_of("2027-02-03T04:05:06Z") - SystemClock().boot_ns()
        self.ahead_ns, self.kernel, self.flag = 0, False, 0
        monkeypatch.setattr(clocks, "_offset_ns", lambda: true_ns + self.ahead_ns)
        monkeypatch.setattr(clocks, "_kernel_synced", lambda: self.kernel)
        monkeypatch.setattr(clocks, "_flagged", lambda: self.flag)
        monkeypatch.setattr(clocks, "_ASK_EVERY_NS", 0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a machine that nobody has set the clock of."""
    return Machine(monkeypatch)


class Decoder:
    """Marks events."""

    synced = True


class Scene:
    """A journal and who watches its clock."""

    def __init__(self, folder: Path) -> None:
        self.clock = SystemClock()
        self.journal = Journal.open(folder, OPTIONS, self.clock)
        self.decoder = Decoder()
        self.retold, self.told = 0, list[tuple[int, int]]()
        self.watch = ClockWatch(
            self.journal, self.clock, self._record, gateway="gw", marks=lambda: [self.decoder],
            retell=self._retell, clock_set=lambda last, offset_ns: self.told.append((last, offset_ns)),
        )  # fmt: skip

    def _record(self, event: Event) -> None:
        self.journal.append(event)

    def _retell(self) -> None:
        self.retold += 1

    def happen(self) -> None:
        """Append an event."""
        self.journal.append(Event(source="/gw/s", type="t", time=rfc3339(self.clock.wall_ns())))

    def events(self) -> list[Event]:
        """Return what is in the journal."""
        self.journal.commit()
        return [decode(each.raw) for each in self.journal.reader(Lane.TELEMETRY).read(0, 1000, 1 << 20)]


def test_the_wall_moves_only_when_it_is_settled(machine: Machine) -> None:
    """Whoever sets the machine's clock, ours goes on as it did until it is settled; then it says by how much."""
    clock = SystemClock()
    before = clock.wall_ns()
    machine.ahead_ns = 3600 * NS_PER_S
    assert before <= clock.wall_ns() < before + 1800 * NS_PER_S
    assert abs(clock.settle() - 3600 * NS_PER_S) < NS_PER_S
    assert clock.wall_ns() > before + 1800 * NS_PER_S
    assert abs(clock.settle()) < NS_PER_S


def test_a_believed_clock_that_is_set_is_doubted(machine: Machine) -> None:
    """It is believed again when the kernel or a newer flag of timesyncd says so; a clock chip is believed always."""
    machine.flag = 1
    clock, chip = SystemClock(), SystemClock(trusted=True)
    assert clock.synced()
    machine.ahead_ns = 3600 * NS_PER_S
    clock.settle()
    chip.settle()
    assert (clock.synced(), chip.synced()) == (False, True)
    machine.flag = 2
    assert clock.synced()
    machine.ahead_ns, machine.flag = 0, 2
    clock.settle()
    assert not clock.synced()
    machine.kernel = True
    assert clock.synced()


def test_a_clock_that_is_set_is_believed_when_it_is_settled(machine: Machine) -> None:
    """Who asks between the moment it is set and the next look does not take the old time for a true one."""
    clock = SystemClock()
    assert not clock.synced()
    machine.ahead_ns, machine.kernel = 3600 * NS_PER_S, True
    assert not clock.synced()
    clock.settle()
    assert clock.synced()


def test_behind_is_a_state_of_its_own(machine: Machine) -> None:
    """A clock that shows less than the newest believed record, or is older than this program, is behind until set."""
    machine.ahead_ns = -50 * 365 * 86_400 * NS_PER_S
    clock = SystemClock()
    assert state_of(clock) == "behind"
    machine.ahead_ns = 0
    clock.settle()
    assert state_of(clock) == "unsynced"
    assert state_of(clock, clock.wall_ns() + 3600 * NS_PER_S) == "behind"
    machine.kernel = True
    assert state_of(clock, clock.wall_ns() + 3600 * NS_PER_S) == "synced"
    assert clock.wall_ns() > RELEASED_NS, "this program is not from the future"


def test_from_1970_to_the_truth(tmp_path: Path, machine: Machine) -> None:
    """What was marked gets its true time, clock_stepped and clock_synced say so, rules and routes hear of it."""
    machine.ahead_ns = -50 * 365 * 86_400 * NS_PER_S
    scene = Scene(tmp_path)

    def state() -> str:
        return scene.watch.state.state

    scene.watch.look()
    scene.happen()
    assert state() == "behind"
    assert scene.watch.state.not_before == rfc3339(RELEASED_NS)
    assert not scene.decoder.synced
    (first,) = scene.events()
    assert (first.clock, first.time[:4] < "2000") == ("unsynced", True)
    machine.ahead_ns, machine.kernel = 0, True
    scene.watch.look()
    scene.happen()
    first, stepped, synced, last = scene.events()
    assert (first.clock, first.time[:4] >= "2026") == ("corrected", True)
    assert (stepped.type, synced.type) == ("clock_stepped", "clock_synced")
    assert abs(synced.data["offset_s"] - 50 * 365 * 86_400) < 5
    assert (synced.data["first"], synced.data["records"]) == (1, 1)
    assert stepped.data["code"] == "EG-603"
    assert (last.clock, scene.decoder.synced, scene.retold) == (None, True, 1)
    assert scene.told[0][0] == 1
    assert state() == "synced"


def test_a_clock_that_is_slewed_is_no_news(tmp_path: Path, machine: Machine) -> None:
    """What NTP does every day, below five seconds, is said to nobody."""
    machine.kernel = True
    scene = Scene(tmp_path)
    for ahead_ms in (3, -40, 900, 4000):
        machine.ahead_ns = ahead_ms * 1_000_000
        scene.watch.look()
    assert scene.events() == []
    assert scene.watch.state.synced


def test_a_clock_that_jumps_to_and_fro_fills_no_disk(tmp_path: Path, machine: Machine) -> None:
    """Events are bounded, the table is, and every jump is counted."""
    scene = Scene(tmp_path)
    for n in range(STEPS_TOLD_MAX + 20):
        machine.ahead_ns = (n % 2) * 3600 * NS_PER_S
        scene.watch.look()
    assert scene.watch.state.steps >= STEPS_TOLD_MAX + 19
    assert len(scene.events()) == STEPS_TOLD_MAX
