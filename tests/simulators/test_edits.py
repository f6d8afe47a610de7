"""The edit rig convicts the guilty, and the gateway is acquitted by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.edits import Rig
from simulators.edits_judge import Judge

EDITS = 12


def changed(**files: str | None) -> dict[str, Any]:
    """Return what the gateway records when files go live."""
    named = {name.replace("lib_", "lib/") + ".py": mark for name, mark in files.items()}
    return {"type": "rules_changed", "time": "2026-11-23T12:00:00.500Z", "data": {"files": named}}


def answered(number: int, version: int = 1, rule: str = "main", lib: int = 7) -> dict[str, Any]:
    """Return the answer of a rule to a reading."""
    return {"type": "was_run", "data": {"rule": rule, "number": number, "version": version, "lib": lib}}


def judged(*events: dict[str, Any]) -> tuple[int, int, int]:
    """Return skipped, twice and stale after events."""
    judge = Judge()
    judge.saved = {("main.py", "a"): (1, 0), ("main.py", "b"): (2, 0), ("extra.py", "e"): (1, 0)}
    judge.saved["lib/number.py", "l"] = (7, 0)
    judge.promised = [("main", 2, 5)]
    for event in (changed(main="a", extra="e", lib_number="l"), *events):
        judge.show(event)
    return judge.verdict.skipped, judge.verdict.twice, judge.verdict.stale


def test_the_judge_sees_what_is_wrong() -> None:
    """A reading left out, one answered twice, an answer by a version that was replaced or not there yet."""
    assert judged(answered(0), answered(1), changed(main="b"), answered(2, 2)) == (0, 0, 0)
    assert judged(answered(0), answered(3)) == (2, 0, 0)
    assert judged(answered(0), answered(1), answered(1)) == (0, 1, 0)
    assert judged(answered(0), changed(main="b"), answered(1)) == (0, 0, 1)
    assert judged(answered(0), answered(1, 2)) == (0, 0, 1)
    assert judged(answered(0, lib=6)) == (0, 0, 1)
    assert judged(*(answered(number) for number in range(7))) == (0, 0, 1), "the new one was said to be live"


def test_only_who_was_away_may_leave_readings_out() -> None:
    """A rule whose file was deleted and restored has a gap, and no other."""
    assert judged(answered(0, rule="extra"), changed(extra=None), changed(extra="e"), answered(9, rule="extra"))[0] == 0
    assert judged(answered(0, rule="extra"), answered(9, rule="extra"))[0] == 8


def test_edits_under_load(tmp_path: Path) -> None:
    """Random edits of a running gateway's rules: nothing is skipped, run twice or stale, nothing bad goes live."""
    verdict = Rig(tmp_path, EDITS, 3, 50.0, lambda _: None).run()
    assert verdict.good, verdict
    assert verdict.edits == EDITS
    assert verdict.answers >= verdict.readings > 0
    assert verdict.changes > 1
    assert verdict.live_ms["count"] > 0
