"""SIGKILL of the real gateway between real brokers: what was acknowledged arrives, once, in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.torture import WINDOW, Options, torture
from tests.system.rig import House, acknowledged, device, own_listener, running, until

SLOW_TO_LOAD = """
import time
from gateway.rules import rule

time.sleep(1)

@rule("reading_taken", "temperature_changed")
def note(event, ctx): ctx.emit("reading_noted")
"""


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


def test_what_came_before_the_first_rule_was_up_is_the_rules_too(tmp_path: Path) -> None:
    """A gateway killed in its first second, before any rule was loaded, runs its rules over what it acknowledged."""
    port, source = own_listener()
    house = House(tmp_path / "gw", source)
    (house.folder / "rules").mkdir(exist_ok=True)
    (house.folder / "rules" / "note.py").write_text(SLOW_TO_LOAD, encoding="utf-8")
    with running(house):
        with device(port, "meter") as meter:
            assert acknowledged(meter.count("early", range(10)))
            house.kill()
        house.end()
        house.begin()
        until(lambda: house.status()["rules"]["loaded"] == 1)
        until(lambda: [event["type"] for event in house.events()].count("reading_noted") == 10)
        assert house.stop() == 0
