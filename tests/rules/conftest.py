"""What the tests of rules share."""

from __future__ import annotations

import pytest

from tests.rules.rig import MovedClock


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> type[MovedClock]:
    """Give rigs a clock that the test moves: no pause of the machine decides what is due."""
    monkeypatch.setattr("tests.rules.rig.SystemClock", MovedClock)
    monkeypatch.setattr(MovedClock, "wall_moved_ns", 0)
    monkeypatch.setattr(MovedClock, "boot_moved_ns", 0)
    return MovedClock
