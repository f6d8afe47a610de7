"""ESPHome over MQTT: retained scalars on `<node>/<component>/<object>/state`, `nan`, and Home Assistant discovery.

https://esphome.io/components/mqtt.html
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Facts, Gadget, Order, Said, Value, compact, number_in, switch_in

_BINARY = {"contact": ("open", "door"), "motion": ("motion", "motion"), "leak": ("leak", "leak"),
           "smoke": ("smoke", "smoke")}  # fmt: skip
_CLASS = {"leak": "moisture"}  # Home Assistant's word, where it is another one
_MAIN = {"contact": "door", "motion": "motion", "leak": "leak", "smoke": "smoke", "plug": "relay",
         "thermometer": "temperature", "thermostat": "thermostat"}  # fmt: skip
_SENSOR = {"temperature": "°C", "humidity": "%", "power": "W"}


class EspHome(Dialect):
    """Nodes with one entity of interest each."""

    name: ClassVar[str] = "esphome"
    models: ClassVar[Collection[str]] = frozenset({*_BINARY, "thermometer", "plug", "thermostat"})
    repeat_s: ClassVar[float] = 900.0

    def identity(self, gadget: Gadget) -> str:
        """Go by the node and its main object; each object is a device."""
        return f"esphome:{gadget.name}/{_MAIN[gadget.model]}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Discovery, then online."""
        for gadget in self.gadgets:
            yield from self._discovery(gadget)
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say online."""
        yield Said(f"{gadget.name}/status", b"online", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say offline."""
        yield Said(f"{gadget.name}/status", b"offline", gadget.name, retain=True)

    def _entities(self, gadget: Gadget) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Yield component, object, field and what discovery says of it."""
        if gadget.model in _BINARY:
            field, kind = _BINARY[gadget.model]
            yield "binary_sensor", kind, field, {"dev_cla": _CLASS.get(kind, kind)}
        for field, unit in _SENSOR.items():
            if field in gadget.state and gadget.model != "thermostat":
                yield "sensor", field, field, {"dev_cla": field, "unit_of_meas": unit}
        if gadget.model == "plug":
            yield "switch", "relay", "on", {"cmd_t": f"{gadget.name}/switch/relay/command"}

    def _discovery(self, gadget: Gadget) -> Iterator[Said]:
        for component, entity, _, more in self._entities(gadget):
            document = {
                "name": entity, "stat_t": f"{gadget.name}/{component}/{entity}/state",
                "avty_t": f"{gadget.name}/status", "uniq_id": f"ESP{gadget.number:06x}{component}{entity}", **more,
                "dev": {"ids": f"{gadget.number:012x}", "name": gadget.name, "sw": "esphome", "mf": "espressif"},
            }  # fmt: skip
            topic = f"homeassistant/{component}/{gadget.name}/{entity}/config"
            yield Said(topic, compact(document), gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say each state on its topic, retained."""
        name, state = gadget.name, gadget.state
        if gadget.model == "thermostat":
            parts: list[tuple[str, str, str, Value]] = [
                ("current_temperature", str(state["temperature"]), "temperature", state["temperature"]),
                ("target_temperature", str(state["setpoint.heat"]), "setpoint.heat", state["setpoint.heat"]),
                ("mode", str(state["mode"]), "mode", state["mode"]),
            ]
            for part, text, field, value in parts:
                yield self._state(gadget, "thermostat", f"{name}/climate/thermostat/{part}/state", text, {field: value})
            return
        for component, entity, field, _ in self._entities(gadget):
            value = state[field]
            text = ("ON" if value else "OFF") if isinstance(value, bool) else str(value)
            yield self._state(gadget, entity, f"{name}/{component}/{entity}/state", text, {field: value})

    def _state(self, gadget: Gadget, entity: str, topic: str, text: str, fields: dict[str, Value]) -> Said:
        facts: Facts = {f"{self.source}/esphome:{gadget.name}/{entity}": fields}
        return Said(topic, text.encode(), gadget.name, facts, retain=True)

    def filters(self) -> Sequence[str]:
        """Commands."""
        return ("+/switch/relay/command", "+/climate/thermostat/+/command")

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Set a switch or a thermostat."""
        words = topic.split("/")
        gadget = self.by_name.get(words[0])
        if gadget is None:
            return
        if words[1] == "switch" and "on" in gadget.state and (wanted := switch_in(payload)) is not None:
            yield Order(gadget, "on", wanted)
        elif words[1] == "climate" and gadget.model == "thermostat":
            if words[3] == "mode" and payload in (b"off", b"heat"):
                yield Order(gadget, "mode", payload.decode())
            elif words[3] == "target_temperature" and (number := number_in(payload)) is not None:
                yield Order(gadget, "setpoint.heat", number)
