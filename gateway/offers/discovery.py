"""What is offered, as topics and payloads. Pure.

Plain topics, all retained, below ``edge-gateway/<gateway>/``::

    status                online, offline (the broker says offline when the connection breaks)
    mode                  night;  set with mode/set
    inputs/guests         true, 17.5, cotton;  set with inputs/guests/set
    alerts/left_open      ON, OFF;  alerts/left_open/about is a JSON object: text, devices, since
    rules/left_open       ON, OFF (disabled);  set with rules/left_open/set

Beside them, for Home Assistant's MQTT discovery, one retained ``<prefix>/<component>/<node>/<object>/config`` each:
the mode is a select, an input a switch, number or select, an alert a binary_sensor, a rule a switch.
Source: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.clock import rfc3339
from gateway.rules.language.inputs import InputOptions

NAME_CHARS_MAX = 64  # of an object in a topic
ALERTS_MAX = 200
RULES_MAX = 500
DEVICES_SHOWN_MAX = 20  # of an alert
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")

Topics = dict[str, bytes]
"""Topic -> what is retained there."""


class House(NamedTuple):
    """Everything that is offered, as it is now."""

    mode: str | None  # None: not offered
    modes: Sequence[str]
    inputs: Mapping[str, tuple[InputOptions, Any]]
    alerts: Mapping[str, Sequence[Mapping[str, Any]]]  # key -> rows of the table "alerts"; none: it is over
    rules: Mapping[str, tuple[str, bool]]  # name -> title, whether it may act


class Offer(NamedTuple):
    """Who offers: the gateway's name, version and topics."""

    gateway: str
    version: str
    topic: str
    discovery: str  # prefix; empty: none

    @property
    def node(self) -> str:
        """The gateway's part of discovery topics and unique ids."""
        return f"edge_gateway_{slug(self.gateway)}"


def slug(name: str) -> str:
    """Return a name as it may stand in a topic."""
    return _UNSAFE.sub("_", name).strip("_")[:NAME_CHARS_MAX] or "_"


def text_of(value: Any) -> str:
    """Return an input's value as its topic has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def topics(offer: Offer, house: House) -> Topics:
    """Return every topic of an offer, with what is retained there."""
    found: Topics = {}
    for component, name, path, states, config in _entities(offer, house):
        found.update({f"{offer.topic}/{path}{end}": text.encode() for end, text in states.items()})
        if offer.discovery:
            about = {**config, **_shared(offer, name, path)}
            found[f"{offer.discovery}/{component}/{offer.node}/{slug(path)}/config"] = msgspec.json.encode(about)
    return found


Entity = tuple[str, str, str, Mapping[str, str], Mapping[str, Any]]
"""Component, name, path of its topic, states by the end of the topic, what its discovery says beside the usual."""


def _entities(offer: Offer, house: House) -> Iterator[Entity]:
    if house.mode is not None:
        at = {"command_topic": f"{offer.topic}/mode/set", "options": list(house.modes), "icon": "mdi:home-account"}
        yield "select", "Mode", "mode", {"": house.mode}, at
    for name, (options, value) in house.inputs.items():
        yield _input(offer, name, options, value)
    for key, rows in list(house.alerts.items())[:ALERTS_MAX]:
        path = f"alerts/{slug(key)}"
        states = {"": "ON" if rows else "OFF", "/about": msgspec.json.encode(_about(rows)).decode()}
        about = {"device_class": "problem", "json_attributes_topic": f"{offer.topic}/{path}/about"}
        yield "binary_sensor", key.replace("_", " "), path, states, about
    for name, (title, acts) in list(house.rules.items())[:RULES_MAX]:
        path = f"rules/{slug(name)}"
        config = {"command_topic": f"{offer.topic}/{path}/set", "entity_category": "config", "icon": "mdi:script-text"}
        yield "switch", f"Rule {title or name}", path, {"": "ON" if acts else "OFF"}, config


def _input(offer: Offer, name: str, options: InputOptions, value: Any) -> Entity:
    path = f"inputs/{slug(name)}"
    config: dict[str, Any] = {"command_topic": f"{offer.topic}/{path}/set"}
    title = options.title or name.replace("_", " ")
    if options.type == "boolean":
        config |= {"payload_on": "true", "payload_off": "false"}
        return "switch", title, path, {"": text_of(value)}, config
    if options.type == "choice":
        return "select", title, path, {"": text_of(value)}, {**config, "options": list(options.values)}
    limits = {"min": options.min, "max": options.max}
    config |= {key: limit for key, limit in limits.items() if limit is not None}
    config |= {"mode": "box", "step": 0.1}
    if options.unit:
        config["unit_of_measurement"] = {"Cel": "°C", "%RH": "%"}.get(options.unit, options.unit)
    return "number", title, path, {"": text_of(value)}, config


def _about(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Say what an alert is about, for people."""
    if not rows:
        return {}
    newest = max(rows, key=lambda row: row["since"])
    devices = sorted({str(row["device"]) for row in rows if row.get("device")})[:DEVICES_SHOWN_MAX]
    acknowledged = all(row.get("acknowledged") for row in rows)
    since = rfc3339(newest["since"])
    return {"text": newest["text"], "devices": devices, "since": since, "acknowledged": acknowledged}


def _shared(offer: Offer, name: str, path: str) -> dict[str, Any]:
    return {
        "name": name,
        "unique_id": f"{offer.node}_{slug(path)}",
        "object_id": f"{offer.node}_{slug(path)}",
        "state_topic": f"{offer.topic}/{path}",
        "availability_topic": f"{offer.topic}/status",
        "device": {
            "identifiers": [offer.node],
            "name": f"Edge gateway {offer.gateway}",
            "manufacturer": "edge-gateway",
            "sw_version": offer.version,
        },
        "origin": {"name": "edge-gateway", "sw_version": offer.version},
    }
