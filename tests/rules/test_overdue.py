"""How long a worker may be at something: by the looks at it, not by a clock that a machine at a standstill has, too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from gateway.rules.worker import process as processes
from gateway.rules.worker.blame import Activity
from gateway.rules.worker.process import ENGINE_S_MAX, STARVED_FACTOR, WorkerProcess

LIMIT_S, LOOK_S = 0.5, 0.05


class Watch:
    """A worker that does what the test writes into its slot, and somebody who looks at it."""

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process
        self.now = 1000.0
        self.used: tuple[bool, float] = (False, 0.0)  # whether it waits for the machine, processor seconds

    def looks(self, seconds: float, since_s: float | None = None) -> Activity | None:
        """Look often for so long; return what it is at for too long, if it is."""
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            found = self.process.overdue(LIMIT_S, LIMIT_S, since_s)
            if found is not None:
                return found.activity
        return None


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Start a worker, and look at it by a clock of the test's own."""
    made = Watch(WorkerProcess(lambda _: None, lambda: None))
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(made.process, "_cpu_s", lambda: made.used)
    made.process.overdue(LIMIT_S, LIMIT_S)
    yield made
    asyncio.run(made.process.kill())
    made.process.close()


def test_a_call_has_its_limit(watch: Watch) -> None:
    """The same call longer than the limit is overdue; many calls are not, however long they take together."""
    for number in range(100):
        watch.process._slot.call(0, number, 1)
        assert watch.looks(LIMIT_S / 2) is None
    assert watch.looks(LIMIT_S) is Activity.CALL


def test_time_in_which_nobody_looked_is_not_the_rules(watch: Watch) -> None:
    """A machine that stands still in the middle of a call and goes on has taken no time of the call's."""
    watch.process._slot.call(0, 1, 1)
    for _ in range(3):
        assert watch.looks(2 * LOOK_S) is None
        watch.now += 20.0
        assert watch.looks(LOOK_S) is None
        watch.process._slot.done()
        assert watch.looks(LOOK_S, watch.now) is None
        watch.process._slot.call(0, 2, 1)
    assert watch.looks(2 * LIMIT_S) is Activity.CALL


def test_who_waits_for_the_machine_has_more_time(watch: Watch) -> None:
    """A call that gets next to nothing of the processor, and wants more, has many limits; one that sleeps has one."""
    watch.used = (True, 0.0)
    watch.process._slot.call(0, 1, 1)
    assert watch.looks(LIMIT_S * STARVED_FACTOR - 2 * LOOK_S) is None
    watch.used = (False, 0.0)
    assert watch.looks(LOOK_S) is Activity.CALL
    watch.process._slot.call(0, 2, 1)
    watch.used = (True, 1.0)
    assert watch.looks(LOOK_S) is None
    watch.used = (True, 1.0 + LIMIT_S)
    assert watch.looks(LIMIT_S + LOOK_S) is Activity.CALL


def test_who_owes_an_answer_and_does_nothing(watch: Watch) -> None:
    """Being at nothing has a limit from the last thing that was sent; who was sent nothing may rest."""
    assert watch.looks(3 * ENGINE_S_MAX) is None
    assert watch.looks(ENGINE_S_MAX - LOOK_S, 1.0) is None
    assert watch.looks(ENGINE_S_MAX - LOOK_S, 2.0) is None
    watch.now += 60.0
    assert watch.looks(LOOK_S, 3.0) is None
    assert watch.looks(ENGINE_S_MAX + LOOK_S, 3.0) is Activity.ENGINE
