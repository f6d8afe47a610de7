"""The benchmark of a backlog: its figures are of what happened. How fast that was is never asserted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.journal.options import MIB
from tests.benchmarks import backlog


def test_a_backlog_is_measured_and_all_of_it_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was queued and what came on top arrives, alarms too, and the figures are of the gateway's processes."""
    monkeypatch.setattr(backlog, "BUDGET_BYTES", 16 * MIB)
    monkeypatch.setattr(backlog, "APPENDED", 200)
    monkeypatch.setattr(backlog, "REST_S", 0.2)
    monkeypatch.setattr(backlog, "IDLE_SHARE", 1.0)
    with backlog.rig(tmp_path / "x", 3000, 100) as stage:
        assert stage.start() > 0
        stage.settle()
        [append_us] = backlog.append_costs([stage])
        assert append_us > 0
        assert stage.table.totals().unique == 0
        stage.alarms.every_s = 0.001
        figures = backlog.drain(stage, 1)
        assert stage.table.totals().unique == 3000 + 200 * backlog.APPEND_ROUNDS
        assert figures["lost"] == 0
        assert figures["alarms"] == len(stage.alarms.sent) > 0
        assert figures["draining_rss_mb"] > figures["draining_pss_mb"] > 5
        assert figures["drain_cpu_us"] > 0


def test_the_table_has_a_line_for_each_figure() -> None:
    """A column for each size, and losses are in it."""
    one = backlog.Figures(10, 0.5, 61.0, 42.0, 80.0, 60.0, 100.0, 12.0, 30_000.0, 9, 5.0, 9.0, 11.0, 3, 0.5)
    lines = backlog.table([one, replace(one, queued=1_000_000)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split() == ["queued", "10", "1,000,000"]
    assert ["lost", "3", "3"] in [line.split() for line in lines]
