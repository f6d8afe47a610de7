"""The fault switches of a bench unit, and what the watchdog's signal leaves in the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.system.rig import PATIENCE_S, House, own_listener, until
from tests.system.test_watchdog import Manager

WATCHDOG_S = 3.0


def test_a_stage_that_hangs_on_purpose_is_named_and_its_stack_is_left(tmp_path: Path) -> None:
    """With [gateway] faults the loop hangs: STATUS names the line, and SIGABRT leaves every stack in the log."""
    house = House(tmp_path / "gw", own_listener()[1])
    text = house.file.read_text()
    house.file.write_text(text.replace("[gateway]", '[gateway]\nfaults = ["loop"]\nfaults_after_s = 0.1', 1))
    warned = house("check")
    assert warned.code == 0
    assert "hangs on purpose" in warned.out
    manager = Manager(tmp_path / "notify")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"},
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
    }
    command = [sys.executable, "-m", "gateway", "run", "--config", str(house.file)]
    with (tmp_path / "log").open("wb") as log:
        gateway = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: "the event loop hangs in gateway/bench.py" in manager.line(), manager.line)
            gateway.send_signal(signal.SIGABRT)
            assert gateway.wait(PATIENCE_S) == -signal.SIGABRT
        finally:
            gateway.kill()
            gateway.wait(PATIENCE_S)
            manager.close()
    said = (tmp_path / "log").read_text()
    assert "Fatal Python error: Aborted" in said
    assert 'bench.py", line' in said.partition("Fatal Python error")[2]
