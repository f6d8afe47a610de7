"""My house: a scenario made of devices.toml, so that my own rules can be tried on simulated devices of my own names.

A device's id says its dialect, its kind what it is.  What cannot be simulated under its id is left out, and said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from simulators.house.dialects import dialect_class
from simulators.house.gadget import Gadget

CONTACTS = ("door", "window", "gate", "garage", "hatch", "lid", "skylight", "letterbox", "drawer", "cupboard", "safe")
MODEL_OF_KIND = {
    **dict.fromkeys(CONTACTS, "contact"), "motion": "motion", "thermometer": "thermometer", "hygrometer": "thermometer",
    "freezer": "thermometer", "fridge": "thermometer", "thermostat": "thermostat", "plug": "plug", "light": "light",
    "lock": "lock", "cover": "cover", "shutter": "cover", "leak": "leak", "smoke": "smoke", "button": "button",
    "doorbell": "button", "camera": "camera", "meter": "meter", "siren": "plug",
}  # fmt: skip
_ID = re.compile(r"(?P<source>[^/]+)/(?P<dialect>[a-z0-9_-]+):(?P<name>.+)")
_PARTS = {
    "tasmota": re.compile(r"/(?:POWER\d*|Switch\d+)$"),
    "shelly": re.compile(r"/(?:relay|switch|roller|cover|input|pm1).*$"),
}
_DIALECTS = {
    "z2m": "zigbee2mqtt",
    "tasmota": "tasmota",
    "frigate": "frigate",
    "esphome": "esphome",
    "ring": "ring-mqtt",
    "neolink": "neolink",
}
_FIRST_GENERATION = re.compile(r"shelly(dw|dw2|ht|flood|smoke|trv|plug-s|switch25)-")


class Installed(NamedTuple):
    """What devices.toml says of a device."""

    id: str
    name: str
    room: str
    kind: str
    labels: tuple[str, ...]


def scenario_of(devices: Iterable[Installed], *, rules: str = "", lasts: str = "1d") -> tuple[str, list[str]]:
    """Return a scenario as TOML, and a word about each device that is not in it."""
    rooms: list[str] = []
    tables: list[str] = []
    left_out: list[str] = []
    for device in devices:
        found = _simulated(device)
        if isinstance(found, str):
            left_out.append(f"{device.id}: {found}")
            continue
        dialect, name, model = found
        room = device.room or "house"
        if room not in rooms:
            rooms.append(room)
        lines = ["[[device]]", f"name = {_quoted(name)}", f'dialect = "{dialect}"', f'model = "{model}"']
        lines += [f"room = {_quoted(room)}"]
        lines += [f"kind = {_quoted(device.kind)}"] if device.kind else []
        lines += [f"label = {_quoted(device.name)}"] if device.name else []
        lines += [f"labels = {json.dumps(list(device.labels), ensure_ascii=False)}"] if device.labels else []
        tables.append("\n".join(lines))
    head = ["schema = 1", 'title = "My house"', f'lasts = "{lasts}"']
    text = ["\n".join(head), *(f"[[room]]\nname = {_quoted(room)}" for room in rooms), *tables, *_people(rooms)]
    if rules:
        text.append(f"[gateway]\nrules = [{_quoted(rules)}]")
    return "\n\n".join(text) + "\n", left_out


def _simulated(device: Installed) -> tuple[str, str, str] | str:
    """Return dialect, name and model of a device, or why it cannot be simulated."""
    found = _ID.fullmatch(device.id)
    if found is None:
        return "its id is none"
    prefix, name = found["dialect"], found["name"]
    name = _PARTS[prefix].sub("", name) if prefix in _PARTS else name
    dialect = _DIALECTS.get(prefix)
    if prefix == "shelly":
        dialect = "shelly-gen1" if _FIRST_GENERATION.match(name) else "shelly-gen2"
    if dialect is None:
        return f"no simulated device gets the id of a {prefix} device"
    model = MODEL_OF_KIND.get(device.kind)
    if model is None:
        return f"its kind is {device.kind!r}" if device.kind else "it has no kind"
    kind = dialect_class(dialect)
    if model not in kind.models:
        return f"{dialect} has no {model} here"
    trial = kind([gadget := Gadget(name, dialect, model, device.room, 1)])
    if trial.id_of(gadget) != device.id:
        return f"a simulated {model} would be {trial.id_of(gadget)}"
    return dialect, name, model


def _people(rooms: list[str]) -> Iterator[str]:
    if rooms:
        steps = [
            f'  {{ at = "07:00", go = {_quoted(rooms[len(rooms) // 2])}, jitter = "20m" }}',
            '  { at = "08:00", leave = true, jitter = "20m" }',
            '  { at = "17:30", come = true, jitter = "40m" }',
        ]
        day = ",\n".join(steps)
        yield f'[[person]]\nname = "somebody"\nroom = {_quoted(rooms[0])}\nday = [\n{day},\n]'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
