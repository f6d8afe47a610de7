"""When a commit begins: soon while commits are rare, seldom under lasting load, at once when nobody can send more."""

from __future__ import annotations

from gateway.journal.pace import COMMITS_AHEAD, SHORT_S, STALL_RECORDS, STALL_S, Pace

LONGEST_S = 0.1
WRITE_S = 0.001


def commits(pace: Pace, per_s: float, seconds: float, start: float = 1000.0) -> list[float]:
    """Let one event after the other come; return the moments of commits."""
    made: list[float] = []
    look, records = None, 0
    for n in range(round(per_s * seconds)):
        now = start + n / per_s
        while look is not None and look <= now:
            again = pace.look(look, records)
            if again is None:
                pace.committed(look + WRITE_S)
                made.append(look + WRITE_S)
                records = 0
            look = again
        if look is None:
            look = pace.begin(now)
        records += 1
    return made


def test_a_quiet_house_waits_only_for_what_comes_along() -> None:
    """Five events a second: each has its commit after SHORT_S, for hours."""
    pace = Pace(LONGEST_S)
    made = commits(pace, 5, 3600)
    assert len(made) >= 5 * 3600 - 1
    assert max(moment * 5 % 1 for moment in made) < (SHORT_S + 2 * WRITE_S) * 5


def test_lasting_load_commits_once_in_the_longest_delay() -> None:
    """At a thousand events a second there is a commit every `max_delay_ms`, but for the allowance at the beginning."""
    made = commits(Pace(LONGEST_S), 1000, 60)
    assert len(made) <= 60 / LONGEST_S + COMMITS_AHEAD
    assert len(made) >= 60 / (LONGEST_S + 2 * WRITE_S) - 1


def test_a_rest_brings_the_allowance_back() -> None:
    """After a burst and a pause the first events are answered soon again."""
    pace = Pace(LONGEST_S)
    commits(pace, 1000, 10)
    assert pace.begin(1010.001) == 1010.001 + STALL_S
    assert pace.look(1010.001 + STALL_S, 1) is not None  # none is left
    later = 1010.0 + LONGEST_S * COMMITS_AHEAD + 1
    pace.begin(later)
    assert pace.look(later + SHORT_S, 1) is None


def test_commits_that_asked_nobody_count() -> None:
    """Alarms commit at once; behind many of them telemetry waits longer."""
    pace = Pace(LONGEST_S)
    pace.begin(0.0)
    for n in range(COMMITS_AHEAD * 2):
        pace.committed(n / 1000)
    pace.begin(0.05)
    assert pace.look(0.05 + SHORT_S, 1) is not None
    assert pace.look(0.05 + LONGEST_S, 1) is None


def test_a_sender_that_waits_for_us_is_not_kept_waiting() -> None:
    """A full window and silence: no use in waiting on; a lone device's message does wait."""
    for records, over in ((STALL_RECORDS, True), (STALL_RECORDS - 1, False)):
        pace = Pace(10.0)
        for _ in range(COMMITS_AHEAD):
            pace.committed(0.0)
        look = pace.begin(0.1)
        again = pace.look(look, records)
        assert again is not None
        assert (pace.look(again, records) is None) is over


def test_no_delay_means_none() -> None:
    """`max_delay_ms = 0`: look at once, and it is time."""
    pace = Pace(0.0)
    for now in (5.0, 5.0, 6.0):
        assert pace.begin(now) == now
        assert pace.look(now, 1) is None
        pace.committed(now)
