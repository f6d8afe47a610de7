"""Z-Wave JS UI with named topics: `zwave/<location>/<node>/<class>/<endpoint>/<property>`, {"time","value","unit"}.

https://zwave-js.github.io/zwave-js-ui/ (door state is Notification 22 open, 23 closed)
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, compact, number_in, object_in

MODES = {0: "off", 1: "heat"}


class ZWaveJsUi(Dialect):
    """A controller with its nodes."""

    name: ClassVar[str] = "zwave-js-ui"
    models: ClassVar[Collection[str]] = frozenset({"contact", "motion", "thermostat", "plug", "thermometer", "leak"})
    repeat_s: ClassVar[float] = 1800.0

    def top(self, gadget: Gadget) -> str:
        """Return a node's topic: location and name."""
        return f"zwave/{gadget.room or 'house'}/{gadget.name}"

    def identity(self, gadget: Gadget) -> str:
        """Location and name."""
        return f"zwave:{gadget.room or 'house'}/{gadget.name}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Status of each node."""
        for gadget in self.gadgets:
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say that the node is alive."""
        document = {"time": 1_795_000_000_000, "value": True, "status": "Alive", "nodeId": gadget.number}
        yield Said(f"{self.top(gadget)}/status", compact(document), gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say that the node is dead."""
        document = {"time": 1_795_000_000_000, "value": False, "status": "Dead", "nodeId": gadget.number}
        yield Said(f"{self.top(gadget)}/status", compact(document), gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say each value that the node reports, by command class."""
        for path, value, field, meant in self._values(gadget):
            unit = {"unit": "°C"} if field in ("temperature", "setpoint.heat") else {}
            document = compact({"time": round(now_s * 1000), "value": value, **unit})
            yield Said(f"{self.top(gadget)}/{path}", document, gadget.name, self.facts(gadget, {field: meant}))
        if gadget.battery is not None:
            level = round(gadget.battery)
            document = compact({"time": round(now_s * 1000), "value": level})
            yield Said(f"{self.top(gadget)}/128/0/level", document, gadget.name, self.facts(gadget, {"battery": level}))

    def _values(self, gadget: Gadget) -> Iterator[tuple[str, Value, str, Value]]:
        state = gadget.state
        if gadget.model == "contact":
            yield "113/0/Access_Control/Door_state", 22 if state["open"] else 23, "open", state["open"]
        elif gadget.model == "motion":
            yield "113/0/Home_Security/Motion_sensor_status", 8 if state["motion"] else 0, "motion", state["motion"]
        elif gadget.model == "leak":
            yield "113/0/Water_Alarm/Sensor_status", 2 if state["leak"] else 0, "leak", state["leak"]
        elif gadget.model == "plug":
            yield "37/0/currentValue", state["on"], "on", state["on"]
        else:
            yield "49/0/Air_temperature", state["temperature"], "temperature", state["temperature"]
        if gadget.model == "thermostat":
            yield "67/0/setpoint/1", state["setpoint.heat"], "setpoint.heat", state["setpoint.heat"]
            yield "64/0/mode", 0 if state["mode"] == "off" else 1, "mode", state["mode"]

    def filters(self) -> Sequence[str]:
        """Everything that ends in set."""
        return ("zwave/+/+/+/+/+/set", "zwave/+/+/+/+/+/+/set")

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Write a value: bare, or in an object."""
        gadget = next((each for each in self.gadgets if topic.startswith(self.top(each) + "/")), None)
        if gadget is None:
            return
        path = topic.removeprefix(self.top(gadget) + "/").removesuffix("/set")
        text = str(object_in(payload).get("value", payload.decode(errors="replace"))).lower()
        if path.startswith("67/0/setpoint") and (number := number_in(text)) is not None:
            yield Order(gadget, "setpoint.heat", number)
        elif path == "64/0/mode" and text in ("0", "1") and gadget.model == "thermostat":
            yield Order(gadget, "mode", MODES[int(text)])
        elif path in ("37/0/targetValue", "37/0/currentValue") and text in ("true", "false") and gadget.model == "plug":
            yield Order(gadget, "on", text == "true")
