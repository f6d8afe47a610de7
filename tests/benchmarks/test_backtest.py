"""The benchmark of backtests, made small: what it prints is what was read, and the same twice."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.backtest import run, same_twice

EVENTS = 3000


def test_every_event_is_looked_at_and_twice_is_the_same(tmp_path: Path) -> None:
    """A journal of small commits is read to its end, and both runs over it come out the same."""
    lines = run(tmp_path, EVENTS, [7])
    assert [line.events for line in lines] == [EVENTS] * 2
    assert same_twice(lines)
    assert lines[0].actions > 10
