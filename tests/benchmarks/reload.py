"""How long a reload takes, and how long events wait for their acknowledgement meanwhile.

The real daemon with 20 sources, all profiles that are shipped and 1,000 devices in devices.toml, between a device that
publishes at QoS 1, one message at a time, and a real Mosquitto. Measured in one run: the time of a reload that changes
nothing, one that changes another source, one that changes the target, one that changes what rules go by; and the time
from PUBLISH to PUBACK, without reloads and while one follows the other. Prints JSON.

    python -m tests.benchmarks.reload [ROUNDS]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from simulators.broker import Mosquitto
from simulators.processes import free_port
from tests.system.rig import Device, House, broker_target, own_listener, running

SOURCES, DEVICES = 20, 1000
QUIET_S = 5.0
CHANGES = {
    "nothing": "",
    "source": "[sources.s1]\nlisten = '127.0.0.1:0'\nreceive_max = {n}\n",
    "target": "[targets.cloud]\nbatch_max = {n}\n",
    "rules": "[rules]\nlate_s = {n}\n",
}


class Pinging:
    """Publishes one message after the other and keeps how long each waited for its PUBACK."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stop = threading.Event()
        self.waits_ms: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            started = time.perf_counter()
            self._device.tell("load/meter/ping", {"temperature": number})
            self.waits_ms.append((time.perf_counter() - started) * 1000)
            number += 1

    def since(self, begin: int) -> dict[str, float]:
        """Say how long messages waited from a place in the list on."""
        waits = sorted(self.waits_ms[begin:])
        return {
            "messages": len(waits),
            "p50_ms": round(statistics.median(waits), 1),
            "p99_ms": round(waits[int(len(waits) * 0.99)], 1),
            "max_ms": round(waits[-1], 1),
        }

    def end(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Mosquitto(folder / "cloud").start()
        port, source = own_listener()
        more = "".join(f'[sources.s{n}]\nlisten = "127.0.0.1:{free_port()}"\n' for n in range(1, SOURCES))
        house = House(folder / "gw", source, more, broker_target(broker.url))
        rows = (
            f'[[device]]\nid = "house/z2m:lamp-{n}"\nname = "lamp-{n}"\nroom = "r{n % 20}"\n' for n in range(DEVICES)
        )
        (house.folder / "devices.toml").write_text("".join(rows))
        (house.folder / "gateway.d").mkdir()
        change = house.folder / "gateway.d" / "change.toml"
        took: dict[str, list[float]] = {kind: [] for kind in CHANGES}
        with running(house):
            device = Device(port, "ping")
            pinging = Pinging(device)
            time.sleep(QUIET_S)
            found: dict[str, object] = {"without": pinging.since(0)}
            begin = len(pinging.waits_ms)
            for n in range(rounds):
                for kind, text in CHANGES.items():
                    change.write_text(text.format(n=100 + n))
                    outcome = house.ask("reload")
                    assert outcome["applied"], outcome
                    took[kind].append(outcome["seconds"] * 1000)
            found["while reloading"] = pinging.since(begin)
            pinging.end()
            device.close()
        broker.stop()
        found["reload_ms"] = {
            kind: {"p50": round(statistics.median(times)), "max": round(max(times))} for kind, times in took.items()
        }
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
