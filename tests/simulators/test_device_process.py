"""The house as a process: an honest ledger, also over restarts of the other side."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.broker import Mosquitto
from simulators.devices import House
from simulators.far_end import FarEnd, Judge
from simulators.processes import Session, wait_until

SEED, RATE = 7, 2000.0
PATIENCE_S = 60.0


class Keeper(Judge):
    """Keeps topic-less payloads as they came; the ledger is compared with them."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[bytes] = []

    def show(self, payload: bytes, at_ns: int, handed_over_again: bool = False) -> None:
        """Keep a payload."""
        self.payloads.append(payload)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Run a broker that keeps its sessions over a restart."""
    running = Mosquitto(tmp_path / "edge").start()
    yield running
    running.stop()


def house(broker: Mosquitto, folder: Path, *more: str) -> Session:
    """Start the house as a process."""
    module = [sys.executable, "-m", "simulators.device_process", "--url", broker.url, "--seed", str(SEED)]
    return Session([*module, "--rate", str(RATE), "--every", "0.1", *more], folder / "house.log", pipes=True)


def ended(process: Session) -> tuple[list[dict[str, int]], dict[str, object]]:
    """Wait for the end of the house; return its progress and its ledger."""
    out, _ = process.process.communicate(timeout=PATIENCE_S)
    lines = [json.loads(line) for line in out.splitlines()]
    return [line["progress"] for line in lines[:-1]], lines[-1]["ledger"]


def test_ledger_matches_what_arrived(broker: Mosquitto, tmp_path: Path) -> None:
    """The ledger says per device what was acknowledged, and the broker has exactly what the house said."""
    keeper = Keeper()
    far_end = FarEnd(broker.host, broker.port, judge=keeper).start()
    process = house(broker, tmp_path, "--count", "500")
    progress, ledger = ended(process)
    assert wait_until(lambda: len(keeper.payloads) >= 500, PATIENCE_S)
    far_end.stop()
    expected = House(SEED).first(500, RATE)
    assert Counter(keeper.payloads) == Counter(message.payload for message in expected)
    assert ledger["per_device"] == dict(Counter(message.device for message in expected))
    assert (ledger["sent"], ledger["acknowledged"], ledger["resent"]) == (500, 500, 0)
    assert all(line["acknowledged"] <= line["sent"] for line in progress)


def test_broker_restart_loses_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    """What was not acknowledged when the broker went away is sent again when it is back."""
    keeper = Keeper()
    far_end = FarEnd(broker.host, broker.port, judge=keeper).start()
    process = house(broker, tmp_path)
    assert wait_until(lambda: len(keeper.payloads) > 500, PATIENCE_S), process.tail()
    broker.stop()
    before = len(keeper.payloads)
    broker.start()
    assert wait_until(lambda: len(keeper.payloads) > before + 500, PATIENCE_S), process.tail()
    process.process.send_signal(signal.SIGTERM)
    _, ledger = ended(process)
    expected = [message.payload for message in House(SEED).first(int(str(ledger["sent"])), RATE)]
    assert wait_until(lambda: set(keeper.payloads) >= set(expected), PATIENCE_S)
    far_end.stop()
    assert ledger["acknowledged"] == ledger["sent"]
    assert ledger["reconnects"] >= 1
    assert not Counter(expected) - Counter(keeper.payloads), "lost"


def test_stopped_early_it_settles_its_ledger(broker: Mosquitto, tmp_path: Path) -> None:
    """SIGTERM ends the house behind the last acknowledgement, and the birth messages came first."""
    keeper = Keeper()
    far_end = FarEnd(broker.host, broker.port, judge=keeper).start()
    process = house(broker, tmp_path, "--births")
    assert wait_until(lambda: len(keeper.payloads) > 200, PATIENCE_S), process.tail()
    process.process.send_signal(signal.SIGTERM)
    _, ledger = ended(process)
    assert process.process.returncode == 0
    assert ledger["sent"] == ledger["acknowledged"]
    assert wait_until(lambda: len(keeper.payloads) >= int(str(ledger["sent"])), PATIENCE_S)
    far_end.stop()
    births = [message.payload for message in House(SEED).births()]
    assert keeper.payloads[: len(births)] == births
