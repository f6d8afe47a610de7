"""The benchmark itself: its figures are of what happened. How fast that was is never asserted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.__main__ import RATE, median, ratios, run, table
from tests.benchmarks.stage import Phase

FIGURES = {
    "lost": 0, "repeats": 0, "out_of_order": 0, "commands": 5, "commands_wanted": 5, "broker_us": 9.0,
    "p50_ms": 1.0, "p99_ms": 2.0, "rss_peak_mb": 40.0, "written_bytes": 80.0, "others_cores": 0.0,
}  # fmt: skip
OURS = Phase(subject="edge-gateway", rate=0.0, sent=100, events_per_s=30_000.0, cpu_us=20.0, **FIGURES)  # type: ignore[arg-type]
THEIRS = replace(OURS, subject="naive", events_per_s=3_000.0, cpu_us=240.0, written_bytes=0.0)


def test_naive_script_is_measured(tmp_path: Path) -> None:
    """Every message of a phase is accounted for, the rule's commands too, and CPU and memory are of the script."""
    paced, flat_out = run("naive", tmp_path, 600)
    assert (paced.rate, flat_out.rate) == (RATE, 0.0)
    for phase in (paced, flat_out):
        assert (phase.sent, phase.lost, phase.repeats, phase.out_of_order) == (600, 0, 0, 0)
        assert phase.commands == phase.commands_wanted > 0
        assert phase.cpu_us > 0
        assert phase.rss_peak_mb > 5
        assert 0 < phase.p50_ms <= phase.p99_ms
        assert phase.events_per_s > 0


def test_medians_and_sums() -> None:
    """Over runs, figures are medians and counts are sums."""
    runs = [replace(OURS, cpu_us=cpu, lost=1) for cpu in (30.0, 10.0, 20.0)]
    assert median(runs).cpu_us == 20.0
    assert median(runs).lost == 3
    assert median(runs).sent == 300


def test_ratios_compare_with_the_naive_script() -> None:
    """CPU is the script's by ours, throughput ours by the script's; without the script there is nothing to say."""
    found = ratios([OURS, THEIRS])
    assert found == {
        "edge-gateway, flat out: CPU, naive / ours": 12.0,
        "edge-gateway, flat out: events/s, ours / naive": 10.0,
    }
    assert ratios([OURS]) == {}
    json.dumps(found)


def test_table_has_a_row_for_each_phase() -> None:
    """The table is aligned, and losses are in it."""
    lines = table([OURS, replace(THEIRS, lost=17)]).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    assert "17" in lines[2]
