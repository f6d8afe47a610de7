"""Home Assistant's MQTT discovery: one retained message an entity, or one a device; what speaks it needs no profile.

Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery.  Entities of one device become one device here;
of two that are the same (two relays) the one announced first belongs to the device, the other is a device of its own
behind it, ``ha:<device>/<object>``.  What another importer or a profile already reads is not described a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import orjson

from gateway.importers.configs import NAME_CHARS_MAX, expanded, full, identity, plain
from gateway.importers.draft import Part
from gateway.importers.entities import Left, Read, Sets, parts_of
from gateway.importers.exposes import class_of
from gateway.importers.importer import DEVICES_MAX, Description, Rows, Taken
from gateway.importers.templates import Table, Unclear, pointer_of, shape_of
from gateway.topic import is_name

PREFIX = "homeassistant"
CONFIG_BYTES_MAX = 64 * 1024  # of one discovery message
KEYS_MAX = 80  # of one entity's config
VALUE_CHARS_MAX = 1_000
ENTITIES_MAX = 400  # of one device
AVAILABILITY_MAX = 8  # topics
OWN = "edge-gateway"  # origin of what this gateway offers itself
BRIDGE = "zigbee2mqtt_"  # how Zigbee2MQTT's device identifiers begin

_UNFIT = re.compile(r"[^a-z0-9_]+")
_UNUSED = frozenset({
    "device", "origin", "unique_id", "icon", "default_entity_id", "enabled_by_default", "json_attributes_topic",
    "json_attributes_template", "entity_picture", "components", "platform", "name", "qos", "retain", "optimistic",
})  # fmt: skip


class Discovery:
    """Rows: ``<component>/<node>/<object>`` -> {c, o, d: device, n: its name, i: place in the order, k: config}."""

    name = "home-assistant"
    rank = -1

    def __init__(self, prefixes: Mapping[str, str], kept: Mapping[str, Any]) -> None:
        """Begin with the rows of an earlier run."""
        self.prefix = prefixes.get(PREFIX, PREFIX)
        self.rows = Rows(kept)
        self.rows.keep_only(lambda _, row: isinstance(row["i"], int) and isinstance(row["k"], dict))
        self.rows.keep_only(lambda _, row: all(isinstance(row[key], str) for key in "codn"))
        self.yielded: set[str] = set()
        self._depth = self.prefix.count("/") + 1
        self._entities: dict[str, dict[str, None]] = {}  # device -> keys of its entities
        self._last = 0
        for key in self.rows.keys(""):
            row = self.rows.get(key)
            self._entities.setdefault(row["d"], {})[key] = None
            self._last = max(self._last, row["i"])
        self._others: Collection[str] = ()
        self._is_read: Callable[[Iterable[str]], bool] = _nobody

    def beside(self, names: Collection[str], is_read: Callable[[Iterable[str]], bool]) -> None:
        """Leave to others what they describe."""
        self._others, self._is_read = names, is_read

    def filters(self) -> Iterable[str]:
        """Return the topics of configs, with and without a node."""
        return (f"{self.prefix}/+/+/config", f"{self.prefix}/+/+/+/config")

    def wants(self, topic: str) -> bool:
        """Return whether this is a config."""
        if not topic.endswith("/config") or not topic.startswith(f"{self.prefix}/"):
            return False
        return topic.count("/") - self._depth in (2, 3)

    def explain(self, topic: str, payload: bytes) -> dict[str, Any]:
        """Return what a config is for, with long keys and whole topics."""
        component = topic.split("/")[self._depth]
        try:
            config = orjson.loads(payload) if payload.strip() else None
        except orjson.JSONDecodeError:
            return {}
        if not isinstance(config, dict):
            return {"component": component, "delete": config is None}
        found = expanded(config)
        words = ("device_class", "state_topic", "command_topic", "value_template")
        return {"component": component, "delete": False} | {word: found.get(word) for word in words}

    def described(self) -> Iterable[str]:
        """Return all devices."""
        return list(self._entities)

    def take(self, topic: str, payload: bytes, _now_ns: int) -> Taken:
        """Take one config; an empty one deletes."""
        component, *place, _ = topic.split("/")[self._depth :]
        node, object_id = place if len(place) == 2 else ("", place[0])
        if len(payload) > CONFIG_BYTES_MAX:
            return Taken(refused=f"a config of {len(payload)} bytes, the limit is {CONFIG_BYTES_MAX}")
        taken = Taken(why="known")
        if not payload.strip():
            place_of = f"{component}/{node}/{object_id}"
            for key in self.rows.keys(f"{place_of}/") if component == "device" else [place_of]:
                self._drop(key, taken)
            return taken
        try:
            config = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            return Taken(refused=f"not JSON: {error}")
        if not isinstance(config, dict):
            return Taken(refused="no object")
        config = expanded(config)
        if self._is_ours(config):
            return Taken(why="described by its bridge")
        if component != "device":
            self._put(f"{component}/{node}/{object_id}", component, object_id, config, config, taken)
            return taken
        self._put_device(node, object_id, config, taken)
        return taken

    def _put_device(self, node: str, object_id: str, config: dict[str, Any], taken: Taken) -> None:
        """Take a config of a whole device: what is not among its components any more is gone."""
        prefix, components = f"device/{node}/{object_id}/", config.get("components")
        there: set[str] = set()
        shared = {key: value for key, value in config.items() if key not in ("components", "name")}
        for name, entity in (components if isinstance(components, dict) else {}).items():
            if isinstance(entity, dict) and len(there) < ENTITIES_MAX:
                whole = expanded({**shared, **entity})
                key = f"{prefix}{name}"
                if len(entity) > 1:  # with nothing but its platform it is removed
                    there.add(key)
                    self._put(key, str(whole.get("platform")), str(name), whole, config, taken)
        for key in set(self.rows.keys(prefix)) - there:
            self._drop(key, taken)

    def _put(
        self, key: str, component: str, object_id: str, config: dict[str, Any], about: Mapping[str, Any], taken: Taken
    ) -> None:
        device, name = identity(about, object_id)
        before = self.rows.get(key)
        place = before["i"] if before is not None else self._last + 1
        kept = {k: _cut(v) for k, v in list(config.items())[:KEYS_MAX] if k not in _UNUSED and _is_small(_cut(v))}
        row = {"c": component, "o": object_id[:NAME_CHARS_MAX], "d": device, "n": name, "i": place, "k": kept}
        if row == before:
            return
        mine = self._entities.get(device, {})
        if (device not in self._entities and len(self._entities) >= DEVICES_MAX) or len(mine) >= ENTITIES_MAX:
            taken.refused = f"no room: {len(self._entities)} devices, {len(mine)} entities of this one"
            return
        if not self.rows.put(key, row):
            taken.refused = f"no room: {self.rows.bytes} bytes of {self.rows.bytes_max} are taken"
            return
        if before is not None and before["d"] != device:
            self._leave(key, before["d"], taken)
        self._last = max(self._last, place)
        self._entities.setdefault(device, {})[key] = None
        taken.changed.append(device)

    def _drop(self, key: str, taken: Taken) -> None:
        row = self.rows.get(key)
        if row is not None:
            self.rows.drop(key)
            self._leave(key, row["d"], taken)

    def _leave(self, key: str, device: str, taken: Taken) -> None:
        entities = self._entities.get(device, {})
        entities.pop(key, None)
        if not entities:
            self._entities.pop(device, None)
        taken.changed.append(device)

    def _is_ours(self, config: Mapping[str, Any]) -> bool:
        """Return whether its own importer, or we ourselves, know it better."""
        origin = config.get("origin")
        maker = origin.get("name") if isinstance(origin, dict) else ""
        if maker == OWN:
            return True
        return "zigbee2mqtt" in self._others and (maker == "Zigbee2MQTT" or identity(config, "")[0].startswith(BRIDGE))

    def describe(self, key: str) -> Description | None:
        """Return a device as a profile; None when there is nothing to read, or somebody else reads it."""
        self.yielded.discard(key)
        rows = sorted((self.rows.get(entity) for entity in self._entities.get(key, {})), key=lambda row: row["i"])
        if not rows:
            return None
        draft = _Draft(key, rows[-1]["n"])
        for row in rows:
            draft.entity(row)
        topics = draft.topics()
        if topics and self._is_read(topics):
            self.yielded.add(key)
            return None
        if not topics:
            return None
        return Description(
            key=key, document=draft.document(), topics=topics, device=f"ha:{key}", name=rows[-1]["n"],
            aliases={f"ha:{name}": f"ha:{name}" for name in draft.devices()}, left_out=tuple(draft.left_out),
        )  # fmt: skip


class _Draft:
    """One device of Home Assistant, becoming a profile."""

    def __init__(self, device: str, name: str) -> None:
        self._device, self._name = device, name
        self._parts: dict[str, Part] = {"": Part()}  # by the object of a device behind this one
        self._reads: dict[str, list[Read]] = {"": []}
        self._available: dict[str, dict[str, Any]] = {}
        self._agree = "latest"
        self.left_out: list[str] = []

    def entity(self, row: Mapping[str, Any]) -> None:
        """Add one entity, whole: to the device itself, or behind it when what it reads is there already."""
        object_id, config = str(row["o"]), row["k"]
        name = _UNFIT.sub("_", object_id.lower()).strip("_")[:40] or "value"
        found = [part for part in parts_of(row["c"], name, config) if not self._left(object_id, part)]
        reads = [part for part in found if isinstance(part, Read) and _is_plain(part.topic)]
        sets = [part for part in found if isinstance(part, Sets) and _is_plain(part.topic)]
        if not (reads or sets):
            return
        main = self._parts[""]
        twice = any(r.field in main.fields and not r.field.startswith("ext.") for r in reads)
        twice = twice or any(s.name in main.commands and s.name.startswith("set_") for s in sets)
        end = name if twice else ""
        part = self._parts.setdefault(end, Part())
        kept = self._reads.setdefault(end, [])
        for read in reads:
            rules = {key: value for key, value in read.rules.items() if key != "blob"}
            if part.add(read.field, read.pointer, **rules):
                kept.append(read)
        for each in sets:
            rules = dict(each.rules)
            if rules.get("field") not in part.fields:
                rules.pop("field", None)
            part.command(each.name, each.topic, **rules)
        self._availability(config)

    def _left(self, object_id: str, part: Any) -> bool:
        if isinstance(part, Left):
            self.left_out.append(f"{object_id[:40]} {part.what}: {part.why}")
        return isinstance(part, Left)

    def _availability(self, config: Mapping[str, Any]) -> None:
        listed = config.get("availability")
        found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        if isinstance(config.get("availability_topic"), str):
            found.append({"topic": config["availability_topic"],
                          "value_template": config.get("availability_template")} | {
                k: config[k] for k in ("payload_available", "payload_not_available") if k in config})  # fmt: skip
        if len(found) > 1:
            self._agree = str(config.get("availability_mode", "latest"))
        for one in map(full, found[:AVAILABILITY_MAX]):
            topic = one.get("topic")
            if not isinstance(topic, str) or not _is_plain(topic) or len(self._available) >= AVAILABILITY_MAX:
                continue
            try:
                self._available[topic] = _online(one)
            except Unclear as error:
                self.left_out.append(f"availability {topic[:40]}: {error}")

    def devices(self) -> list[str]:
        """Return the device, and those behind it."""
        return [f"{self._device}/{end}" if end else self._device for end, part in self._parts.items() if part.fields]

    def topics(self) -> tuple[str, ...]:
        """Return every topic that is read; none when the device only says whether it is there."""
        found = dict.fromkeys(read.topic for reads in self._reads.values() for read in reads)
        return tuple(dict.fromkeys([*found, *self._available])) if found else ()

    def document(self) -> dict[str, Any]:
        """Return the profile."""
        messages = [message for end in self._parts for message in self._messages(end)]
        for topic, spec in self._available.items():
            for end, part in self._parts.items():
                if part.fields or not end:
                    messages.append({"topics": [_topic(topic)], "format": "auto", "fields": [], **self._id(end),
                                     "availability": {**spec, "agree": self._agreed()}})  # fmt: skip
        commands = [
            {**command, "needs": [_capture(end)]} for end, part in self._parts.items()
            for command in part.commands.values()
        ]  # fmt: skip
        return {
            "title": self._name, "device_class": class_of(self._parts[""].fields),
            "device": {"id": f"ha:{plain(self._device)}", "name": plain(self._name)},
            "message": messages, "command": commands,
        }  # fmt: skip

    def _agreed(self) -> str:
        return self._agree if self._agree in ("all", "any") and len(self._available) > 1 else "latest"

    def _id(self, end: str) -> dict[str, Any]:
        if not end:
            return {}
        return {
            "device": f"ha:{plain(self._device)}/{end}", "name": plain(f"{self._name} {end}"),
            "device_class": class_of(self._parts[end].fields),
        }  # fmt: skip

    def _messages(self, end: str) -> Iterator[dict[str, Any]]:
        by_topic: dict[tuple[str, bool], list[Read]] = {}
        for read in self._reads.get(end, []):
            by_topic.setdefault((read.topic, "blob" in read.rules), []).append(read)
        for (topic, is_blob), reads in by_topic.items():
            form = "blob" if is_blob else "text" if all(r.whole for r in reads) else "json"
            if form == "json" and any(read.whole for read in reads):
                form = "auto"
            message: dict[str, Any] = {"topics": [_topic(topic, _capture(end))], "format": form, **self._id(end)}
            if is_blob:
                yield {**message, "fields": [], "blob": reads[0].rules["blob"], "retained": "drop"}
                continue
            yield {**message, "fields": [self._parts[end].fields[read.field] for read in reads]}


def _online(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return how availability is read on one topic. Raises Unclear."""
    words = {str(one.get("payload_available", "online")): True, str(one.get("payload_not_available", "offline")): False}
    template = one.get("value_template")
    shape = shape_of(template if isinstance(template, str) else None)
    path = shape.path if isinstance(shape, Table) else shape
    if isinstance(shape, Table):
        words = {raw: words[text] for raw, text in shape.map.items() if text in words}
        if shape.otherwise is not None or not words:
            raise Unclear("an else")
    return {"from": pointer_of(path), "map": words}


def _capture(end: str) -> str:
    return f"of_{end}" if end else "of"


def _topic(topic: str, capture: str = "") -> str:
    """Return a topic as a template of itself; one of its levels is captured, so that commands know their device."""
    levels = topic.split("/")
    at = next((i for i, level in enumerate(levels) if level and not set("{}|*?!=+#") & set(level)), None)
    if capture and at is not None:
        levels[at] = f"{{{capture}:{levels[at]}}}"
    return "/".join(levels)


def _is_plain(topic: str) -> bool:
    """Return whether a topic can stand in a profile as it is."""
    return is_name(topic) and not set("{}") & set(topic)


def _cut(value: Any) -> Any:
    """Return a text cut off where it is too long already: a template that is left out would mean another thing."""
    return value[: VALUE_CHARS_MAX + 1] if isinstance(value, str) else value


def _is_small(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= VALUE_CHARS_MAX + 1
    if isinstance(value, list):
        return len(value) <= KEYS_MAX and all(isinstance(v, dict) or _is_small(v) for v in value)
    return isinstance(value, bool | int | float)


def _nobody(_topics: Iterable[str]) -> bool:
    return False
