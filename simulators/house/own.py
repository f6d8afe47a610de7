"""My house: a scenario made of devices.toml, so that my own rules can be tried on simulated devices of my own names.

A device's id says its dialect, its kind what it is.  What cannot be simulated under its id is left out, and said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


class House(NamedTuple):
    """What a configuration says of the house beside its devices, as far as rules know of it."""

    rules: str = ""  # folder
    modes: tuple[str, ...] = ()
    location: tuple[float, float] | None = None  # degrees north and east
    groups: Mapping[str, Sequence[str]] = {}
    people: Sequence[str] = ()  # who can be told


UNKNOWN = House()


def scenario_of(devices: Iterable[Installed], house: House = UNKNOWN, *, lasts: str = "1d") -> tuple[str, list[str]]:
    """Return a scenario as TOML, and a word about each device that is not in it. Nobody is told: it is in the log."""
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
    text += _gateway(house)
    return "\n\n".join(text) + "\n", left_out


def _gateway(house: House) -> Iterator[str]:
    lines = [f"rules = [{_quoted(house.rules)}]"] if house.rules else []
    lines += [f"modes = {json.dumps(house.modes, ensure_ascii=False)}"] if house.modes else []
    more = []
    if house.location is not None:
        more += ["[rules.location]", f"latitude = {house.location[0]}", f"longitude = {house.location[1]}"]
    if house.people:
        more += ["[notify]", *(f"{_quoted(name)} = {json.dumps(list(who))}" for name, who in house.groups.items())]
        more += [f'[notify.{_quoted(name)}]\ncarrier = "log"' for name in house.people]
    lines += [f"more = {_quoted(chr(10).join(more))}"] if more else []
    if lines:
        yield "\n".join(["[gateway]", *lines])


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
