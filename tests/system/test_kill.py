"""SIGKILL of the real gateway between real brokers: what was acknowledged arrives, once, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.torture import WINDOW, Options, torture


@pytest.mark.timeout(600)
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    """50 kills in 50,000 QoS 1 messages: none lost, none under two ids, in order, few repeats, rules as exact."""
    verdict = torture(tmp_path, Options(kills=50, messages=50_000, seed=4711, gap_s=0.7))
    print(verdict)
    assert verdict.sent == 50_000
    assert verdict.kills == 50
    assert verdict.lost == 0, verdict
    assert verdict.two_ids == 0, verdict
    assert verdict.out_of_order == 0, verdict
    assert verdict.unexpected == 0, verdict
    assert verdict.rule_events > 1000
    assert verdict.repeats_per_kill_max <= WINDOW, verdict
    assert verdict.died == 0, verdict
    assert verdict.orphans == 0, verdict


@pytest.mark.timeout(300)
def test_kills_under_the_devices_own_connection(tmp_path: Path) -> None:
    """Without a broker in front a device sends again what had no answer: nothing is lost, nothing named twice."""
    verdict = torture(tmp_path, Options(kills=15, messages=20_000, seed=4712, listener=True))
    print(verdict)
    assert (verdict.sent, verdict.kills) == (20_000, 15)
    assert verdict.good, verdict
