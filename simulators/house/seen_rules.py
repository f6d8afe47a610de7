"""Rule coverage of a run: its journal goes through the rules once more, on the side; what never happened is said."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.cli.asking.offline import inspected
from gateway.cli.rules.place import Place
from gateway.journal.through import Through
from gateway.rules.desk.backtest import Backtest, Window
from gateway.rules.desk.coverage import Coverage


def coverage(config: Path) -> list[dict[str, Any]]:
    """Return each rule with how often it ran, and in words what of it the run never showed.

    Raises GatewayError when the journal cannot be read.
    """
    place = Place(argparse.Namespace(config=config, rules=None))
    if not place.folder.is_dir() or not any(place.folder.glob("*.py")):
        return []
    loaded = place.load(())
    if loaded is None:
        return []
    inspection = inspected(config)
    found = Coverage(loaded.definitions)
    oldest_ns = min((entry.wall_first for entry in inspection.entries if entry.wall_first), default=0)
    window = Window(after=0, through=inspection.last_sequence, since_ns=oldest_ns)
    installation = place.installation(inspection.log_id)
    test = Backtest(Through(inspection), loaded, installation, window, tell=lambda _: None, trace=found.trace())
    for _ in test.run():
        pass
    test.end()
    return [{"rule": each.rule, "line": each.line, "ran": each.ran, "never": each.missed} for each in found.report()]
