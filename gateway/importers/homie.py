"""Homie 5 (one ``$description`` a device) and Homie 3 and 4 (one retained topic an attribute).

Source: https://homieiot.github.io/specification/.  A node is a device here, ``homie:<device>/<node>``: the convention
calls it a part that stands for itself, and a thermostat and a door in one box are two things.  ``$state`` tells all
nodes whether they are there: ready and alert are, sleeping is, too; init says nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import orjson

from gateway.importers import words
from gateway.importers.draft import CONFIRM, Part, ext, number_argument, unit_of
from gateway.importers.exposes import ACTIONS, MODES, class_of, sent
from gateway.importers.importer import DEVICES_MAX, Description, Rows, Taken
from gateway.topic import is_name

PREFIX = "homie"
NODES_MAX, PROPERTIES_MAX = 32, 160  # of one device, of one node
TEXT_CHARS_MAX = 400
STATES = {"ready": True, "alert": True, "sleeping": True, "disconnected": False, "lost": False}
_ATTRIBUTES = {"$datatype": 0, "$unit": 1, "$format": 2, "$settable": 3, "$retained": 4, "$name": 5}
_NONE = ["string", "", "", False, True, ""]
_NUMBERS = ("integer", "float")
_PRESSES = ("button", "action", "event", "press")
_PAIRS = {"on": ("off", "on"), "open": ("closed", "open"), "locked": ("unlocked", "locked")}
_TYPE = "homie-homecontrol/v1/type="  # of nodes, in a library many devices are built with: what a bare name means there
_TYPED = {("switch", "state"): "on", ("contact", "state"): "open", ("water", "detected"): "leak"}

Row = dict[str, Any]
"""{n: name, r: root or "", p: {node: {property: [datatype, unit, format, settable, retained, name]}}, t: {node: type}}

``t`` has the types that say something, and may be missing."""


class Homie:
    """Rows: ``<4 or 5>/<device>`` -> Row."""

    name = "homie"
    rank = 1

    def __init__(self, prefixes: Mapping[str, str], kept: Mapping[str, Any]) -> None:
        """Begin with the rows of an earlier run."""
        self.prefix = prefixes.get(PREFIX, PREFIX)
        self.rows = Rows(kept)
        self.rows.keep_only(lambda _, row: all(len(one) == 6 for node in row["p"].values() for one in node.values()))
        self.rows.keep_only(lambda _, row: isinstance(row["n"], str) and isinstance(row["r"], str))
        self.yielded: set[str] = set()
        self._start = f"{self.prefix}/"

    def beside(self, names: Collection[str], is_read: Callable[[Iterable[str]], bool]) -> None:
        """Know nothing of the others."""

    def filters(self) -> Iterable[str]:
        """Return all of it: attributes, values and states are one tree."""
        return (f"{self.prefix}/#",)

    def wants(self, topic: str) -> bool:
        """Return whether this is no value and no state of a device: attributes, targets, logs, commands."""
        if not topic.startswith(self._start):
            return False
        levels = topic[len(self._start) :].split("/")
        if levels[-1] == "set" or "$broadcast" in levels:
            return True
        return "$state" not in levels and any(level.startswith("$") for level in levels)

    def explain(self, _topic: str, _payload: bytes) -> dict[str, Any]:
        """Add nothing: what came of it says it all."""
        return {}

    def described(self) -> Iterable[str]:
        """Return all devices."""
        return self.rows.keys("")

    def take(self, topic: str, payload: bytes, _now_ns: int) -> Taken:
        """Take a description or one attribute; others are known and say nothing to keep."""
        levels = topic[len(self._start) :].split("/")
        if levels[0] == "5":
            if len(levels) == 3 and levels[2] == "$description":
                return self._described(levels[1], payload)
            return Taken(why="no state")
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return Taken(refused="not UTF-8")
        if len(text) > TEXT_CHARS_MAX or not text.isprintable():
            return Taken(refused="an attribute that is no short text")
        return self._attribute(levels, text)

    def _described(self, device: str, payload: bytes) -> Taken:
        key = f"5/{device}"
        if not payload.strip():
            self.rows.drop(key)
            return Taken(changed=[key], whole=True, why="gone")
        try:
            said = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            return Taken(refused=f"not JSON: {error}")
        nodes = said.get("nodes") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(nodes, dict | None):
            return Taken(refused="no description")
        row: Row = {"n": _short(said.get("name")), "r": _short(said.get("root")), "p": {}}
        for node, about in list((nodes or {}).items())[:NODES_MAX]:
            found = about.get("properties") if isinstance(about, dict) else None
            if isinstance(found, dict):
                row["p"][node] = {
                    name: _property(one) for name, one in list(found.items())[:PROPERTIES_MAX] if isinstance(one, dict)
                }
                _keep_type(row, node, _short(about.get("type")))
        taken = self._put(key, row)
        taken.whole = True
        return taken

    def _attribute(self, levels: list[str], text: str) -> Taken:
        """Take one attribute of version 3 or 4; an empty one is as good as none."""
        device, *place, attribute = levels
        key = f"4/{device}"
        row = self.rows.get(key)
        if attribute == "$homie" and not place:
            if text:
                return self._put(key, row or {"n": "", "r": "", "p": {}})
            self.rows.drop(key)
            return Taken(changed=[key], why="gone")
        row = orjson.loads(orjson.dumps(row)) if row else {"n": "", "r": "", "p": {}}
        if attribute == "$name" and not place:
            row["n"] = text
        elif attribute == "$type" and len(place) == 1 and text.startswith(_TYPE) and len(row.get("t", ())) < NODES_MAX:
            _keep_type(row, place[0], text)
        elif len(place) == 2 and attribute in _ATTRIBUTES:
            nodes = row["p"].setdefault(place[0], {})
            if len(row["p"]) > NODES_MAX or len(nodes) >= PROPERTIES_MAX:
                return Taken(refused=f"more than {NODES_MAX} nodes or {PROPERTIES_MAX} properties")
            flag = attribute in ("$settable", "$retained")
            nodes.setdefault(place[1], list(_NONE))[_ATTRIBUTES[attribute]] = text == "true" if flag else text
        else:
            return Taken(why="an attribute that is not read")
        return self._put(key, row)

    def _put(self, key: str, row: Row) -> Taken:
        if row == self.rows.get(key):
            return Taken(why="known")
        if self.rows.get(key) is None and len(self.rows) >= DEVICES_MAX:
            return Taken(refused=f"more than {DEVICES_MAX} devices")
        if not self.rows.put(key, row):
            return Taken(refused=f"no room: {self.rows.bytes} bytes of {self.rows.bytes_max} are taken")
        return Taken(changed=[key], why="described")

    def describe(self, key: str) -> Description | None:
        """Return a device as a profile: one device here for each node."""
        row = self.rows.get(key)
        version, _, device = key.partition("/")
        if row is None or set("{}+#|*?!=:") & set(device):
            return None
        top = f"{self.prefix}/5" if version == "5" else self.prefix
        made = _Made(top, device, row)
        if not made.topics:
            return None
        roots = [row["r"]] if row["r"] and row["r"] != device else []
        states = [f"{top}/{one}/$state" for one in (device, *roots) if is_name(one) and not set("{}") & set(one)]
        aliases = {f"homie:{device}": f"homie:{made.devices[0]}"}  # as a state is read that comes before a description
        return Description(
            key=key, document=made.document(states), topics=(*made.topics, *states), device=f"homie:{device}",
            name=row["n"] or device, aliases=aliases | {f"homie:{one}": f"homie:{one}" for one in made.devices},
            left_out=tuple(made.left_out),
        )  # fmt: skip


class _Made:
    """A device's nodes as messages."""

    def __init__(self, top: str, device: str, row: Row) -> None:
        self.topics: list[str] = []
        self.devices: list[str] = []
        self.left_out: list[str] = []
        self._messages: list[dict[str, Any]] = []
        self._commands: list[dict[str, Any]] = []
        self._nodes: list[tuple[dict[str, Any], str]] = []
        self._title = row["n"] or device
        for number, (node, properties) in enumerate(row["p"].items()):
            if _is_id(node):
                self._node(f"{top}/{device}", device, node, f"n{number}", properties, row.get("t", {}).get(node, ""))

    def _node(
        self, above: str, device: str, node: str, capture: str, properties: Mapping[str, list[Any]], kind: str
    ) -> None:
        part, sources = Part(), list[tuple[str, str]]()
        for name, about in properties.items():
            if not _is_id(name):
                part.leave(f"{node}/{name}", "no id")
                continue
            before = set(part.fields)
            _read(part, name, about, kind)
            added = next(iter(part.fields.keys() - before), "")
            if added:
                sources.append((name, added))
            if about[3] is True:
                self._sets(part, name, about, added, f"{above}/{node}/{name}/set")
        self.left_out += part.left_out
        if not part.fields:
            return
        same = {
            "device": f"homie:{device}/{node}", "name": f"{self._title} {node}".translate({123: "_", 125: "_"}),
            "device_class": class_of(part.fields),
        }  # fmt: skip
        for name, field in sources:
            topic = f"{above}/{node}/{name}"
            self.topics.append(topic)
            template = f"{above}/{{{capture}:{node}}}/{name}"
            self._messages.append({"topics": [template], "format": "text", "fields": [part.fields[field]], **same})
        self._commands += [{**command, "needs": [capture]} for command in part.commands.values()]
        self._nodes.append((same, capture))
        self.devices.append(f"{device}/{node}")

    def _sets(self, part: Part, name: str, about: list[Any], field: str, topic: str) -> None:
        kind, unit, form = about[0], about[1], about[2]
        rules: dict[str, Any] = {"text": "$value"}
        made = part.fields.get(field, {})
        table = made.get("map", {}) if made.get("type") == "bool" else {}
        if kind == "boolean" or table:
            flags = {str(flag).lower(): text for text, flag in table.items()} or {"true": "true", "false": "false"}
            rules |= {"arg": {"type": "bool"}, "map": flags}
        elif kind in _NUMBERS:
            low, high, step = _limits(form)
            rules |= {"arg": number_argument(unit or None, low, high, step)}
            rules |= {"unit": made["unit"]} if made.get("unit") and field != "battery" else {}
        elif kind == "enum" and form:
            values = form.split(",")
            if field == "mode":
                back = sent(MODES, values)
                rules |= {"arg": {"type": "enum", "values": list(back)}, "map": back}
            else:
                rules |= {"arg": {"type": "enum", "values": values}}
        elif kind in ("string", "color", "datetime", "duration"):
            rules |= {"arg": {"type": "text"}}
        else:
            return
        if field and field != "button":
            rules |= {"field": field, "confirm": {"field": field, "within": CONFIRM}}
        known = bool(field) and not field.startswith("ext.")
        command = {"setpoint.heat": "setpoint", "setpoint.cool": "setpoint_cool"}.get(field, field) if known else name
        part.command(f"set_{command.replace('.', '_').replace('-', '_')}", topic, **rules)

    def document(self, states: list[str]) -> dict[str, Any]:
        """Return the profile; `states` are the topics that say whether the device is there."""
        agree = "all" if len(states) > 1 else "latest"
        messages = list(self._messages)
        for same, _ in self._nodes:
            messages += [
                {"topics": [topic], "format": "text", "fields": [], "skip": [{"path": "", "equals": "init"}], **same,
                 "availability": {"map": STATES, "removed": "", "agree": agree}}
                for topic in states
            ]  # fmt: skip
        kind = self._nodes[0][0]["device_class"] if len(self._nodes) == 1 else "gateway"
        return {
            "title": self._title, "device_class": kind, "device": {"id": self._nodes[0][0]["device"]},
            "message": messages, "command": self._commands,
        }  # fmt: skip


def _read(part: Part, name: str, about: list[Any], of: str) -> None:
    """Add the field of one property; `of` is its node's type."""
    kind, unit, form, settable, retained, _ = about
    tail = ext(name)
    unit_rules: dict[str, Any] = dict(unit_of("ext.x", unit))
    flag, table = _flags(name, about, of) if kind in ("boolean", "enum") else (None, {})
    if kind in _NUMBERS:
        found = words.number(name, unit)
        if found is not None and part.add(found[0], "", **found[1]):
            return
        part.add(tail or "", "", type="number", **unit_rules)
    elif kind == "boolean" or flag:
        if flag is None or not part.add(flag, "", map=table, type="bool"):
            table = {"true": True, "false": False} if kind == "boolean" else table
            part.add(tail or "", "", map=table, type="bool")
    elif kind == "enum" and not retained and not settable and words.word(name) in _PRESSES:
        part.add("button", "", momentary=True)
    elif kind == "enum" and words.word(name) in ("mode", "state", "action"):
        values = set(form.split(","))
        meant, field = (MODES, "mode") if words.word(name) == "mode" else (ACTIONS, "action")
        sure = values & (meant.keys() - {"off"}) if field == "mode" else values & {"heating", "cooling"}
        if not (sure and part.add(field, "", map=meant, **{"else": "other"})):
            part.add(tail or "", "", type="text")
    elif kind == "json":
        part.leave(name, "JSON")
    else:
        part.add(tail or "", "", type="text")


def _flags(name: str, about: list[Any], of: str) -> tuple[str | None, dict[str, bool]]:
    """Return the field of a bool or of an enum that is one, and what its texts are; None: not known what it is.

    The labels of a bool are those of false and of true, those of an enum are what comes. Open and closed of a motion
    sensor are those of its relay: which is which, nobody says.
    """
    kind, _, form, settable, _, _ = about
    labels = [label.strip().lower() for label in form.split(",")]
    texts = ["false", "true"] if kind == "boolean" else [text.strip() for text in form.split(",")]
    said = _TYPED.get((of, words.word(name))) or words.boolean(name)
    for field, (no, yes) in _PAIRS.items():
        if {no, yes} != set(labels) or len(labels) != len(texts):
            continue
        table = {text: label == yes for text, label in zip(texts, labels, strict=True)}
        if field == "on":
            return said or ("on" if settable and words.word(name) in ("state", "value") else None), table
        return (said or field) if said in (None, field, "window_detected") else None, table
    return said if kind == "boolean" else None, {"true": True, "false": False}


def _keep_type(row: Row, node: str, said: str) -> None:
    if said.startswith(_TYPE):
        row.setdefault("t", {})[node] = said.removeprefix(_TYPE)


def _limits(form: str) -> Iterator[float | None]:
    """Yield least, greatest and step of ``min:max:step``, of which any may be missing."""
    parts = [*form.split(":"), "", "", ""] if form else ["", "", ""]
    for text in parts[:3]:
        try:
            yield float(text)
        except ValueError:
            yield None


def _property(one: Mapping[str, Any]) -> list[Any]:
    return [
        _short(one.get("datatype")) or "string", _short(one.get("unit")), _short(one.get("format")),
        one.get("settable") is True, one.get("retained") is not False, _short(one.get("name")),
    ]  # fmt: skip


def _is_id(text: str) -> bool:
    return bool(text) and len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _short(value: Any) -> str:
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) and value.isprintable() else ""
