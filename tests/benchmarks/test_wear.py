"""The benchmark of wear: its figures are of what happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.journal.options import MIB, PAGE_BYTES
from tests.benchmarks import wear
from tests.benchmarks.backlog import HOUSE


def test_the_gateway_is_measured_in_all_three_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything arrives, and what the gateway says it wrote was handed to the kernel."""
    monkeypatch.setattr(wear, "BUDGET_BYTES", 8 * MIB)
    monkeypatch.setattr(wear, "WARM_UP", 50)
    [line] = wear.gateway(tmp_path, "it", HOUSE / "rules", wear.DELAY_MS, [(200.0, 1.0)])
    assert (line.events, line.lost) == (200, 0)
    assert 0 < line.gateway_bytes <= line.call_bytes
    assert line.kernel_bytes > 0
    assert line.commits_per_s > 0


def test_a_table_writes_a_page_a_commit_at_least(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go in one by one at a slow pace, and each costs a page of SQLite's log."""
    monkeypatch.setattr(wear, "SQLITE_WARM_UP", 10)
    line = wear.sqlite(tmp_path / "x.db", 50.0, 0.5, 1.0)
    assert line.events == 25
    assert line.call_bytes * line.per_s / line.commits_per_s > 0.9 * PAGE_BYTES  # late rows share a commit


def test_the_table_has_a_row_for_each_line() -> None:
    """The table is aligned; what does not apply is a dash."""
    one = wear.Line("edge-gateway", 5.0, 300, 4100.0, 4096.0, 4096.0, 5.0, 900.0, 24.0, 30.0, 17)
    other = replace(one, subject="SQLite", gateway_bytes=0.0, p50_ms=0.0)
    lines = wear.table([one, other]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].endswith("17")
    assert lines[2].split()[4:7] == ["-", "5.0", "900"]
