"""What a Zigbee2MQTT definition exposes, as a profile.

An expose says type, property (the key in the message), unit, access (1 published, 2 settable), limits and words; nested
ones (light, climate, composite) have `features`.  Source: https://www.zigbee2mqtt.io/guide/usage/exposes.html.

A property with an endpoint belongs to a device of its own, ``z2m:<device>/<endpoint>``, as two relays in one box are
two relays.  `contact` is true when the door is closed, whatever else an expose says, unless it is ON and OFF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.importers.draft import CONFIRM, Part, ext, fits, number_argument, token, unit_of, words
from gateway.profiles.values import text_of
from gateway.profiles.vocabulary import FIELDS

ENDPOINTS_MAX = 16
PUBLISHED, SETTABLE = 1, 2

MODES = {
    "off": "off", "heat": "heat", "cool": "cool", "auto": "auto", "heat_cool": "heat_cool", "dry": "dry",
    "fan_only": "fan_only", "manual": "heat", "emergency_heating": "heat", "emergency heating": "heat",
}  # fmt: skip
ACTIONS = {
    "idle": "idle", "heat": "heating", "cool": "cooling", "fan_only": "fan", "fan": "fan", "off": "off",
    "heating": "heating", "cooling": "cooling",
}  # fmt: skip
COVERS = {"OPEN": "open", "CLOSE": "closed", "STOP": "stopped"}
OPEN_WINDOW = {
    "true": True, "false": False, "ON": True, "OFF": False, "open": True, "opened": True, "close": False,
    "closed": False, "1": True, "0": False, "quarantine": False, "external_open": True,
}  # fmt: skip
FLAGS = {
    "alarm": True, "detected": True, "leak": True, "presence": True, "low": True, "Nok": True, "normal": False,
    "clear": False, "none": False, "absence": False, "middle": False, "medium": False, "high": False, "full": False,
}  # fmt: skip
"""Words of enums that are a flag: read when all of an enum's are here, and some of each."""
NO_SENSOR = [999, -273.15, 327.67, -327.68]  # in the thermostat cluster

NAMES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("contact", "open", {"invertible": True}),
    ("garage_door_contact", "open", {"invertible": True}),
    ("local_temperature", "temperature", {"null": NO_SENSOR}),
    ("temperature", "temperature", {}),
    ("occupied_heating_setpoint", "setpoint.heat", {}),
    ("current_heating_setpoint", "setpoint.heat", {}),
    ("occupied_cooling_setpoint", "setpoint.cool", {}),
    ("system_mode", "mode", {"map": MODES, "else": "other"}),
    ("running_state", "action", {"map": ACTIONS, "else": "other"}),
    ("preset", "preset", {}),
    ("pi_heating_demand", "valve", {"range": [0, 100]}),
    ("valve_position", "valve", {"range": [0, 100]}),
    ("window_open", "window_detected", {"map": OPEN_WINDOW}),
    ("window_open_internal", "window_detected", {"map": OPEN_WINDOW}),
    ("occupancy", "motion", {}),
    ("motion", "motion", {}),
    ("presence", "presence", {}),
    ("presence_state", "presence", {}),
    ("target_distance", "distance", {}),
    ("vibration", "vibration", {}),
    ("tamper", "tamper", {}),
    ("smoke", "smoke", {}),
    ("smoke_state", "smoke", {}),
    ("carbon_monoxide", "co", {}),
    ("gas", "gas", {}),
    ("water_leak", "leak", {}),
    ("alarm", "alarm", {}),
    ("rain", "raining", {}),
    ("trouble", "fault", {}),
    ("humidity", "humidity", {}),
    ("pressure", "pressure", {}),
    ("illuminance_lux", "illuminance", {}),
    ("illuminance", "illuminance", {}),
    ("co2", "co2", {}),
    ("voc", "voc", {}),
    ("pm25", "pm25", {}),
    ("pm10", "pm10", {}),
    ("pm1", "pm1", {}),
    ("formaldehyd", "formaldehyde", {}),
    ("hcho", "formaldehyde", {}),
    ("soil_moisture", "soil_moisture", {}),
    ("power", "power", {}),
    ("energy", "energy", {}),
    ("produced_energy", "energy.returned", {}),
    ("current", "current", {}),
    ("power_apparent", "power.apparent", {}),
    ("power_reactive", "power.reactive", {}),
    ("ac_frequency", "frequency", {}),
    ("battery", "battery", {"unit": "%", "range": [0, 100]}),
    ("battery_low", "battery.low", {}),
    ("battery_state", "battery.low", {}),
    ("device_temperature", "device.temperature", {}),
    ("linkquality", "link_quality", {"report": "never"}),
)
"""An expose's name -> the field. The order counts: of two for one field the first is it, the other goes through."""

_ORDER = {name: i for i, (name, _, _) in enumerate(NAMES)}
_OF_NAME = {name: (field, rules) for name, field, rules in NAMES}
_COLOR = {"x": "color.x", "y": "color.y", "hue": "color.hue", "saturation": "color.saturation"}
_PHASE = re.compile(r"(power|current|voltage)_phase_([abc])")
_WORD = re.compile(r"[a-z0-9_]{1,20}")

_CLASSES: tuple[tuple[str, str], ...] = (
    ("setpoint.heat", "thermostat"), ("setpoint.cool", "thermostat"), ("open", "contact_sensor"),
    ("locked", "door_lock"), ("cover", "window_covering"), ("position", "window_covering"),
    ("brightness", "light"), ("fan", "fan"), ("fan.speed", "fan"), ("smoke", "smoke_co_alarm"),
    ("co", "smoke_co_alarm"), ("gas", "smoke_co_alarm"), ("leak", "water_leak_detector"),
    ("motion", "occupancy_sensor"), ("presence", "occupancy_sensor"), ("on", "on_off_plug"),
    ("alarm", "siren"), ("vibration", "vibration_sensor"), ("co2", "air_quality_sensor"),
    ("voc", "air_quality_sensor"), ("pm25", "air_quality_sensor"), ("soil_moisture", "soil_sensor"),
    ("rain", "rain_sensor"), ("temperature", "temperature_sensor"), ("humidity", "humidity_sensor"),
    ("pressure", "pressure_sensor"), ("illuminance", "light_sensor"), ("power", "electrical_meter"),
    ("energy", "electrical_meter"), ("button", "generic_switch"), ("armed", "alarm_panel"),
)  # fmt: skip


class Leaf(NamedTuple):
    """One value of a message: where it is, and what exposes it."""

    expose: Mapping[str, Any]
    path: tuple[str, ...]  # keys that lead to it
    within: str  # type of the expose around it: light, climate, composite; "" at the top
    endpoint: str

    @property
    def name(self) -> str:
        """Return its name, without the endpoint that its property may end with."""
        return str(self.expose.get("name") or self.path[-1])


def class_of(fields: Mapping[str, Any]) -> str:
    """Return the class of a device with these fields."""
    return next((kind for field, kind in _CLASSES if field in fields), "device")


def endpoints(exposes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the endpoints that a definition's properties belong to."""
    found = dict.fromkeys(leaf.endpoint for leaf in _leaves(exposes))
    return [end for end in found if _WORD.fullmatch(end)][:ENDPOINTS_MAX]


def document(
    title: str, maker: str, power: str, exposes: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a profile's document for a definition, and what is left out of it."""
    leaves = sorted(_leaves(exposes), key=lambda leaf: _ORDER.get(leaf.name, len(_ORDER)))
    ends = ["", *endpoints(exposes)]
    parts = {end: _part([leaf for leaf in leaves if leaf.endpoint == end], end, power) for end in ends}
    main = parts.pop("")
    messages = [{"topics": ["{base=zigbee2mqtt}/{device+}"], "fields": list(main.fields.values())}]
    for end, part in parts.items():
        keys = [str(field["from"]).removeprefix("/") for field in part.fields.values()]
        single = [key for key in keys if "/" not in key and "~" not in key and "|" not in key]
        if not single:
            continue
        messages.append(
            {
                "topics": [f"{{base=zigbee2mqtt}}/{{of_{end}+}}"],
                "device": f"z2m:{{of_{end}}}/{end}",
                "device_class": class_of(part.fields),
                "when": [{"path": f"/{{key:{'|'.join(single)}}}", "exists": True}],
                "fields": list(part.fields.values()),
            }
        )
    commands = [command for part in (main, *parts.values()) for command in part.commands.values()]
    left_out = [text for part in (main, *parts.values()) for text in part.left_out]
    made = {
        "title": title, "maker": maker, "device_class": class_of(main.fields),
        "device": {"id": "z2m:{device}", "via": "z2m:bridge"},
        "message": messages, "time": {"from": "/last_seen"}, "command": commands,
    }  # fmt: skip
    return made, tuple(left_out)


def _leaves(exposes: Any, path: tuple[str, ...] = (), within: str = "", endpoint: str = "") -> Iterator[Leaf]:
    for expose in exposes:
        kind, features = expose.get("type"), expose.get("features")
        end = str(expose.get("endpoint") or endpoint)
        key = expose.get("property")
        if features is not None:
            inner = (*path, key) if kind == "composite" and isinstance(key, str) else path
            yield from _leaves(features, inner, within if kind == "composite" else str(kind), end)
        elif isinstance(key, str) and key and kind in ("binary", "numeric", "enum", "text", "list"):
            yield Leaf(expose, (*path, key), within, end)


def _part(leaves: Sequence[Leaf], end: str, power: str) -> Part:
    part = Part()
    names = {leaf.name for leaf in leaves}
    topic = "{base}/{of_" + end + "}/set" if end else "{base}/{device}/set"
    for leaf in leaves:
        try:
            pointer = "".join(f"/{token(key)}" for key in leaf.path)
        except ValueError as error:
            part.leave("/".join(leaf.path), str(error))
            continue
        access = leaf.expose.get("access")
        access = access if isinstance(access, int) else PUBLISHED
        field = _field(part, leaf, pointer, names, power) if access & PUBLISHED else None
        if access & SETTABLE and len(leaf.path) == 1:
            _command(part, leaf, field, topic)
    return part


def _field(part: Part, leaf: Leaf, pointer: str, names: set[str], power: str) -> str | None:
    """Add the field a leaf is; returns its name, or None when it could not be added."""
    if leaf.name == "action" and leaf.expose["type"] in ("enum", "text"):
        part.add("button", pointer, null=["none"], momentary=True)
        return "button"
    name, rules = _meant(leaf, names, power)
    if name is not None and name not in part.fields:
        return name if part.add(name, pointer, **rules) else None
    # composites in composites: the whole path is the name
    tail = ext("_".join(leaf.path))
    if tail is None:
        part.leave("_".join(leaf.path), "no name for a field")
        return None
    return tail if part.add(tail, pointer, **_plainly(leaf, tail)) else None


def _meant(leaf: Leaf, names: set[str], power: str) -> tuple[str | None, dict[str, Any]]:
    """Return the vocabulary's field and its rules; None when there is none for this leaf."""
    kind, unit, name = leaf.expose["type"], leaf.expose.get("unit"), leaf.name
    if name == "state" and leaf.within in ("light", "switch", "fan", "lock", "cover"):
        return _state(leaf)
    if leaf.within == "light" and name == "brightness" and len(leaf.path) == 1:
        top = leaf.expose.get("value_max")
        counts = float(top) if isinstance(top, (int, float)) and top > 0 else 254.0
        return "brightness", {"scale": 100 / counts, "range": [0, 255]}
    if leaf.within == "light" and name == "color_temp":
        return "color_temperature", {}
    if leaf.within == "light" and leaf.path[0].startswith("color") and len(leaf.path) == 2:
        return _COLOR.get(name), {}
    if len(leaf.path) > 1:
        return None, {}
    if name == "position" and kind == "numeric":
        return ("position" if leaf.within == "cover" else _position(names)), {"range": [0, 100]}
    if name == "tilt" and leaf.within == "cover":
        return "position.tilt", {"range": [0, 100]}
    if name == "voltage" and kind == "numeric":
        return _voltage(unit, names, power)
    if kind == "numeric" and (phase := _PHASE.fullmatch(name)):
        field = f"{phase[1]}.phase.{phase[2]}"
        return (field, unit_of(field, unit)) if fits(phase[1], unit) else (None, {})
    found, rules = _OF_NAME.get(name, (None, {}))
    if found is None or not _is_of_type(found, kind):
        return None, {}
    more: dict[str, Any] = dict(rules)
    if found == "open" and kind == "binary":
        more["map"] = _contact(leaf.expose)
    elif kind in ("binary", "enum") and FIELDS[found].type == "bool" and "map" not in more:
        more["map"] = _binary(leaf.expose) if kind == "binary" else _flags(leaf.expose)
    elif FIELDS[found].type == "number" and "unit" not in more:
        if not fits(found, None if unit == "lqi" else unit):
            return None, {}
        more |= {} if unit == "lqi" else unit_of(found, unit)
    return (None, {}) if more.get("map") == {} else (found, more)


def _is_of_type(field: str, kind: str) -> bool:
    wanted = FIELDS[field].type
    return {"number": kind == "numeric", "bool": kind in ("binary", "enum")}.get(wanted, kind in ("enum", "text"))


def _state(leaf: Leaf) -> tuple[str | None, dict[str, Any]]:
    if leaf.within == "cover":
        return "cover", {"map": COVERS, "else": "other"}
    found = _binary(leaf.expose)
    if not found:
        return None, {}
    return ("locked" if leaf.within == "lock" else "on"), {"map": found}


def _position(names: set[str]) -> str | None:
    """Return what a position is: a valve's on a radiator, unless another property is that already."""
    if not names & {"local_temperature", "current_heating_setpoint"}:
        return "position"
    return None if names & {"pi_heating_demand", "valve_position"} else "valve"


def _voltage(unit: Any, names: set[str], power: str) -> tuple[str | None, dict[str, Any]]:
    """Return which voltage it is: a battery's, unless the device measures a load or hangs on the mains without one."""
    if unit not in ("V", "mV"):
        return None, {}
    mains = power.startswith(("Mains", "DC")) and "battery" not in names
    name = "voltage" if mains or names & {"power", "current", "energy"} else "battery.voltage"
    return name, unit_of(name, unit)


def _contact(expose: Mapping[str, Any]) -> dict[str, bool]:
    if isinstance(expose.get("value_on"), str):
        return _binary(expose)
    return {"false": True, "true": False}


def _binary(expose: Mapping[str, Any]) -> dict[str, bool]:
    on, off = expose.get("value_on"), expose.get("value_off")
    if on is None or off is None or text_of(on) == text_of(off):
        return {}
    return {text_of(on): True, text_of(off): False}


def _flags(expose: Mapping[str, Any]) -> dict[str, bool]:
    values = words(expose.get("values"))
    found = {word: FLAGS[word] for word in values if word in FLAGS}
    return found if len(found) == len(values) and {*found.values()} == {True, False} else {}


def _plainly(leaf: Leaf, name: str) -> dict[str, Any]:
    """Return the rules of a field that has no meaning here: its type, and its unit where it is known."""
    kind = leaf.expose["type"]
    if kind == "numeric":
        return {"type": "number", **unit_of(name, leaf.expose.get("unit"))}
    if kind == "binary" and (found := _binary(leaf.expose)):
        return {"type": "bool", "map": found}
    return {"type": "list"} if kind == "list" else {"type": "text"}


def sent(meant: Mapping[str, str], values: Sequence[str]) -> dict[str, str]:
    """Return our word -> the device's, in its order; of two that mean the same the one that is called so."""
    back: dict[str, str] = {}
    for word in values:
        if word in meant and (meant[word] not in back or word == meant[word]):
            back[meant[word]] = word
    return back


_SETS = {"setpoint.heat": "set_setpoint", "setpoint.cool": "set_setpoint_cool"}


def _command(part: Part, leaf: Leaf, field: str | None, topic: str) -> None:
    """Add the command that sets a leaf."""
    expose, key = leaf.expose, leaf.path[0]
    known = field is not None and not field.startswith("ext.") and field != "button"
    name = _SETS.get(field or "", f"set_{field.replace('.', '_')}") if known and field else f"set_{key}"
    rules: dict[str, Any] = {"json": {key: "$value"}}
    kind, values = expose["type"], words(expose.get("values"))
    made = part.fields.get(field or "", {})
    if kind == "binary" and (found := made.get("map") or _binary(expose)):
        said = {text_of(expose.get(side)): expose.get(side) for side in ("value_on", "value_off")}
        rules |= {"arg": {"type": "bool"},
                  "map": {text_of(flag): said.get(text, text) for text, flag in found.items()}}  # fmt: skip
    elif kind == "numeric":
        rules["arg"], more = _number(expose, field, made)
        rules |= more
    elif kind == "enum" and field in ("mode", "cover"):
        meant = MODES if field == "mode" else {"OPEN": "open", "CLOSE": "close", "STOP": "stop"}
        back = sent(meant, values)
        rules |= {"arg": {"type": "enum", "values": list(back)}, "map": back}
        field = None if field == "cover" else field  # it is told "close" and says "closed"
    elif kind == "enum":
        rules["arg"] = {"type": "enum", "values": values}
        field = None if "map" in made else field  # it is told a word and says a flag
    elif kind == "text":
        rules["arg"] = {"type": "text"}
    arg = rules.get("arg")
    if arg is None or (arg["type"] == "enum" and not arg["values"]) or key.startswith("$"):
        return
    if field is not None and field != "button" and field in part.fields:
        rules |= {"field": field, "confirm": {"field": field, "within": CONFIRM}}
    part.command(name, topic, **rules)


def _number(
    expose: Mapping[str, Any], field: str | None, made: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    low, high, step = (expose.get(f"value_{what}") for what in ("min", "max", "step"))
    if "scale" in made:  # brightness: per cent here, counts there
        return {"type": "number", "unit": "%", "min": 0, "max": 100, "step": 1}, {"scale": made["scale"]}
    unit = made.get("unit") or (FIELDS[field].unit if field in FIELDS else expose.get("unit"))
    argument = number_argument(unit if isinstance(unit, str) else None, low, high, step)
    return argument, ({"unit": unit} if made.get("unit") else {})
