"""Started commands: all of a session is counted, and all of it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.broker import Mosquitto
from simulators.processes import Session, free_port, listening, wait_until

PATIENCE_S = 30.0
PARENT = """
import subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; b = bytearray(30_000_000); time.sleep(600)"])]
while True: sum(range(10_000))
"""


def test_children_are_counted_and_end_with_the_session(tmp_path: Path) -> None:
    """CPU and memory are those of the command and what it started; kill leaves nothing alive."""
    session = Session([sys.executable, "-c", PARENT], tmp_path / "log")
    assert wait_until(lambda: session.usage().rss_bytes > 40_000_000 and session.usage().cpu_s > 0.1, PATIENCE_S)
    pids = session.pids()
    assert len(pids) == 2
    assert session.usage().rss_peak_bytes >= session.usage().rss_bytes // 2
    assert sum(session.resident().values()) > 30_000_000
    session.kill()
    assert session.pids() == []
    assert not session.alive()


def test_killing_the_command_leaves_its_children(tmp_path: Path) -> None:
    """`kill_command` is the accident: only the command dies; what it left behind can be seen and ended."""
    session = Session([sys.executable, "-c", PARENT], tmp_path / "log")
    assert wait_until(lambda: len(session.pids()) == 2, PATIENCE_S)
    session.kill_command()
    assert not session.alive()
    assert len(session.pids()) == 1
    session.kill()
    assert session.pids() == []


def test_stop_asks_first(tmp_path: Path) -> None:
    """SIGTERM comes before SIGKILL, and the exit code is the command's own."""
    program = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint('up', flush=True)\ntime.sleep(600)"
    )
    session = Session([sys.executable, "-c", program], tmp_path / "log")
    assert wait_until(lambda: session.tail() == "up", PATIENCE_S)
    assert session.stop() == 7


def test_written_bytes_are_seen(tmp_path: Path) -> None:
    """What a process hands to the disk is in its usage, while it lives."""
    program = (
        "import os, sys, time\nf = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(f, bytes(1 << 20)); os.fdatasync(f); print('done', flush=True); time.sleep(600)"
    )
    session = Session([sys.executable, "-c", program, str(tmp_path / "data")], tmp_path / "log")
    assert wait_until(lambda: session.tail() == "done", PATIENCE_S)
    assert session.usage().written_bytes >= 1 << 20
    session.kill()


def test_ports() -> None:
    """A free port is one that nobody listens on."""
    port = free_port()
    assert not listening("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        assert listening("127.0.0.1", port)


def test_broker_comes_back_on_its_port(tmp_path: Path) -> None:
    """Stop and kill end the broker, start brings it back under the same address."""
    broker = Mosquitto(tmp_path / "broker")
    for end in (broker.stop, broker.kill):
        broker.start()
        assert listening(broker.host, broker.port)
        end()
        assert not listening(broker.host, broker.port)


def test_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A bad line in its configuration is in the error."""
    with pytest.raises(RuntimeError, match="nonsense"):
        Mosquitto(tmp_path / "broker", lines=["nonsense true"]).start()


def test_every_rig_has_a_command_line() -> None:
    """Each simulator that is a program says what it can do."""
    for name in ("device_process", "far_end", "link", "load", "counter", "torture"):
        argv = [sys.executable, "-m", f"simulators.{name}", "--help"]
        said = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"}, check=True)
        assert "usage:" in said.stdout, name
