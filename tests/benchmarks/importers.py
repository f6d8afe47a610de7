"""Zigbee devices that are all announced at once: seconds, memory and rows (`python -m tests.benchmarks.importers`).

Two hundred devices of forty models by default, each with twenty to fifty properties, as a bridge lists them at its
start; then each says something; then the gateway begins again from rows alone.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from tests.importers.house import CONTACT, House, binary, enum, numeric, z2m, zigbee

LIST = "zigbee2mqtt/bridge/devices"
MODELS = 40
WORDS = "A sentence of ordinary length that says what this property is for, as every expose has one."


def exposes(model: int) -> list[dict[str, Any]]:
    """Return what one model exposes."""
    light = {
        "type": "light",
        "features": [binary("state", "ON", "OFF", 7), numeric("brightness", None, 7, value_max=254)],
    }
    climate = {"type": "climate", "features": [
        numeric("occupied_heating_setpoint", "°C", 7, value_min=5, value_max=30, value_step=0.5),
        numeric("local_temperature", "°C"), enum("system_mode", ["off", "heat", "auto"], 7)]}  # fmt: skip
    first: list[dict[str, Any]] = [*CONTACT] if model % 3 == 0 else [light] if model % 3 == 1 else [climate]
    more = [numeric(f"setting_{model}_{n}", "s", 7, value_min=0, value_max=600) for n in range(model % 30 + 15)]
    return [each | {"description": WORDS, "label": "Label"} for each in [*first, *more, numeric("linkquality", "lqi")]]


def rss_mb() -> float:
    """Return the resident memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main(devices: int) -> None:
    """Announce, speak, begin again; print what it took."""
    models = [exposes(model) for model in range(MODELS)]
    listed = []
    for n in range(devices):
        one = zigbee(f"0x{n + 1:016x}", f"room {n % 20}/device {n}", *models[n % MODELS])
        one["definition"] = one["definition"] | {"model": f"M{n % MODELS}", "description": f"Model {n % MODELS}"}
        listed.append(one)
    payload = z2m(*listed)
    house = House(["zigbee2mqtt", "homie", "sparkplug", "home-assistant"])
    before, start = rss_mb(), time.perf_counter()
    house.say(LIST, payload)
    announced = time.perf_counter() - start
    rows = house.keep()
    kept = house.imports.importers[0].rows.bytes
    print(f"{devices} devices of {MODELS} models, {len(payload) / 1e6:.2f} MB announced: {announced:.3f} s, ", end="")
    print(f"{rss_mb() - before:.1f} MB of memory, {rows} rows of {kept / 1e3:.0f} kB")
    start = time.perf_counter()
    for n in range(devices):
        house.say(f"zigbee2mqtt/room {n % 20}/device {n}", {"linkquality": n % 200, "setting_0_1": 3})
    print(f"each says something for the first time: {1e6 * (time.perf_counter() - start) / devices:.0f} us a message")
    start = time.perf_counter()
    house.say(LIST, payload)
    print(f"the same list again: {time.perf_counter() - start:.3f} s, {house.keep()} rows")
    values = json.loads(json.dumps(house.values))
    start = time.perf_counter()
    again = House(house.importers, house.rows, values)
    made = time.perf_counter()
    again.tick()
    print(
        f"after a restart, from rows: {time.perf_counter() - made:.3f} s behind {made - start:.3f} s for the profiles"
    )


main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
