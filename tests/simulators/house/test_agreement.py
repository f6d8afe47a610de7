"""Simulator and gateway were written apart, from the makers' documents: over hours of a house they mean the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.house.dialects import DIALECTS, dialect_class
from simulators.house.house import House
from simulators.house.scenario import FaultTable
from tests import house as rules
from tests.simulators.house.agreement import agreement
from tests.simulators.house.fleet import busy

ROOT = Path(__file__).parents[3]
SPEAKING = [name for name in DIALECTS if not dialect_class(name).asked]
CHANGES_MIN = 5  # that have to be told in four hours; less would prove nothing
HURT = [
    FaultTable(kind="garbled", share=0.1),
    FaultTable(kind="duplicate", share=0.2),
    FaultTable(kind="late", share=0.1, by=3),
]


@pytest.mark.parametrize("dialect", SPEAKING)
def test_both_mean_the_same(dialect: str, tmp_path: Path) -> None:
    """Every change a dialect's devices say is told by the gateway, with that value, of that id; nothing is refused."""
    verdict, refused = agreement(House(busy(dialect)), tmp_path)
    assert (verdict.balanced, verdict.unheard, verdict.restated, refused) == (True, 0, 0, []), dict(verdict.examples)
    assert verdict.values >= CHANGES_MIN


@pytest.mark.parametrize("dialect", SPEAKING)
def test_over_a_bad_line_too(dialect: str, tmp_path: Path) -> None:
    """With garbled, repeated and late messages nothing wrong is told, and what is clean is neither lost nor refused."""
    verdict, refused = agreement(House(busy(dialect, faults=HURT)), tmp_path)
    assert (verdict.balanced, verdict.unheard, refused) == (True, 0, []), dict(verdict.examples)


def test_they_share_no_decoding() -> None:
    """No dialect, nor the oracle, imports what the gateway decodes, frames or encodes with."""
    for name, module in rules.read(ROOT, "simulators").items():
        if name.startswith("house.dialects") or name in ("house.gadget", "house.oracle", "house.house", "house.world"):
            for _, target in rules.imports(module):
                assert not target.startswith("gateway."), f"{module.path} imports {target}"
