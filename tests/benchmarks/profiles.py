"""What decoding costs: ``python -m tests.benchmarks.profiles``. CPU microseconds a message, best of many rounds.

Each case is a stream of messages of one device. "changed" is how many events a message makes; the JSON parse is
included, the journal is not. "parse" is orjson alone on the same payloads: where it is slow, so is the machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import orjson

from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery

MESSAGES = 2_000
ROUNDS = 15


class _Nobody:
    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge to no one."""


def _thermostat(i: int, changed: int) -> dict[str, Any]:
    return {
        "battery": 75,
        "child_lock": "UNLOCK",
        "linkquality": 40 + i % 90,
        "local_temperature": 19.5,
        "occupied_heating_setpoint": 16 + (i % 9) / 2 if changed > 0 else 21,
        "pi_heating_demand": (i % 40) * 2 if changed > 1 else 30,
        "running_state": "heat",
        "update": {"installed_version": 16777241, "latest_version": 16777241, "state": "idle"},
    }


CASES: dict[str, tuple[str, Callable[[int], Any]]] = {
    "thermostat, nothing changed": ("zigbee2mqtt/bedroom/radiator", lambda i: _thermostat(i, 0)),
    "thermostat, 1 changed": ("zigbee2mqtt/bedroom/radiator", lambda i: _thermostat(i, 1)),
    "thermostat, 2 changed": ("zigbee2mqtt/bedroom/radiator", lambda i: _thermostat(i, 2)),
    "contact, opens and closes": (
        "zigbee2mqtt/door",
        lambda i: {"battery": 100, "contact": i % 2 == 0, "linkquality": i % 90, "tamper": False, "voltage": 3100},
    ),
    "shelly gen1, text": ("shellies/shellydw2-1/sensor/lux", lambda i: str(i % 50 * 10)),
    "shelly gen2, partial": (
        "shellyplusplugs-1/events/rpc",
        lambda i: {
            "src": "s",
            "method": "NotifyStatus",
            "params": {"ts": 1.5, "switch:0": {"id": 0, "apower": i % 99}},
        },
    ),
    "tasmota, energy": (
        "tele/plug/SENSOR",
        lambda i: {
            "Time": "2026-01-01T00:00:00",
            "ENERGY": {"Total": 1.5, "Power": i % 999, "Voltage": 230, "Current": 1},
        },
    ),
    "a lamp": ("zigbee2mqtt/lamp", lambda i: {"state": "ON", "brightness": i % 255}),
    "nobody's": ("zigbee2mqtt/thing", lambda i: {"wobble": i}),
}


def measure(topic: str, make: Callable[[int], Any]) -> tuple[float, float, float, float]:
    """Return events a message, its mean size in bytes, CPU microseconds of parsing alone and of decoding."""
    made = [make(i) for i in range(MESSAGES)]
    payloads = [m.encode() if isinstance(m, str) else json.dumps(m, separators=(",", ":")).encode() for m in made]
    now, origin = time.time_ns(), _Nobody()
    deliveries = [Delivery("house", topic, payload, now, origin) for payload in payloads]
    decoder = Decoder(Catalogue.load(), "gw", "house", Devices(), {})
    best = parse = float("inf")
    events = 0
    for _ in range(ROUNDS):
        begin, events = time.process_time(), 0
        for delivery in deliveries:
            events += len(decoder.decode(delivery).events)
        best = min(best, time.process_time() - begin)
        begin = time.process_time()
        for payload in payloads:
            orjson.loads(payload)
        parse = min(parse, time.process_time() - begin)
    each = 1e6 / MESSAGES
    return events / MESSAGES, sum(map(len, payloads)) / MESSAGES, parse * each, best * each


def main() -> None:
    """Print the table."""
    print(f"{'message':30}  {'bytes':>5}  {'events':>6}  {'parse us':>8}  {'us':>6}")
    for name, (topic, make) in CASES.items():
        events, size, parse, cost = measure(topic, make)
        print(f"{name:30}  {size:5.0f}  {events:6.2f}  {parse:8.2f}  {cost:6.2f}")


if __name__ == "__main__":
    main()
