"""Tasmota: two messages a relay change, telemetry in a nest of chips, local time without a zone, retained LWT.

https://tasmota.github.io/docs/MQTT/
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, compact, switch_in


class Tasmota(Dialect):
    """Modules, each with a topic of its own."""

    name: ClassVar[str] = "tasmota"
    models: ClassVar[Collection[str]] = frozenset({"plug", "light", "thermometer", "contact", "motion", "meter"})
    repeat_s: ClassVar[float] = 300.0  # TelePeriod

    def identity(self, gadget: Gadget) -> str:
        """Name a switch, or the module."""
        part = {"contact": "/Switch1", "motion": "/Switch1"}
        return f"tasmota:{gadget.name}{part.get(gadget.model, '')}"

    def births(self, now_s: float) -> Iterator[Said]:
        """LWT of each."""
        for gadget in self.gadgets:
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say Online."""
        yield Said(f"tele/{gadget.name}/LWT", b"Online", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say Offline."""
        yield Said(f"tele/{gadget.name}/LWT", b"Offline", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say a change at once and everything each TelePeriod."""
        name, state = gadget.name, gadget.state
        time = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%S}"
        if "on" in state:
            word = "ON" if state["on"] else "OFF"
            facts = self.facts(gadget, {"on": state["on"]})
            if "on" in changed:
                yield Said(f"stat/{name}/RESULT", compact({"POWER": word}), name, facts)
                yield Said(f"stat/{name}/POWER", word.encode(), name, facts)
            else:
                wifi = {"AP": 1, "SSId": "home", "RSSI": 70, "Signal": -65, "LinkCount": 1}
                document = {"Time": time, "Uptime": "0T01:00:00", "Heap": 25, "POWER": word, "Wifi": wifi}
                yield Said(f"tele/{name}/STATE", compact(document), name, facts)
        yield from self._sensor(gadget, time)

    def _sensor(self, gadget: Gadget, time: str) -> Iterator[Said]:
        """SENSOR: chips and switches."""
        state = gadget.state
        document: dict[str, Any] = {"Time": time}
        facts: dict[str, Value] = {}
        of = self.id_of(gadget)
        if gadget.model == "thermometer":
            document["AM2301"] = {"Temperature": state["temperature"], "Humidity": state["humidity"], "DewPoint": 8.1}
            document["TempUnit"] = "C"
            facts = {"temperature": state["temperature"], "humidity": state["humidity"]}
        elif gadget.model in ("contact", "motion"):
            field = "open" if gadget.model == "contact" else "motion"
            document["Switch1"] = "ON" if state[field] else "OFF"
            facts = {field: state[field]}
        elif "power" in state:
            total = round(float(state.get("energy", 0.0)) / 1000, 3)
            document["ENERGY"] = {"Total": total, "Power": round(float(state["power"])), "Voltage": 230}
            facts = {"power": round(float(state["power"]))}
            of = f"{self.source}/tasmota:{gadget.name}"
        else:
            return
        yield Said(f"tele/{gadget.name}/SENSOR", compact(document), gadget.name, {of: facts})

    def filters(self) -> Sequence[str]:
        """Commands."""
        return ("cmnd/#",)

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Switch; an empty payload asks."""
        name, _, verb = topic.removeprefix("cmnd/").rpartition("/")
        gadget = self.by_name.get(name)
        if gadget is None or verb.upper() not in ("POWER", "POWER1") or "on" not in gadget.state:
            return
        wanted = switch_in(payload)
        if payload.strip().upper() == b"TOGGLE":
            wanted = not gadget.state["on"]
        if wanted is None:
            yield from self.say(gadget, {"on"}, now_s)
        else:
            yield Order(gadget, "on", wanted)
