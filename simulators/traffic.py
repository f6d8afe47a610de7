"""Traffic for load: message n of a stream, and the table of moments in which generator and sink meet.

Message n comes from device n modulo `DEVICES`. Four devices of five are thermostats on ``load/thermostat/<device>``:
about 210 bytes of JSON in the style of Zigbee2MQTT, of which only the temperature changes, each time by more than a
deadband, so that each message is one event by change detection. The fifth is a meter on ``load/meter/<device>``,
whose message is one event as a whole, changed or not. A temperature says which message it is from: n stands in
its decimals from the second on (``21.30000017`` is message 17), so any gateway that passes values on can be judged.
"""

from __future__ import annotations

import mmap
from pathlib import Path

DEVICES = 50
HOT_CEL = 25.0
NUMBERS_MAX = 10_000_000
TOPIC_FILTER = "load/#"
COMMAND_FILTER = "cmd/#"
_DECIMALS = 100_000_000


def kind(n: int) -> str:
    """Return what the device of message `n` is."""
    return "meter" if n % 5 == 4 else "thermostat"


def device(n: int) -> str:
    """Name the device of message `n`."""
    return f"{kind(n)}-{n % DEVICES:02d}"


def temperature(n: int) -> float:
    """Return the temperature in message `n`, 16 to 26 degrees Celsius, never near the device's last."""
    step = n // DEVICES * 7 + n % DEVICES * 3
    return ((160 + step % 100) * (_DECIMALS // 10) + n) / _DECIMALS


def number_in(celsius: float) -> int:
    """Return n of the message whose temperature this is."""
    return round(celsius * _DECIMALS) % NUMBERS_MAX


def is_hot(n: int) -> bool:
    """Return whether the rule answers message `n` with a command."""
    return temperature(n) > HOT_CEL


def message(n: int) -> tuple[str, bytes]:
    """Return topic and payload of message `n`."""
    payload = (
        f'{{"battery":87,"child_lock":"UNLOCK","counter":{n // DEVICES + 1},"current_heating_setpoint":21.5,'
        f'"humidity":45.2,"linkquality":{60 + n % 180},"position":34,"preset":"manual","running_state":"heat",'
        f'"system_mode":"heat","temperature":{temperature(n):.8f},"voltage":2900}}'
    )
    return f"load/{kind(n)}/{device(n)}", payload.encode()


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
