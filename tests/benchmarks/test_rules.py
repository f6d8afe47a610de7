"""The benchmark of rules: its figures are of what happened. How fast that was is never asserted."""

from __future__ import annotations

from tests.benchmarks.rules import CASES, DEVICES, measure


def test_a_case_is_measured() -> None:
    """A worker process with twenty rules sees all events, and both sides spend time on them."""
    case = next(case for case in CASES if case.outputs)
    gateway, worker = measure(case, 20, 5 * DEVICES)
    assert gateway > 0
    assert worker > 0
