"""Zigbee2MQTT 2.x: the whole state at every change, retained availability, `bridge/devices` with exposes.

https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, compact, number_in, object_in

BASE = "zigbee2mqtt"
_PLAIN = {"temperature": "temperature", "humidity": "humidity", "power": "power", "motion": "occupancy"}
_PLAIN |= {"leak": "water_leak", "smoke": "smoke", "position": "position"}
ACTIONS = {"idle": "idle", "heat": "heating"}


class Zigbee2Mqtt(Dialect):
    """A bridge with its devices."""

    name: ClassVar[str] = "zigbee2mqtt"
    models: ClassVar[Collection[str]] = frozenset(
        {"contact", "motion", "thermometer", "thermostat", "plug", "light", "lock", "cover", "leak", "smoke", "button"}
    )
    repeat_s: ClassVar[float] = 600.0

    def identity(self, gadget: Gadget) -> str:
        """Go by friendly names."""
        return f"z2m:{gadget.name}"

    def will(self) -> Said:
        """Have the broker say that the bridge is gone."""
        return Said(f"{BASE}/bridge/state", b'{"state":"offline"}', "", retain=True)

    def births(self, now_s: float) -> Iterator[Said]:
        """Bridge state, the device list with exposes, availability of each."""
        yield Said(f"{BASE}/bridge/state", b'{"state":"online"}', "", retain=True)
        coordinator = {"ieee_address": "0x00124b0000000000", "type": "Coordinator", "friendly_name": "Coordinator"}
        described = [coordinator, *map(_described, self.gadgets)]
        yield Said(f"{BASE}/bridge/devices", compact(described), "", retain=True)
        for gadget in self.gadgets:
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say online."""
        yield Said(f"{BASE}/{gadget.name}/availability", b'{"state":"online"}', gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say offline."""
        yield Said(f"{BASE}/{gadget.name}/availability", b'{"state":"offline"}', gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Send the whole merged state, whatever has changed of it."""
        state = gadget.state
        document: dict[str, Any] = {}
        facts: dict[str, Value] = {}
        for field, value in state.items():
            if field == "button":
                if "button" not in changed:
                    continue
                document["action"] = value
            elif field == "open":
                document["contact"] = not value
            elif field == "setpoint.heat":
                document["occupied_heating_setpoint"] = value
            elif field == "mode":
                document["system_mode"] = value
                document["running_state"] = "heat" if _heats(state) else "idle"
                facts["action"] = ACTIONS[document["running_state"]]
            elif field == "on":
                document["state"] = "ON" if value else "OFF"
            elif field == "locked":
                document["state"] = "LOCK" if value else "UNLOCK"
                document["lock_state"] = "locked" if value else "unlocked"
            elif field == "temperature" and gadget.model == "thermostat":
                document["local_temperature"] = value
            elif field in _PLAIN:
                document[_PLAIN[field]] = value
            else:
                continue
            facts[field] = value
        if gadget.battery is not None:
            document["battery"] = facts["battery"] = round(gadget.battery)
        document["linkquality"] = 60 + (gadget.sent * 37 + gadget.number) % 180
        document["last_seen"] = round(now_s * 1000)
        yield Said(f"{BASE}/{gadget.name}", compact(document), gadget.name, self.facts(gadget, facts))

    def filters(self) -> Sequence[str]:
        """Commands, reads and the bridge's requests."""
        return (f"{BASE}/+/set", f"{BASE}/+/+/set", f"{BASE}/+/get", f"{BASE}/+/+/get", f"{BASE}/bridge/request/#")

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Set what can be set; a read and every accepted command answer with the state."""
        name, _, verb = topic.removeprefix(f"{BASE}/").rpartition("/")
        if topic.startswith(f"{BASE}/bridge/request/"):
            answer: dict[str, Any] = {"data": {}, "status": "ok", "transaction": object_in(payload).get("transaction")}
            yield Said(topic.replace("/request/", "/response/"), compact(answer), "")
            return
        gadget = self.by_name.get(name)
        if gadget is None:
            return
        if verb == "get":
            yield from self.say(gadget, (), now_s)
            return
        for key, value in object_in(payload).items():
            order = _order(gadget, key, value)
            if order is not None:
                yield order


def _order(gadget: Gadget, key: str, value: Any) -> Order | None:
    if gadget.model == "thermostat" and key in ("occupied_heating_setpoint", "current_heating_setpoint"):
        number = number_in(str(value))
        return None if number is None else Order(gadget, "setpoint.heat", number)
    if gadget.model == "thermostat" and key == "system_mode" and value in ("off", "heat", "auto"):
        return Order(gadget, "mode", value)
    if key == "state" and gadget.model in ("plug", "light") and str(value).upper() in ("ON", "OFF", "TOGGLE"):
        word = str(value).upper()
        return Order(gadget, "on", not gadget.state["on"] if word == "TOGGLE" else word == "ON")
    if key == "state" and gadget.model == "lock" and value in ("LOCK", "UNLOCK"):
        return Order(gadget, "locked", value == "LOCK")
    if key == "position" and gadget.model == "cover" and isinstance(value, int | float) and 0 <= value <= 100:
        return Order(gadget, "position", value)
    if key == "state" and gadget.model == "cover" and value in ("OPEN", "CLOSE"):
        return Order(gadget, "position", 100 if value == "OPEN" else 0)
    return None


def _heats(state: dict[str, Value]) -> bool:
    return state["mode"] != "off" and float(state["temperature"]) < float(state["setpoint.heat"])


def _numeric(name: str, unit: str, access: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "numeric", "name": name, "property": name, "label": name, "unit": unit, "access": access, **more}


def _binary(name: str, on: Any = True, off: Any = False, access: int = 1) -> dict[str, Any]:
    return {"type": "binary", "name": name, "property": name, "label": name, "value_on": on, "value_off": off,
            "access": access}  # fmt: skip


def _exposes(gadget: Gadget) -> list[Any]:
    model = gadget.model
    switch = _binary("state", "ON", "OFF", 7) | {"value_toggle": "TOGGLE"}
    modes = {"type": "enum", "name": "system_mode", "property": "system_mode", "access": 7, "values": ["off", "heat"]}
    states = {"type": "enum", "name": "running_state", "property": "running_state", "access": 5,
              "values": ["idle", "heat"]}  # fmt: skip
    climate = [
        _numeric("occupied_heating_setpoint", "°C", 7, value_min=5, value_max=30, value_step=0.5),
        _numeric("local_temperature", "°C", 5), modes, states,
    ]  # fmt: skip
    found: dict[str, list[Any]] = {
        "contact": [_binary("contact", False, True)],
        "motion": [_binary("occupancy")],
        "thermometer": [_numeric("temperature", "°C"), _numeric("humidity", "%")],
        "thermostat": [{"type": "climate", "features": climate}],
        "plug": [{"type": "switch", "features": [switch]}, _numeric("power", "W")],
        "light": [{"type": "light", "features": [switch]}],
        "lock": [{"type": "lock", "features": [_binary("state", "LOCK", "UNLOCK", 7)]}],
        "cover": [{"type": "cover", "features": [_numeric("position", "%", 7, value_min=0, value_max=100)]}],
        "leak": [_binary("water_leak")],
        "smoke": [_binary("smoke")],
        "button": [{"type": "enum", "name": "action", "property": "action", "access": 1, "values": ["single"]}],
    }
    battery = [_numeric("battery", "%", value_min=0, value_max=100)] if gadget.battery is not None else []
    return [*found[model], *battery, _numeric("linkquality", "lqi", value_min=0, value_max=255)]


def _described(gadget: Gadget) -> dict[str, Any]:
    definition = {"model": f"SIM-{gadget.model.upper()}", "vendor": "Simulated", "description": gadget.model,
                  "exposes": _exposes(gadget), "supports_ota": False, "options": []}  # fmt: skip
    return {"ieee_address": f"0x00158d00{gadget.number:08x}", "type": "EndDevice", "supported": True,
            "friendly_name": gadget.name, "disabled": False, "definition": definition,
            "power_source": "Battery" if gadget.battery is not None else "Mains (single phase)",
            "interview_completed": True, "network_address": gadget.number}  # fmt: skip
