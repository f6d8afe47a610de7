"""Homie 5: `homie/5/<device>/$description` says everything, values are retained scalars, `set` topics command.

https://homieiot.github.io/specification/
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, compact, number_in

_NODE = "main"
_PROPERTIES: dict[str, tuple[str, dict[str, Any]]] = {  # field -> property, its description
    "open": ("contact", {"name": "Contact", "datatype": "boolean", "format": "closed,open"}),
    "motion": ("motion", {"name": "Motion", "datatype": "boolean"}),
    "leak": ("water", {"name": "Water leak", "datatype": "boolean"}),
    "temperature": ("temperature", {"name": "Temperature", "datatype": "float", "unit": "°C"}),
    "humidity": ("humidity", {"name": "Humidity", "datatype": "float", "unit": "%"}),
    "power": ("power", {"name": "Power", "datatype": "float", "unit": "W"}),
    "on": ("switch", {"name": "Switch", "datatype": "boolean", "settable": True}),
    "setpoint.heat": ("setpoint", {"name": "Setpoint", "datatype": "float", "unit": "°C", "format": "5:30:0.5",
                                   "settable": True}),
    "mode": ("mode", {"name": "Mode", "datatype": "enum", "format": "off,heat", "settable": True}),
}  # fmt: skip


class Homie5(Dialect):
    """Devices that describe themselves."""

    name: ClassVar[str] = "homie"
    models: ClassVar[Collection[str]] = frozenset(
        {"contact", "motion", "leak", "thermometer", "plug", "light", "thermostat"}
    )

    def hardware(self, gadget: Gadget) -> str:
        """Return the device's id: lower case, digits and dashes."""
        return f"sim-{gadget.model}-{gadget.number}"

    def identity(self, gadget: Gadget) -> str:
        """Go by device and node."""
        return f"homie:{self.hardware(gadget)}/{_NODE}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Init, description, ready."""
        for gadget in self.gadgets:
            top = f"homie/5/{self.hardware(gadget)}"
            yield Said(f"{top}/$state", b"init", gadget.name, retain=True)
            properties = {
                _PROPERTIES[field][0]: _PROPERTIES[field][1] for field in gadget.state if field in _PROPERTIES
            }
            node = {"name": gadget.model, "properties": properties}
            document = {"homie": "5.0", "version": gadget.number, "name": gadget.name, "nodes": {_NODE: node}}
            yield Said(f"{top}/$description", compact(document), gadget.name, retain=True)
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say ready."""
        yield Said(f"homie/5/{self.hardware(gadget)}/$state", b"ready", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say lost."""
        yield Said(f"homie/5/{self.hardware(gadget)}/$state", b"lost", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say what has changed, a property a topic."""
        for field, value in gadget.state.items():
            if field in _PROPERTIES and (field in changed or not changed):
                topic = f"homie/5/{self.hardware(gadget)}/{_NODE}/{_PROPERTIES[field][0]}"
                text = str(value).lower() if isinstance(value, bool) else str(value)
                facts = self.facts(gadget, {field: value})
                yield Said(topic, text.encode(), gadget.name, facts, retain=True)

    def filters(self) -> Sequence[str]:
        """Set topics."""
        return ("homie/5/+/+/+/set",)

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Set a property."""
        _, _, hardware, _, name, _ = topic.split("/")
        gadget = next((each for each in self.gadgets if self.hardware(each) == hardware), None)
        if gadget is None:
            return
        for field, (key, description) in _PROPERTIES.items():
            if key == name and field in gadget.state and description.get("settable"):
                value = _value(description["datatype"], payload.decode(errors="replace"))
                if value is not None:
                    yield Order(gadget, field, value)


def _value(datatype: str, text: str) -> Value | None:
    if datatype == "boolean":
        return {"true": True, "false": False}.get(text)
    return number_in(text) if datatype == "float" else text if text in ("off", "heat") else None
