"""A simulated house: what its devices publish, as a pure function of a seed.

Shapes are those of the field: Zigbee2MQTT (thermostats, contacts, occupancy: the whole state at each change,
friendly names with ``/`` and spaces), Frigate (motion, the life of a tracked object), Shelly Gen1 (scalars on flat
topics) and Gen2 (partial JSON-RPC notifications).  Each message changes exactly one thing that is worth an event,
by more than any sensible deadband, so a device's n-th message is its n-th event; what rides along (link quality)
changes too.  JSON payloads carry the device's message number as ``counter``; scalars have no room for one, their
values alternate instead.

`House.messages` is endless and the same for ever for a seed; `House.births` are the retained messages that a
house publishes when it comes up.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

ROOMS = ("hall", "kitchen", "living room", "bedroom", "nursery", "bath", "office", "attic", "cellar", "garage")
DRIVES = ("drive", "garden", "front_door", "backyard", "terrace", "gate")
LABELS = ("person", "person", "person", "car", "dog", "cat")
EPOCH_S = 1_795_000_000.0  # where the cameras' clocks begin; real time would make two runs differ
TEMPERATURE_STEP_CEL = 0.3  # the least change; profiles report from 0.1 or so


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a device: `due_s` from the start, and which message of the device it is (from 1)."""

    due_s: float
    topic: str
    payload: bytes
    qos: int
    retain: bool
    device: str  # in its own dialect: "z2m:hall/radiator", "frigate:drive", "shelly:shellydw2-A4CF12F40001"
    counter: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many of each kind live in the house."""

    thermostats: int = 6
    contacts: int = 5
    occupancy: int = 4
    cameras: int = 3
    shelly_doors: int = 2
    shelly_gen2: int = 1


@dataclass(frozen=True, slots=True)
class _Device:
    """A device: its name, how often it speaks beside others, and its endless messages (topic, payload)."""

    name: str
    weight: float
    says: Iterator[tuple[str, bytes]]


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def thermostat(name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Be a radiator valve that follows its setpoint; now and then somebody turns it."""
    temperature, setpoint, battery = round(rng.uniform(17, 22), 2), 20.5, rng.randint(60, 100)
    for counter in _numbers():
        if counter > 1 and rng.random() < 0.05:
            setpoint = rng.choice([x for x in (16.5, 18.0, 20.5, 21.5, 23.0) if x != setpoint])
        elif counter > 1:
            towards = 1 if temperature < setpoint else -1
            drift = TEMPERATURE_STEP_CEL + rng.random() * 0.4
            temperature = round(temperature + (drift if rng.random() < 0.8 else -drift) * towards, 2)
        yield (
            f"zigbee2mqtt/{name}",
            _json(
                {
                    "battery": battery,
                    "child_lock": "UNLOCK",
                    "counter": counter,
                    "current_heating_setpoint": setpoint,
                    "linkquality": rng.randint(30, 255),
                    "local_temperature": temperature,
                    "running_state": "heat",
                    "system_mode": "heat",
                }
            ),
        )


def contact(name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Be a door or window contact: opened, closed, opened ... (Zigbee2MQTT's ``contact: false`` is open)."""
    battery = rng.randint(60, 100)
    for counter in _numbers():
        yield (
            f"zigbee2mqtt/{name}",
            _json(
                {
                    "battery": battery,
                    "battery_low": False,
                    "contact": counter % 2 == 0,
                    "counter": counter,
                    "device_temperature": 22,
                    "linkquality": rng.randint(30, 255),
                    "tamper": False,
                    "voltage": 3005,
                }
            ),
        )


def occupancy(name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Be a motion sensor: somebody, nobody, somebody ..."""
    battery, lux = rng.randint(60, 100), rng.randint(0, 400)
    for counter in _numbers():
        yield (
            f"zigbee2mqtt/{name}",
            _json(
                {
                    "battery": battery,
                    "counter": counter,
                    "illuminance": lux,
                    "linkquality": rng.randint(30, 255),
                    "occupancy": counter % 2 == 1,
                }
            ),
        )


def camera(name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Be Frigate on one camera: motion begins, an object is new, moves on, ends; motion ends."""
    now_s = EPOCH_S + rng.uniform(0, 86_400)
    counter = 1
    while True:
        yield f"frigate/{name}/motion", b"ON"
        visit, label = f"{now_s:.6f}-{rng.getrandbits(30):06x}", rng.choice(LABELS)
        before = None
        for kind, zones in (("new", []), ("update", ["yard"]), ("update", ["yard", "porch"]), ("end", [])):
            now_s += rng.uniform(1, 9)
            counter += 1
            after = _tracked(visit, name, label, now_s, rng, zones, counter, ended=kind == "end")
            yield "frigate/events", _json({"type": kind, "before": before or after, "after": after})
            before = after
        counter += 2
        yield f"frigate/{name}/motion", b"OFF"
        now_s += rng.uniform(30, 600)


def shelly_door(name: str, _rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Be a Shelly Door/Window 2 (Gen1): one scalar topic."""
    for counter in _numbers():
        yield f"shellies/{name}/sensor/state", b"open" if counter % 2 else b"close"


def shelly_gen2(name: str, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Be a Shelly Gen2 with a temperature add-on: partial notifications of a temperature."""
    celsius = round(rng.uniform(17, 22), 1)
    now_s = EPOCH_S
    for counter in _numbers():
        celsius = round(celsius + rng.choice((-1, 1)) * (TEMPERATURE_STEP_CEL + rng.random() * 0.3), 1)
        now_s += rng.uniform(5, 60)
        status = {"id": 0, "tC": celsius, "tF": round(celsius * 1.8 + 32, 1)}
        parameters = {"ts": round(now_s, 2), "temperature:0": status}
        document = {"src": name, "dst": f"{name}/events", "method": "NotifyStatus", "params": parameters}
        yield f"{name}/events/rpc", _json({**document, "counter": counter})


class House:
    """Devices of a `Fleet`, seeded. Iterating twice gives the same messages twice."""

    def __init__(self, seed: int, fleet: Fleet | None = None) -> None:
        """Build the house of `seed`."""
        self.seed, self.fleet = seed, fleet or Fleet()

    def messages(self, rate: float) -> Iterator[Message]:
        """Yield messages in the order they are due, `rate` a second on average, without end."""
        rng = random.Random(self.seed)
        devices = self._devices()
        total = sum(device.weight for device in devices)
        counters = [0] * len(devices)
        # Each device speaks by a Poisson process of its own; the heap merges them by time.
        means = [total / (rate * device.weight) for device in devices]
        due = [(rng.expovariate(1 / mean), index) for index, mean in enumerate(means)]
        heapq.heapify(due)
        while True:
            due_s, index = due[0]
            topic, payload = next(devices[index].says)
            counters[index] += 1
            yield Message(due_s, topic, payload, 1, False, devices[index].name, counters[index])
            heapq.heapreplace(due, (due_s + rng.expovariate(1 / means[index]), index))

    def first(self, count: int, rate: float) -> list[Message]:
        """Return the first `count` messages."""
        return list(islice(self.messages(rate), count))

    def births(self) -> list[Message]:
        """Return the retained messages of a house that comes up: bridge, availability, cameras."""
        retained = [("zigbee2mqtt/bridge/state", b'{"state":"online"}'), ("frigate/available", b"online")]
        for device in self._devices():
            dialect, _, name = device.name.partition(":")
            if dialect == "z2m":
                retained.append((f"zigbee2mqtt/{name}/availability", b'{"state":"online"}'))
            elif dialect == "shelly":
                retained.append((f"{'shellies/' if name.startswith('shellydw') else ''}{name}/online", b"true"))
        return [Message(0.0, topic, payload, 1, True, "", 0) for topic, payload in retained]

    def _devices(self) -> list[_Device]:
        fleet = self.fleet
        kinds = (
            (fleet.thermostats, "z2m", "{room}/radiator", 3.0, thermostat),
            (fleet.contacts, "z2m", "{room}/door", 1.0, contact),
            (fleet.occupancy, "z2m", "{room}/motion", 1.5, occupancy),
            (fleet.cameras, "frigate", "{drive}", 2.0, camera),
            (fleet.shelly_doors, "shelly", "shellydw2-A4CF12F4{number:04X}", 0.5, shelly_door),
            (fleet.shelly_gen2, "shelly", "shellyplus1-80646FD0{number:04x}", 1.0, shelly_gen2),
        )
        devices = []
        for count, dialect, pattern, weight, says in kinds:
            for index in range(count):
                name = pattern.format(room=_nth(ROOMS, index), drive=_nth(DRIVES, index), number=index + 1)
                rng = random.Random(f"{self.seed}/{dialect}:{name}")
                devices.append(_Device(f"{dialect}:{name}", weight, says(name, rng)))
        return devices


def _tracked(
    visit: str, name: str, label: str, now_s: float, rng: random.Random, zones: list[str], counter: int, *, ended: bool
) -> dict[str, object]:
    """Describe a tracked object as Frigate does (0.13 and later)."""
    score = round(rng.uniform(0.72, 0.98), 5)
    left, top = rng.randint(0, 900), rng.randint(0, 500)
    return {
        "id": visit,
        "camera": name,
        "counter": counter,
        "frame_time": round(now_s, 6),
        "label": label,
        "sub_label": None,
        "top_score": score,
        "false_positive": False,
        "start_time": float(visit.partition("-")[0]),
        "end_time": round(now_s, 6) if ended else None,
        "score": score,
        "box": [left, top, left + 120, top + 260],
        "current_zones": zones,
        "entered_zones": zones,
        "has_snapshot": ended,
        "has_clip": True,
        "stationary": False,
    }


def _numbers() -> Iterator[int]:
    n = 0
    while True:
        n += 1
        yield n


def _nth(names: tuple[str, ...], index: int) -> str:
    """Name the `index`-th thing: names repeat with a number behind."""
    again, position = divmod(index, len(names))
    return names[position] + (f" {again + 1}" if again else "")
