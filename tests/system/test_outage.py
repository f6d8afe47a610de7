"""The cloud broker goes away for 20,000 events and comes back: all arrive, in order, and memory stays flat."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.broker import Mosquitto
from simulators.far_end import FarEnd, Judge
from simulators.processes import Session, wait_until
from simulators.subject import Gateway, config
from simulators.torture import expected, open_path, reading

EVENTS = 20_000
BEFORE = 2_000
PATIENCE_S = 120.0
GROWTH_BYTES_MAX = 40_000_000  # generous: the journal's own tail cache is 8 MB, allocators keep what they had


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Mosquitto]:
    """Run the broker of the house."""
    broker = Mosquitto(tmp_path / "edge").start()
    yield broker
    broker.stop()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Mosquitto]:
    """Run the broker of the cloud."""
    broker = Mosquitto(tmp_path / "cloud").start()
    yield broker
    broker.stop()


@pytest.fixture
def far_end(cloud: Mosquitto) -> Iterator[FarEnd]:
    """Judge at the cloud."""
    listener = FarEnd(cloud.host, cloud.port, "gw/#", judge=Judge(reading)).start()
    yield listener
    listener.stop()


@pytest.fixture
def gateway(tmp_path: Path, edge: Mosquitto, cloud: Mosquitto) -> Iterator[Gateway]:
    """Run the real gateway between the two."""
    folder = tmp_path / "gateway"
    running = Gateway(folder, config(folder, source=edge.url, target=cloud.url))
    running.start()
    yield running
    running.stop()


def send(edge: Mosquitto, folder: Path, first: int, count: int) -> None:
    """Publish messages as fast as the broker of the house takes them."""
    argv = ["--url", edge.url, "--first", str(first), "--count", str(count), "--sent", str(folder / "sent")]
    module = [sys.executable, "-m", "simulators.load", *argv]
    done = subprocess.run(module, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert json.loads(done.stdout)["acknowledged"] == count


def rss(session: Session | None) -> int:
    """Return the memory of the gateway itself: rule workers are fewer or more from one moment to the next."""
    assert session is not None
    pages = int(Path(f"/proc/{session.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def queued(gateway: Gateway) -> int:
    """Ask the gateway how many events wait for the cloud."""
    argv = [sys.executable, "-m", "gateway", "status", "--config", str(gateway.file), "--json"]
    answer = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return sum(route["backlog"] for route in json.loads(answer.stdout)["routes"])


def test_outage_of_the_cloud(
    edge: Mosquitto, cloud: Mosquitto, far_end: FarEnd, gateway: Gateway, tmp_path: Path
) -> None:
    """What happened while the cloud was away is all there afterwards, once, in order per device, in flat memory."""
    open_path((edge.host, edge.port), far_end, gateway)
    send(edge, tmp_path, 0, BEFORE)
    assert far_end.wait_for(BEFORE, PATIENCE_S)
    before = rss(gateway.session)

    cloud.stop()
    send(edge, tmp_path, BEFORE, EVENTS)
    assert wait_until(lambda: queued(gateway) >= EVENTS, PATIENCE_S, step_s=0.5), queued(gateway)
    away = rss(gateway.session)
    assert far_end.judge.readings == BEFORE

    cloud.start()
    assert far_end.wait_for(BEFORE + EVENTS, PATIENCE_S), far_end.judge.findings()
    after = rss(gateway.session)
    total = BEFORE + EVENTS
    found = far_end.judge.findings(expected(total, rules=False))
    print(f"RSS: {before / 1e6:.0f} MB before, {away / 1e6:.0f} MB with {EVENTS} queued, {after / 1e6:.0f} MB after")
    assert found.clean, found
    assert found.readings == total
    assert found.repeats <= 1000, found  # in flight when the broker stopped
    assert max(away, after) - before < GROWTH_BYTES_MAX
    assert gateway.stop() == 0
