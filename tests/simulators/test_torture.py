"""The kill rig convicts the guilty and acquits the honest."""

from __future__ import annotations

import sys
from pathlib import Path

from simulators.torture import Options, torture

MESSAGES = 6000


def program(mode: str) -> list[str]:
    """Return the command of a stand-in gateway."""
    return [sys.executable, str(Path(__file__).parent / "standin.py"), mode]


def test_honest_gateway_is_acquitted(tmp_path: Path) -> None:
    """A gateway that acknowledges when the cloud has the event loses nothing; repeats stay in the window."""
    verdict = torture(
        tmp_path, Options(kills=6, messages=MESSAGES, seed=3, gap_s=0.5, rules=False, program=program("honest"))
    )
    assert verdict.good, verdict
    assert (verdict.kills, verdict.sent, verdict.lost, verdict.died) == (6, MESSAGES, 0, 0)
    assert verdict.received == MESSAGES + verdict.repeats + verdict.unjudged


def test_hasty_gateway_is_convicted(tmp_path: Path) -> None:
    """A gateway that acknowledges from memory is caught losing."""
    options = Options(kills=6, messages=MESSAGES, seed=3, gap_s=0.5, rules=False, stall_s=3, program=program("hasty"))
    verdict = torture(tmp_path, options)
    assert not verdict.good
    assert verdict.lost > 0
    assert verdict.examples["missing"]


def test_forgetful_gateway_is_convicted(tmp_path: Path) -> None:
    """A gateway that names a message anew after a restart is caught: one message, two events."""
    verdict = torture(
        tmp_path, Options(kills=12, messages=MESSAGES, seed=3, gap_s=0.5, rules=False, program=program("forgetful"))
    )
    assert not verdict.good
    assert verdict.two_ids > 0
    assert verdict.lost == 0
