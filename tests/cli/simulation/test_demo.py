"""The demonstration as a person starts it: it ends balanced, and whatever ends it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.processes import Session, wait_until

END_S = 120.0
DEMO = [sys.executable, "-m", "gateway", "demo"]


def test_it_balances_with_an_outage_in_it(tmp_path: Path) -> None:
    """Standard output is one JSON object: everything sent is accounted for, with an outage and rules that fired."""
    done = subprocess.run(
        [*DEMO, "--seconds", "6", "--json"], capture_output=True, timeout=END_S, env=_in(tmp_path), check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    said = json.loads(done.stdout)
    assert said["balanced"]
    assert said["sent"] == said["delivered"] + said["dead_lettered"] + said["queued"] + said["dropped"]
    assert said["outage_s"] > 0
    assert said["rules_fired"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_early_end_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, a stop and a closed terminal end every process and remove the folder, without a traceback."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    demo = Session([*DEMO, "--seconds", "60"], tmp_path / "out", env=_in(folder))
    assert wait_until(lambda: "messages acknowledged" in (tmp_path / "out").read_text(), END_S)
    started = _started_in(folder)
    assert started, "the gateway and the devices"
    os.kill(demo.pid, number)
    assert demo.process.wait(END_S) == 130
    assert wait_until(lambda: not _started_in(folder) & started, END_S)
    assert list(folder.iterdir()) == []
    assert "Traceback" not in (tmp_path / "out").read_text()


def test_a_gateway_that_dies_is_said_with_its_log(tmp_path: Path) -> None:
    """When the gateway ends by itself so does the demo, at once: exit code 1, and the end of the gateway's log."""
    folder, out = tmp_path / "tmp", tmp_path / "out"
    folder.mkdir()
    demo = Session([*DEMO, "--seconds", "60"], out, env=_in(folder))
    assert wait_until(lambda: "messages acknowledged" in out.read_text(), END_S)
    for pid in _started_in(folder):
        with contextlib.suppress(OSError):  # one of the others has ended by now
            if b"\x00run\x00" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    assert demo.process.wait(END_S) == 1
    assert "the gateway ended before the show did" in out.read_text()
    assert "INFO" in out.read_text(), "its log"
    assert wait_until(lambda: not _started_in(folder), END_S)
    assert list(folder.iterdir()) == []


def _in(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder)}


def _started_in(folder: Path) -> set[int]:
    """Return the processes whose temporary folder is this one, but for the demo itself."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"TMPDIR={folder}".encode() in environment and b"\x00demo\x00" not in command:
                found.add(int(entry.name))
    return found
