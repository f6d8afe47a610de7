"""Shelly, first generation: one text value a topic, all of them again every 30 s; 999 and -1 mean not measured.

https://shelly-api-docs.shelly.cloud/gen1/
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.gadget import Dialect, Facts, Gadget, Order, Said, Value, compact, number_in, switch_in

_PREFIX = {"contact": "shellydw2", "plug": "shellyplug-s", "thermometer": "shellyht", "leak": "shellyflood",
           "smoke": "shellysmoke", "thermostat": "shellytrv", "cover": "shellyswitch25"}  # fmt: skip
MAINS = ("plug", "cover", "thermostat")


class ShellyGen1(Dialect):
    """Devices on their own, each with its topics."""

    name: ClassVar[str] = "shelly-gen1"
    models: ClassVar[Collection[str]] = frozenset(_PREFIX)
    repeat_s: ClassVar[float] = 300.0  # 30 s as delivered; most people set more

    def hardware(self, gadget: Gadget) -> str:
        """Return what the device calls itself: its name if that is one of Shelly's."""
        if gadget.name.startswith("shelly"):
            return gadget.name
        return f"{_PREFIX[gadget.model]}-{0xA4CF12000000 + gadget.number:012X}"

    def identity(self, gadget: Gadget) -> str:
        """Name a device, or a part of it."""
        part = {"plug": "/relay/0", "cover": "/roller/0"}.get(gadget.model, "")
        return f"shelly:{self.hardware(gadget)}{part}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Online, of what does not sleep, and who is there."""
        for gadget in self.gadgets:
            document = {"id": self.hardware(gadget), "mac": "A4CF12000000", "ip": "10.0.0.2", "new_fw": False}
            yield Said("shellies/announce", compact(document), gadget.name)
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say true."""
        yield Said(f"shellies/{self.hardware(gadget)}/online", b"true", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say false."""
        yield Said(f"shellies/{self.hardware(gadget)}/online", b"false", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say every value there is, each on its topic."""
        if gadget.model == "thermostat":
            yield self._valve(gadget, now_s)
            return
        state, top = gadget.state, f"shellies/{self.hardware(gadget)}"
        values: list[tuple[str, str, str, Value]] = []  # topic, text, field, value
        if gadget.model == "contact":
            values.append(("sensor/state", "open" if state["open"] else "close", "open", state["open"]))
        elif gadget.model == "plug":
            values.append(("relay/0", "on" if state["on"] else "off", "on", state["on"]))
            values.append(("relay/0/power", f"{float(state['power']):.2f}", "power", round(float(state["power"]), 2)))
        elif gadget.model == "cover":
            values.append(("roller/0/pos", str(round(float(state["position"]))), "position", state["position"]))
        elif gadget.model == "thermometer":
            values.append(("sensor/temperature", str(state["temperature"]), "temperature", state["temperature"]))
            values.append(("sensor/humidity", str(state["humidity"]), "humidity", state["humidity"]))
        else:
            field = gadget.model
            word = "flood" if field == "leak" else field
            values.append((f"sensor/{word}", "true" if state[field] else "false", field, state[field]))
        if gadget.battery is not None and gadget.model not in MAINS:
            values.append(("sensor/battery", str(round(gadget.battery)), "battery", round(gadget.battery)))
        for topic, text, field, value in values:
            yield Said(f"{top}/{topic}", text.encode(), gadget.name, self.facts(gadget, {field: value}))

    def _valve(self, gadget: Gadget, now_s: float) -> Said:
        state = gadget.state
        target = {"enabled": True, "target_t": {"value": state["setpoint.heat"], "units": "C"}, "units": "C"}
        thermostat = {
            "pos": 0.0, "target_t": target["target_t"], "tmp": {"value": state["temperature"], "units": "C",
            "is_valid": True}, "schedule": False, "window_open": False,
        }  # fmt: skip
        document = {"unixtime": round(now_s), "wifi_sta": {"connected": True, "rssi": -60},
                    "thermostats": [thermostat]}  # fmt: skip
        facts: Facts = self.facts(
            gadget, {"temperature": state["temperature"], "setpoint.heat": state["setpoint.heat"]}
        )
        return Said(f"shellies/{self.hardware(gadget)}/info", compact(document), gadget.name, facts)

    def filters(self) -> Sequence[str]:
        """Commands of relays, rollers and valves."""
        return (
            "shellies/+/relay/0/command",
            "shellies/+/roller/0/command/pos",
            "shellies/+/thermostat/0/command/target_t",
        )

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Do what the topic's device is told."""
        words = topic.split("/")
        for gadget in self.gadgets:
            if self.hardware(gadget) != words[1]:
                continue
            if words[2] == "relay" and gadget.model == "plug":
                wanted = switch_in(payload)
                wanted = not gadget.state["on"] if payload == b"toggle" else wanted
                if wanted is not None:
                    yield Order(gadget, "on", wanted)
            elif (number := number_in(payload)) is not None:
                field = {"roller": "position", "thermostat": "setpoint.heat"}[words[2]]
                if field in gadget.state:
                    yield Order(gadget, field, number)
