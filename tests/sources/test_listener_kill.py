"""SIGKILL of the real gateway while devices talk to its own listener: the journal has every answered message, once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from simulators import traffic
from simulators.processes import Session, free_port, listening, wait_until
from simulators.subject import PROFILES

KILLS = 8
STREAM_S = 8.0  # of messages, at least; the kills fall into it
WITHIN_S = 200.0


def start(file: Path) -> Session:
    """Start the gateway."""
    return Session([sys.executable, "-m", "gateway", "run", "--config", str(file)], file.with_suffix(".log"))


def events(file: Path) -> list[dict[str, object]]:
    """Return every event in the journal of a gateway that does not run."""
    command = [sys.executable, "-m", "gateway", "events", "--config", str(file), "--json", "--limit", "100000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WITHIN_S)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("window", "rate"), [(20, 600), (1000, 2500)])
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path, window: int, rate: int) -> None:
    """Eight kills in a stream of QoS 1 messages to the listener: each is in the journal under one id, in order."""
    port, messages = free_port(), int(rate * STREAM_S)
    file = tmp_path / "gateway.toml"
    file.write_text(
        f'[gateway]\nname = "gw"\nstate = "{tmp_path / "state"}"\nprofiles = ["{PROFILES}"]\n'
        f'[sources.house]\nlisten = "127.0.0.1:{port}"\n'
    )
    random_ = random.Random(window)
    gateway = start(file)
    options = ["--count", str(messages), "--rate", str(rate), "--window", str(window), "--limit", str(WITHIN_S)]
    options += ["--url", f"mqtt://127.0.0.1:{port}", "--sent", str(tmp_path / "sent"), "--wait"]
    load = Session([sys.executable, "-m", "simulators.load", *options], tmp_path / "load.log", pipes=True)
    to_load, from_load = load.process.stdin, load.process.stdout
    assert to_load is not None
    assert from_load is not None
    try:
        assert from_load.readline() == "ready\n", load.tail()
        to_load.write("\n")
        to_load.flush()
        for _ in range(KILLS):
            time.sleep(random_.uniform(0.3, STREAM_S / KILLS))
            gateway.kill()
            gateway = start(file)
        assert wait_until(lambda: not load.alive(), WITHIN_S), load.tail()
        assert wait_until(lambda: listening("127.0.0.1", port), WITHIN_S)
        assert gateway.stop() == 0, gateway.tail()
        said = json.loads(from_load.readline())
    finally:
        load.kill()
        gateway.kill()
    assert said["acknowledged"] == messages
    assert said["reconnects"] > 0
    found = defaultdict(list)
    for event in events(file):
        data = event["data"]
        assert isinstance(data, dict)
        if "temperature" in data:
            found[str(event["subject"])].append(traffic.number_in(data["temperature"]))
    numbers = sorted(number for device in found.values() for number in device)
    assert numbers == list(range(messages))
    assert all(device == sorted(device) for device in found.values())
