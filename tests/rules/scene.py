"""A house on a virtual clock with the rules of a text, for tests of single behaviours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from gateway.rules.files.loader import Loaded, load
from gateway.rules.protocol import DeviceEntry
from gateway.rules.testing import SimulatedHouse

HEAD = "from gateway.rules import *\n"


def loaded(folder: Path, *sources: str, **options: object) -> Loaded:
    """Load rule files 0.py, 1.py ... with these texts; line 1 is the import."""
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    for number, source in enumerate(sources):
        (rules / f"{number}.py").write_text(HEAD + textwrap.dedent(source).lstrip("\n"))
    return load(rules, **options)  # type: ignore[arg-type]


def house(folder: Path, *sources: str, devices: Sequence[DeviceEntry] = ()) -> SimulatedHouse:
    """Return a house with these rules, which must be without fault."""
    found = loaded(folder, *sources)
    assert [str(fault) for fault in found.faults] == []
    return SimulatedHouse(found, devices)
