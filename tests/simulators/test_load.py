"""Load and its counter: they agree with each other, also when the other side restarts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery
from simulators import traffic, wire
from simulators.broker import Mosquitto
from simulators.counter import Table
from simulators.load import Generator, prebuilt
from simulators.processes import Session, wait_until
from simulators.subject import PROFILES
from simulators.torture import subject

PATIENCE_S = 60.0


class Nobody:
    """Where a delivery that nobody waits for came from."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


NOBODY = Nobody()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Run a broker that keeps its sessions over a restart."""
    running = Mosquitto(tmp_path / "edge").start()
    yield running
    running.stop()


@pytest.fixture
def counting(broker: Mosquitto, tmp_path: Path) -> Iterator[Table]:
    """Count what passes the broker, in a process."""
    table = Table(tmp_path / "arrived", 20_000)
    module = [sys.executable, "-m", "simulators.counter", "--cloud", broker.url, "--topic", traffic.TOPIC_FILTER]
    more = ["--edge", broker.url, "--arrived", str(tmp_path / "arrived"), "--count", "20000"]
    process = Session([*module, *more], tmp_path / "counter.log")
    assert wait_until(lambda: table.totals().connected == 2, PATIENCE_S), process.tail()
    yield table
    process.stop()


def test_everything_sent_is_counted(broker: Mosquitto, counting: Table, tmp_path: Path) -> None:
    """Flat out or paced, each message is sent once, stamped, and arrives behind its stamp."""
    for first, rate in ((0, "0"), (10_000, "5000")):
        argv = ["--url", broker.url, "--first", str(first), "--count", "5000", "--rate", rate]
        module = [sys.executable, "-m", "simulators.load", *argv, "--sent", str(tmp_path / "sent"), "--wait"]
        process = Session(module, tmp_path / "load.log", pipes=True)
        out, _ = process.process.communicate("go\n", timeout=PATIENCE_S)
        ready, result = out.splitlines()
        assert ready == "ready"
        assert json.loads(result)["acknowledged"] == 5000
    assert wait_until(lambda: counting.totals().unique == 10_000, PATIENCE_S)
    totals = counting.totals()
    assert (totals.received, totals.repeats, totals.out_of_order, totals.commands) == (10_000, 0, 0, 0)
    sent = traffic.Moments(tmp_path / "sent", 15_000).values
    for n in (*range(5000), *range(10_000, 15_000)):
        assert 0 < sent[n] <= counting.arrived[n], n
    assert not any(sent[5000:10_000])


def test_restart_of_the_other_side(broker: Mosquitto, counting: Table, tmp_path: Path) -> None:
    """The generator goes on where the acknowledgements ended; nothing is missing in the end."""
    moments = traffic.Moments(tmp_path / "sent", 10_000)
    generator = Generator((broker.host, broker.port), prebuilt(0, 10_000), moments, 0)
    while not generator.run(rate=20_000.0, window=500, limit_s=0.2).acknowledged:
        pass  # the other side has much to do
    assert generator.acknowledged < 10_000
    broker.stop()
    broker.start()
    second = generator.run(rate=0.0, window=500, limit_s=PATIENCE_S)
    generator.close()
    assert second.acknowledged == 10_000
    assert second.reconnects == 1
    assert wait_until(lambda: counting.totals().unique == 10_000, PATIENCE_S)


def test_counter_sees_repeats_disorder_and_commands(broker: Mosquitto, counting: Table) -> None:
    """A repeat, a late first arrival and a command are each counted as what they are."""
    later, earlier = traffic.DEVICES + 3, 3  # of one device
    with wire.dial(broker.host, broker.port, "sender") as sender:
        for n in (later, earlier, later):
            sender.sendall(wire.publish(*traffic.message(n)))
        sender.sendall(wire.publish("cmd/x", b"{}"))
        assert wait_until(lambda: counting.totals().received == 3 and counting.totals().commands == 1, PATIENCE_S)
    totals = counting.totals()
    assert (totals.unique, totals.repeats, totals.out_of_order) == (2, 1, 1)


def test_every_message_moves_the_temperature() -> None:
    """Two messages of a device in a row differ by more than a deadband, and one in ten or so is hot."""
    for n in range(5000):
        assert abs(traffic.temperature(n) - traffic.temperature(n + traffic.DEVICES)) > 0.5
    assert 300 < sum(traffic.is_hot(n) for n in range(5000)) < 600


def test_a_temperature_says_which_message_it_is_from() -> None:
    """The number of a message survives JSON, and topic and payload name its device and the device's own count."""
    for n in (*range(0, 5000, 7), 99_999, 1_999_999):
        topic, payload = traffic.message(n)
        document = json.loads(payload)
        assert topic == f"load/{traffic.kind(n)}/{traffic.device(n)}"
        assert traffic.number_in(json.loads(json.dumps(document["temperature"]))) == n
        assert document["counter"] == n // traffic.DEVICES + 1


def test_each_message_is_one_event() -> None:
    """By the profile of the load, each message behind a device's first is one event with its temperature."""
    decoder = Decoder(Catalogue.load([PROFILES]), "bench", "house", Devices(), {})
    for n in range(2000):
        topic, payload = traffic.message(n)
        decoded = decoder.decode(Delivery("house", topic, payload, n, NOBODY))
        assert decoded.rejected is None
        carrying = [event for event in decoded.events if "temperature" in event.data]
        assert [traffic.number_in(event.data["temperature"]) for event in carrying] == [n]
        assert carrying[0].subject == subject(n)
        assert n < traffic.DEVICES or len(decoded.events) == 1
