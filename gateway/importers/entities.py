"""Entities of Home Assistant's discovery as fields and commands of a profile.

Each component has one function: the entity's config in, `Read` and `Sets` out. What it cannot say for sure it leaves
out, with the reason: a template that is no shape, a unit that is none of what the field measures.
Source: https://www.home-assistant.io/integrations/mqtt/ and the pages of its components.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gateway.importers.draft import ext, fits, number_argument, plain, unit_of, words
from gateway.importers.exposes import ACTIONS, MODES
from gateway.importers.shapes import NOTHING, as_sent
from gateway.importers.templates import Path, Table, Unclear, pointer_of, shape_of
from gateway.profiles.values import text_of
from gateway.profiles.vocabulary import FIELDS

Config = Mapping[str, Any]


class Read(NamedTuple):
    """A field: the topic it is on, where in the message, and its rules."""

    topic: str
    whole: bool  # the payload itself, not a member of JSON
    pointer: str
    field: str
    rules: dict[str, Any]


class Sets(NamedTuple):
    """A command."""

    name: str
    topic: str
    rules: dict[str, Any]


class Left(NamedTuple):
    """What is not read, and why."""

    what: str
    why: str


Part = Read | Sets | Left

BINARY: dict[str, tuple[str, bool]] = {  # device_class -> field, and what ON means there
    "door": ("open", True), "window": ("open", True), "opening": ("open", True), "garage_door": ("open", True),
    "motion": ("motion", True), "occupancy": ("motion", True), "presence": ("presence", True),
    "smoke": ("smoke", True), "carbon_monoxide": ("co", True), "gas": ("gas", True), "moisture": ("leak", True),
    "tamper": ("tamper", True), "vibration": ("vibration", True), "battery": ("battery.low", True),
    "problem": ("fault", True), "lock": ("locked", False), "battery_charging": ("charging", True),
}  # fmt: skip
MEASURED: dict[str, str] = {  # device_class of a sensor -> field
    "temperature": "temperature", "humidity": "humidity", "pressure": "pressure", "atmospheric_pressure": "pressure",
    "illuminance": "illuminance", "battery": "battery", "power": "power", "energy": "energy", "voltage": "voltage",
    "current": "current", "carbon_dioxide": "co2", "pm25": "pm25", "pm10": "pm10", "pm1": "pm1",
    "volatile_organic_compounds_parts": "voc", "signal_strength": "rssi", "frequency": "frequency",
    "apparent_power": "power.apparent", "reactive_power": "power.reactive", "power_factor": "power.factor",
    "moisture": "soil_moisture", "distance": "distance", "wind_speed": "wind.speed", "aqi": "aqi", "ph": "ph",
    "water": "water.volume", "gas": "gas.volume", "weight": "weight", "irradiance": "radiation",
    "precipitation": "rain", "precipitation_intensity": "rain.rate", "wind_direction": "wind.direction",
    "carbon_monoxide": "co.level", "conductivity": "conductivity",
}  # fmt: skip
ARMED = {"disarmed": "off", "armed_home": "home", "armed_away": "away", "armed_night": "night",
         "armed_vacation": "vacation", "armed_custom_bypass": "custom"}  # fmt: skip
_BETWEEN = ["arming", "pending", "disarming", "triggered"]
IMAGES = {"image/jpeg": "ffd8ff", "image/png": "89504e47"}


def parts_of(component: str, name: str, config: Config) -> Iterator[Part]:
    """Yield what an entity is. `name` is its object id, made fit for a field's name."""
    make = COMPONENTS.get(component)
    if make is None:
        yield Left(name, f"{component} is not read")
        return
    yield from make(name, config)


# -- one value ---------------------------------------------------------------------------------------------


def _value(
    config: Config, topic: str, template: str, field: str, mapped: Mapping[str, Any] | None = None, **rules: Any
) -> Iterator[Read | Left]:
    """Yield the field of one topic and template; `mapped` leads from the template's text to the value."""
    where = config.get(topic)
    if not isinstance(where, str) or not where:
        return
    try:
        shape = shape_of(_text(config.get(template)))
        path = shape.path if isinstance(shape, Table) else shape
        pointer = pointer_of(path)
        more = _rules(shape, field, mapped, rules)
    except Unclear as error:
        yield Left(field, f"{template} has {error}")
        return
    yield Read(where, path.keys is None, pointer, field, more)


def _rules(shape: Path | Table, field: str, mapped: Mapping[str, Any] | None, rules: dict[str, Any]) -> dict[str, Any]:
    """Join what the template does with what the component's payloads mean."""
    if isinstance(shape, Table) and shape.through and not mapped and {*map(str.lower, shape.map.values())} <= NOTHING:
        return {**_rules(shape.path, field, None, rules), "null": [*rules.get("null", ()), *as_sent(shape.map)]}
    if isinstance(shape, Table):
        if shape.path.scale != 1.0 or shape.path.offset or not (mapped or rules.get("type") == "text"):
            raise Unclear("a table of numbers")
        meant = {raw: value for raw, text in shape.map.items() if (value := _meant(text, mapped)) is not None}
        if shape.through:
            if not mapped:
                raise Unclear("an if whose other side is no word")
            meant = {**{text: value for text, value in mapped.items() if text not in shape.map}, **meant}
        other = None if shape.otherwise is None else _meant(shape.otherwise, mapped)
        if not meant and other is None:
            raise Unclear("words that are none of its payloads")
        return {**rules, "map": meant or {"\0": other}, **({} if other is None else {"else": other})}
    if mapped:
        if shape.number or shape.scale != 1.0 or shape.offset:
            raise Unclear("arithmetic with what is no number")
        return {**rules, "map": dict(mapped)}
    if shape.folded and rules.get("type") == "text":
        raise Unclear("| lower of free text")
    factor = {"scale": shape.scale, "offset": shape.offset} if shape.scale != 1.0 or shape.offset else {}
    if factor and ("scale" in rules or rules.get("type") == "text" or _is_text(field, rules)):
        raise Unclear("arithmetic with what is no number")
    return {**rules, **factor}


def _unit(field: str, unit: str | None) -> dict[str, Any]:
    return dict(unit_of(field, unit))


def _is_text(field: str, rules: Mapping[str, Any]) -> bool:
    known = FIELDS.get(field)
    return (rules.get("type") or (known.type if known else "text")) != "number"


def _meant(text: str, mapped: Mapping[str, Any] | None) -> Any:
    if not mapped:
        return text
    folded = {key.lower(): value for key, value in mapped.items()}
    return mapped.get(text, folded.get(text.lower()))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _payload(config: Config, key: str, default: str) -> str:
    value = config.get(key, default)
    return default if value is None or isinstance(value, dict | list) else text_of(value)


def _sets(
    config: Config, topic: str, template: str, name: str, variable: str = "value", **rules: Any
) -> Iterator[Part]:
    """Yield the command of one topic; its template is the value, or JSON around it."""
    where = config.get(topic)
    if not isinstance(where, str) or not where:
        return
    form = _text(config.get(template))
    if form is None or form.replace(" ", "") in (f"{{{{{variable}}}}}", "{{value}}"):
        yield Sets(name, where, {"text": "$value", **rules})
        return
    bare = f"{{{{ {variable} }}}}"
    try:
        content = json.loads(form.replace(f'"{bare}"', bare).replace(bare, '"$value"'))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or "{{" in str(content) or "{%" in str(content):
        yield Left(name, f"{template} is no value and no JSON with one")
        return
    yield Sets(name, where, {"json": content, **rules})


def _on_off(config: Config, name: str, field: str) -> Iterator[Part]:
    on, off = _payload(config, "payload_on", "ON"), _payload(config, "payload_off", "OFF")
    states = {_payload(config, "state_on", on): True, _payload(config, "state_off", off): False}
    yield from _value(config, "state_topic", "value_template", field, states, type="bool")
    yield from _sets(config, "command_topic", "command_template", name, arg={"type": "bool"},
                     map={"true": on, "false": off}, field=field)  # fmt: skip


# -- components --------------------------------------------------------------------------------------------


def _binary_sensor(name: str, config: Config) -> Iterator[Part]:
    field, on = BINARY.get(str(config.get("device_class")), (ext(name), True))
    if field is None:
        yield Left(name, "no name for a field")
        return
    states = {_payload(config, "payload_on", "ON"): on, _payload(config, "payload_off", "OFF"): not on}
    invert = {"invertible": True} if field == "open" else {}
    yield from _value(config, "state_topic", "value_template", field, states, type="bool", **invert)


def _sensor(name: str, config: Config) -> Iterator[Part]:
    unit, kind = _text(config.get("unit_of_measurement")), str(config.get("device_class"))
    field = MEASURED.get(kind)
    if field is not None and not fits(field, unit):
        field = None
    tail = ext(name)
    if field is None and tail is None:
        yield Left(name, "no name for a field")
        return
    if field == "battery":
        yield from _value(config, "state_topic", "value_template", field, unit="%", range=[0, 100])
    elif field is not None:
        yield from _value(config, "state_topic", "value_template", field, **_unit(field, unit))
    elif unit or config.get("state_class"):
        yield from _value(config, "state_topic", "value_template", tail or "", type="number", **_unit("ext.x", unit))
    else:
        yield from _value(config, "state_topic", "value_template", tail or "", type="text")


def _switch(name: str, config: Config) -> Iterator[Part]:
    if config.get("entity_category"):
        field = ext(name)
        yield from _on_off(config, f"set_{name}", field) if field else ()
    else:
        yield from _on_off(config, "set_on", "on")


def _light(name: str, config: Config) -> Iterator[Part]:
    if config.get("schema") == "template":
        yield Left(name, "a light of schema template")
        return
    scale = config.get("brightness_scale")
    scale = scale if plain(scale) and scale and scale > 0 else 255
    level: dict[str, Any] = {"scale": 100 / scale, "range": [0, scale]}
    takes: dict[str, Any] = {"arg": {"type": "number", "unit": "%", "min": 0, "max": 100, "step": 1},
                             "scale": 100 / scale, "field": "brightness"}  # fmt: skip
    if config.get("schema") == "json":
        topic, to = config.get("state_topic"), config.get("command_topic")
        if isinstance(topic, str):
            yield Read(topic, False, "/state", "on", {"map": {"ON": True, "OFF": False}})
            if config.get("brightness"):
                yield Read(topic, False, "/brightness", "brightness", level)
        if isinstance(to, str):
            yield Sets("set_on", to, {"json": {"state": "$value"}, "arg": {"type": "bool"},
                                      "map": {"true": "ON", "false": "OFF"}, "field": "on"})  # fmt: skip
            if config.get("brightness"):
                yield Sets("set_brightness", to, {"json": {"brightness": "$value"}, **takes})
        return
    state = {**config, "value_template": config.get("state_value_template") or config.get("value_template")}
    yield from _on_off(state, "set_on", "on")
    yield from _value(config, "brightness_state_topic", "brightness_value_template", "brightness", **level)
    if not config.get("color_temp_kelvin"):
        yield from _value(config, "color_temp_state_topic", "color_temp_value_template", "color_temperature")
    yield from _sets(config, "brightness_command_topic", "brightness_command_template", "set_brightness", **takes)


def _turned(name: str, config: Config) -> Iterator[Part]:
    """Read a fan or a siren: on or off."""
    yield from _switch(name, {**config, "value_template": config.get("state_value_template")})


def _cover(_name: str, config: Config) -> Iterator[Part]:
    states = {_payload(config, f"state_{key}", default): value for key, default, value in (
        ("open", "open", "open"), ("closed", "closed", "closed"), ("opening", "opening", "opening"),
        ("closing", "closing", "closing"), ("stopped", "stopped", "stopped"))}  # fmt: skip
    yield from _value(config, "state_topic", "value_template", "cover", states)
    closed, opened = config.get("position_closed", 0), config.get("position_open", 100)
    if plain(closed) and plain(opened) and closed != opened:
        line: dict[str, Any] = {} if (closed, opened) == (0, 100) else {
            "scale": 100 / (opened - closed), "offset": -closed * 100 / (opened - closed)}  # fmt: skip
        yield from _value(config, "position_topic", "position_template", "position", **line)
        if not line:
            yield from _sets(config, "set_position_topic", "set_position_template", "set_position", "position",
                             arg={"type": "number", "unit": "%", "min": 0, "max": 100, "step": 1},
                             field="position")  # fmt: skip
    payloads = {word: _payload(config, f"payload_{word}", word.upper()) for word in ("open", "close", "stop")}
    yield from _sets(config, "command_topic", "command_template", "set_cover",
                     arg={"type": "enum", "values": list(payloads)}, map=payloads)  # fmt: skip


def _lock(_name: str, config: Config) -> Iterator[Part]:
    states = {_payload(config, "state_locked", "LOCKED"): True, _payload(config, "state_unlocked", "UNLOCKED"): False}
    jammed, *between = (_payload(config, f"state_{word}", word.upper()) for word in ("jammed", "locking", "unlocking"))
    yield from _value(config, "state_topic", "value_template", "locked", states, null=[*between, jammed])
    yield from _value(config, "state_topic", "value_template", "jammed", {**dict.fromkeys(states, False), jammed: True},
                      null=between)  # fmt: skip
    yield from _sets(config, "command_topic", "command_template", "set_locked", arg={"type": "bool"}, field="locked",
                     map={"true": _payload(config, "payload_lock", "LOCK"),
                          "false": _payload(config, "payload_unlock", "UNLOCK")})  # fmt: skip


def _climate(_name: str, config: Config) -> Iterator[Part]:
    unit = {"C": "Cel", "F": "[degF]"}.get(str(config.get("temperature_unit", "C")))
    high = config.get("max_temp")
    hot = isinstance(high, int | float) and high > 45  # no such room in Celsius
    if unit is None or ("temperature_unit" not in config and hot):
        yield Left("temperature", "no unit of temperature")
        return
    of: dict[str, Any] = {} if unit == "Cel" else {"unit": unit}
    argument = number_argument(unit, config.get("min_temp"), high, config.get("temp_step"))
    temperatures = (("temperature", "setpoint.heat", "set_setpoint"),
                    ("temperature_low", "setpoint.heat", "set_setpoint"),
                    ("temperature_high", "setpoint.cool", "set_setpoint_cool"))  # fmt: skip
    yield from _value(config, "current_temperature_topic", "current_temperature_template", "temperature", **of)
    for key, field, name in temperatures:
        yield from _value(config, f"{key}_state_topic", f"{key}_state_template", field, **of)
        yield from _sets(config, f"{key}_command_topic", f"{key}_command_template", name, arg=argument, field=field,
                         **of)  # fmt: skip
    yield from _value(config, "current_humidity_topic", "current_humidity_template", "humidity")
    yield from _value(config, "mode_state_topic", "mode_state_template", "mode", MODES, **{"else": "other"})
    modes = [word for word in words(config.get("modes")) if word in MODES.values()]
    if modes:
        yield from _sets(config, "mode_command_topic", "mode_command_template", "set_mode",
                         arg={"type": "enum", "values": modes}, field="mode")  # fmt: skip
    actions = {**ACTIONS, "drying": "drying", "preheating": "preheating", "defrosting": "defrosting"}
    yield from _value(config, "action_topic", "action_template", "action", actions, **{"else": "other"})
    yield from _value(config, "preset_mode_state_topic", "preset_mode_value_template", "preset", type="text")
    presets = words(config.get("preset_modes"))
    if presets:
        yield from _sets(config, "preset_mode_command_topic", "preset_mode_command_template", "set_preset",
                         arg={"type": "enum", "values": presets}, field="preset")  # fmt: skip
    yield from _value(config, "fan_mode_state_topic", "fan_mode_state_template", "fan", type="text")


def _button(name: str, config: Config) -> Iterator[Part]:
    where = config.get("command_topic")
    if isinstance(where, str) and config.get("command_template") is None:
        yield Sets(f"press_{name}", where, {"text": _payload(config, "payload_press", "PRESS")})


def _event(name: str, config: Config) -> Iterator[Part]:
    if config.get("value_template"):
        yield Left(name, "an event with a template")
    elif isinstance(config.get("state_topic"), str):
        yield Read(config["state_topic"], False, "/event_type", "button", {"momentary": True})


def _number(name: str, config: Config) -> Iterator[Part]:
    field, unit = ext(name), _text(config.get("unit_of_measurement"))
    if field is None:
        return
    of = _unit(field, unit)
    argument = number_argument(of.get("unit"), config.get("min", 1), config.get("max", 100), config.get("step", 1))
    yield from _value(config, "state_topic", "value_template", field, type="number", **of)
    yield from _sets(config, "command_topic", "command_template", f"set_{name}", arg=argument, field=field, **of)


def _select(name: str, config: Config) -> Iterator[Part]:
    field, options = ext(name), words(config.get("options"))
    if field is None:
        return
    yield from _value(config, "state_topic", "value_template", field, type="text")
    if options:
        yield from _sets(config, "command_topic", "command_template", f"set_{name}",
                         arg={"type": "enum", "values": options}, field=field)  # fmt: skip


def _free_text(name: str, config: Config) -> Iterator[Part]:
    field = ext(name)
    if field is not None:
        yield from _value(config, "state_topic", "value_template", field, type="text")
        yield from _sets(config, "command_topic", "command_template", f"set_{name}", arg={"type": "text"}, field=field)


def _alarm_panel(_name: str, config: Config) -> Iterator[Part]:
    yield from _value(config, "state_topic", "value_template", "armed", ARMED, null=_BETWEEN)
    yield from _value(config, "state_topic", "value_template", "alarm",
                      {"triggered": True, **dict.fromkeys([*ARMED, *_BETWEEN[:-1]], False)}, type="bool")  # fmt: skip
    if config.get("code") or config.get("command_template"):
        yield Left("set_armed", "the panel wants a code")
        return
    payloads = {"off": _payload(config, "payload_disarm", "DISARM"), "home": _payload(config, "payload_arm_home",
                "ARM_HOME"), "away": _payload(config, "payload_arm_away", "ARM_AWAY")}  # fmt: skip
    yield from _sets(config, "command_topic", "command_template", "set_armed", map=payloads, field="armed",
                     arg={"type": "enum", "values": list(payloads)})  # fmt: skip


def _picture(name: str, config: Config) -> Iterator[Part]:
    topic = config.get("topic") or config.get("image_topic")
    mime = str(config.get("content_type") or "image/jpeg")
    if not isinstance(topic, str) or mime not in IMAGES:
        yield Left(name, "a picture by its address" if not isinstance(topic, str) else f"a picture of {mime[:40]}")
        return
    encoding = "base64" if config.get("image_encoding") == "b64" else "raw"
    yield Read(topic, True, "", "snapshot", {"blob": {"mime": mime, "magic": IMAGES[mime], "encoding": encoding}})


def _nothing(_name: str, _config: Config) -> Iterable[Part]:
    return ()


COMPONENTS: dict[str, Callable[[str, Config], Iterable[Part]]] = {
    "binary_sensor": _binary_sensor, "sensor": _sensor, "switch": _switch, "light": _light, "cover": _cover,
    "lock": _lock, "climate": _climate, "button": _button, "event": _event, "number": _number, "select": _select,
    "text": _free_text,
    "alarm_control_panel": _alarm_panel, "camera": _picture, "image": _picture, "siren": _turned, "fan": _turned,
    "update": _nothing, "scene": _nothing, "device_automation": _nothing, "tag": _nothing, "notify": _nothing,
}  # fmt: skip
"""Components that are read. Those that say nothing about the house are known, and nothing is left out of them."""
