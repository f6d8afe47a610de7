"""What is stuck, and what only waits for somebody else."""

from __future__ import annotations

from gateway.progress import LOOK_S_MAX, SHARES, Mark, Watch, limit_s

WATCHDOG_S = 10.0


def looks(watch: Watch, first_s: int, last_s: int, marks: dict[str, Mark]) -> list[str]:
    """Look once a second; return what was stuck at the last look."""
    found = [watch.look(float(now), marks) for now in range(first_s, last_s + 1)][-1]
    return [each.stage for each in found]


def test_work_without_progress_is_stuck_at_its_limit() -> None:
    """A stage that has work is stuck when its number stays the same for its limit, and not before."""
    for stage in SHARES:
        watch, limit = Watch(WATCHDOG_S), int(limit_s(stage, WATCHDOG_S))
        assert looks(watch, 0, limit - 1, {stage: Mark(work=True, done=7)}) == []
        assert looks(watch, limit, limit, {stage: Mark(work=True, done=7)}) == [stage]


def test_progress_and_waiting_are_not_stuck() -> None:
    """A stage that gets on, however slowly, or has nothing to do that waits for nobody, is never stuck."""
    watch = Watch(WATCHDOG_S)
    for now in range(500):
        marks = {"tick": Mark(work=True, done=now // 4), "forward[away]": Mark(work=False, done=0)}
        assert watch.look(float(now), marks) == []


def test_what_gets_on_again_begins_anew() -> None:
    """After progress, or a pause without work, the whole limit runs again."""
    watch = Watch(WATCHDOG_S)
    assert looks(watch, 0, 6, {"commit": Mark(work=True, done=1)}) == []
    assert looks(watch, 7, 20, {"commit": Mark(work=False, done=1)}) == []
    assert looks(watch, 21, 40, {"commit": Mark(work=True, done=1)}) == []
    assert looks(watch, 41, 41, {"commit": Mark(work=True, done=1)}) == ["commit"]
    assert looks(watch, 42, 42, {"commit": Mark(work=True, done=2)}) == []


def test_time_that_nobody_looked_does_not_count() -> None:
    """A process that was stopped for an hour, or a machine that slept, has nothing stuck when it goes on."""
    watch = Watch(WATCHDOG_S)
    marks = {"tick": Mark(work=True, done=1), "forward[cloud]": Mark(work=True, done=1)}
    assert watch.look(0.0, marks) == []
    assert watch.look(3600.0, marks) == []
    assert limit_s("tick", WATCHDOG_S) > LOOK_S_MAX


def test_each_route_is_a_stage_of_its_own() -> None:
    """One route that hangs is named, and the others, which get on, are not; its line says what waits."""
    watch = Watch(WATCHDOG_S)
    for now in range(200):
        marks = {"forward[a]": Mark(work=True, done=now), "forward[b]": Mark(work=True, done=1, what="3 sends")}
        found = watch.look(float(now), marks)
    (stuck,) = found
    assert str(stuck) == "stage forward[b] is stuck: no progress for 199 s, 3 sends"


def test_a_patient_stage_has_more_time() -> None:
    """A target that may wait ten minutes for an answer is not stuck before."""
    watch = Watch(WATCHDOG_S)
    marks = {"forward[slow]": Mark(work=True, done=1, patience_s=600.0)}
    assert looks(watch, 0, 599, marks) == []
    assert looks(watch, 600, 600, marks) == ["forward[slow]"]
