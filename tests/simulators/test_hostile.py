"""The rig of harms: a real gateway, real traffic, a rule that ends its worker."""

from __future__ import annotations

from pathlib import Path

from simulators.harms import HARMS
from simulators.hostile import RATE, Stage

SECONDS = 1.5


def test_a_harm_in_a_running_gateway(tmp_path: Path) -> None:
    """A rule is saved, ends the worker under load and is taken away; each message and each answer arrives once."""
    harm = next(harm for harm in HARMS if harm.name == "crashes in C")
    stage = Stage(tmp_path, round(RATE * SECONDS), SECONDS)
    try:
        stage.open()
        found = stage.suffer(harm)
    finally:
        stage.close()
    assert found.stopped_s is not None
    assert (found.lost, found.twice) == (0, 0)
    assert "ended the worker with signal 11" in stage.log
