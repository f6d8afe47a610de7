"""The rig of many devices, small: every dialect and fault, a real broker and gateway (./dev house is the large one)."""

from __future__ import annotations

import json
import subprocess
import sys

WAIT_S = 150.0
DEVICES = 40
RIG = [sys.executable, "-m", "simulators.house.rig", "--devices", str(DEVICES), "--seed", "2", "--json"]


def test_forty_devices_with_every_fault_balance() -> None:
    """What was acknowledged is told, dead letters are what was garbled, and every device is heard of."""
    done = subprocess.run(
        [*RIG, "--minutes", "0.1", "--speed", "150"], capture_output=True, timeout=WAIT_S, check=False
    )
    assert done.stdout, done.stderr.decode()[-3000:]
    figures = json.loads(done.stdout)
    names = ("balanced", "drained", "unheard", "unexpected_dead_letters", "dialects")
    assert {name: figures[name] for name in names} == {
        "balanced": True, "drained": True, "unheard": 0, "unexpected_dead_letters": 0, "dialects": 21,
    }, figures  # fmt: skip
    assert figures["values"] > DEVICES
