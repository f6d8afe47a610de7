"""A gateway that boots in 1970, and what a clock that was never bent says of it."""

from __future__ import annotations

from typing import Any

from simulators.clock.judge import Published, judge
from simulators.clock.rig import run


def test_1970_the_truth_years_ahead_minutes_back() -> None:
    """Nothing is lost, doubled or out of order, no timer is early, the window holds, and no wrong time is unmarked."""
    found = run(seed=7, readings=2, shim=False, short=True)
    assert found.good, found
    assert found.arrived == found.published
    assert found.corrected > found.published // 3
    assert found.told == {"clock_stepped": 4, "clock_synced": 2}


def test_the_judge_sees_what_is_wrong() -> None:
    """A time of 1970 without a word, a wrong correction, a lost reading and a timer that fires early are all found."""
    began = 1_800_000_000.0

    def event(n: int, **more: Any) -> dict[str, Any]:
        about = {"id": f"id-{n}", "type": "temperature_changed", "subject": "house/shelly:a", "sequence": f"{n:016d}"}
        return {**about, "data": {"temperature": n / 10}, "time": "2027-01-15T08:00:00Z", **more}

    published = [Published("a", n, began, began, "") for n in range(1, 6)]
    events = [
        event(1, time="1970-01-01T00:00:10Z"),
        event(2, time="1970-01-01T00:00:10Z", clock="corrected"),
        event(3, clock="unsynced"),
        event(4, sequence="0" * 16, clock="corrected"),
        {**event(6, clock="corrected"), "type": "reading_settled", "data": {"n": 0.4}},
    ]
    found = judge(published, events, windows=1)
    assert (found.silly, found.wrong_corrections, found.unsynced_without_boot, found.missing) == (1, 1, 1, 1)
    assert (found.out_of_order, found.timers_missing, found.timers_early, found.windows_wrong) == (1, 4, 1, 1)
    assert not found.good
