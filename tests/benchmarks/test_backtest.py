"""The benchmark of backtests, made small: what it prints is what was read, and the same twice."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.backtest import run, same_twice

EVENTS = 3000


def test_every_event_is_looked_at_and_twice_is_the_same(tmp_path: Path) -> None:
    """Two journals with the same events in other commits come to the same number of actions, each the same twice."""
    lines = run(tmp_path, EVENTS, [100, 7])
    assert [line.events for line in lines] == [EVENTS] * 4
    assert same_twice(lines)
    assert len({line.actions for line in lines}) == 1
    assert lines[0].actions > 10
