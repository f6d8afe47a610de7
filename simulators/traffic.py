"""Traffic for load: message n of a stream, and the table of moments in which generator and sink meet.

Message n comes from device n modulo `DEVICES`, on ``load/<device>``, with its number as ``seq`` and the device's own
message number (from 1) as ``counter``: about 210 bytes of JSON in the style of Zigbee2MQTT, whose temperature moves
each time by more than a deadband and is above `HOT_CEL` in one message of ten, which is what the rule looks for.
"""

from __future__ import annotations

import mmap
from pathlib import Path

DEVICES = 50
HOT_CEL = 25.0
SEQ_BASE = 1_000_000  # so that all numbers have seven digits and all packets one shape
TOPIC_FILTER = "load/#"
COMMAND_FILTER = "cmd/#"


def device(n: int) -> str:
    """Name the device of message `n`."""
    return f"thermostat-{n % DEVICES:02d}"


def temperature(n: int) -> float:
    """Return a temperature in degrees Celsius between 16 and 26, never near that of the device's message before."""
    step = n // DEVICES * 7 + n % DEVICES * 3
    return round(16 + (step % 100) / 10, 2)


def is_hot(n: int) -> bool:
    """Return whether the rule answers message `n` with a command."""
    return temperature(n) > HOT_CEL


def message(n: int) -> tuple[str, bytes]:
    """Return topic and payload of message `n`."""
    counter, link, seq, celsius = n // DEVICES + 1, 60 + n % 180, SEQ_BASE + n, temperature(n)
    payload = (
        f'{{"battery":87,"child_lock":"UNLOCK","counter":{counter},"current_heating_setpoint":21.5,"humidity":45.2,'
        f'"linkquality":{link},"position":34,"preset":"manual","running_state":"heat","seq":{seq},'
        f'"system_mode":"heat","temperature":{celsius:.2f},"voltage":2900}}'
    )
    return f"load/{device(n)}", payload.encode()


class Moments:
    """A file of unsigned 64-bit numbers that processes share by mapping it: a moment (monotonic ns) per message."""

    def __init__(self, path: Path, count: int) -> None:
        """Map `path`, which is made, or grown with zeros, if it is too short."""
        size = count * 8
        with path.open("a+b") as file:
            if path.stat().st_size < size:
                file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)
        self.values = memoryview(self._map).cast("Q")
