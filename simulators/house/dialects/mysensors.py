"""MySensors 2.x: `node;child;command;ack;type;payload` on a line, or the same as MQTT topics.

https://www.mysensors.org/download/serial_api_20 . V_TRIPPED does not say of what: presentation does.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, number_in

_PRESENT, _SET, _REQUEST, _INTERNAL = range(4)
_SENSOR = {"contact": 0, "motion": 1, "smoke": 2, "plug": 3, "light": 3, "thermometer": 6, "meter": 13, "lock": 19,
           "thermostat": 29, "leak": 32}  # fmt: skip
_V = {"temperature": 0, "humidity": 1, "on": 2, "open": 16, "motion": 16, "smoke": 16, "leak": 16, "power": 17,
      "energy": 18, "mode": 21, "locked": 36, "setpoint.heat": 45}  # fmt: skip
_FLOW = {"off": "Off", "heat": "HeatOn"}
HUMIDITY_CHILD = 1
NODE = 255


class _MySensors(Dialect):
    """Nodes with a sensor each; what both transports have in common."""

    models: ClassVar[Collection[str]] = frozenset(_SENSOR)
    repeat_s: ClassVar[float] = 1800.0

    def identity(self, gadget: Gadget) -> str:
        """Node and child."""
        return f"mysensors:{gadget.number}/0"

    def births(self, now_s: float) -> Iterator[Said]:
        """Present every node and child, as at power-up."""
        for gadget in self.gadgets:
            yield self.line(gadget, NODE, _PRESENT, 17, "2.3.2")
            yield self.line(gadget, 0, _PRESENT, _SENSOR[gadget.model], gadget.name[:25])
            if "humidity" in gadget.state:
                yield self.line(gadget, HUMIDITY_CHILD, _PRESENT, 7, "humidity")

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Set each value."""
        for field, value in gadget.state.items():
            if field not in _V or (changed and field not in changed):
                continue
            text, meant = _text(field, value)
            child = HUMIDITY_CHILD if field == "humidity" else 0
            said = self.line(gadget, child, _SET, _V[field], text)
            said.facts = {f"{self.source}/mysensors:{gadget.number}/{child}": {field: meant}}
            yield said
        if gadget.battery is not None and not changed:
            yield self.line(gadget, NODE, _INTERNAL, 0, str(round(gadget.battery)))

    def line(self, gadget: Gadget, child: int, command: int, kind: int, payload: str, ack: int = 0) -> Said:
        """Write one message."""
        raise KeyError(gadget.name)

    def told(self, words: Sequence[str], payload: str) -> Iterator[Order | Said]:
        """Understand a command; echo it when asked to."""
        node, child, command, ack, kind = (int(word) if word.isdecimal() else -1 for word in words)
        gadget = next((each for each in self.gadgets if each.number == node), None)
        if gadget is None or command != _SET:
            return
        for field, number in _V.items():
            if number == kind and field in gadget.state and (value := _value(field, payload)) is not None:
                yield Order(gadget, field, value)
                if ack == 1:
                    yield self.line(gadget, child, command, kind, payload, ack=1)


class MySensorsMqtt(_MySensors):
    """A gateway that publishes `mygateway1-out/node/child/command/ack/type`."""

    name: ClassVar[str] = "mysensors-mqtt"

    def line(self, gadget: Gadget, child: int, command: int, kind: int, payload: str, ack: int = 0) -> Said:
        """Publish one message."""
        topic = f"mygateway1-out/{gadget.number}/{child}/{command}/{ack}/{kind}"
        return Said(topic, payload.encode(), gadget.name)

    def filters(self) -> Sequence[str]:
        """Everything to the radio."""
        return ("mygateway1-in/#",)

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Take a message for a node."""
        words = topic.split("/")[1:]
        if len(words) == 5:
            yield from self.told(words, payload.decode(errors="replace"))


class MySensorsSerial(_MySensors):
    """A gateway on a serial port."""

    name: ClassVar[str] = "mysensors"
    serial: ClassVar[bool] = True
    source: ClassVar[str] = "mysensors"
    profile: ClassVar[str | None] = "mysensors-serial"

    def births(self, now_s: float) -> Iterator[Said]:
        """Say that the gateway is ready, with its log, then present."""
        yield Said("", b"0;255;3;0;9;0 MCO:BGN:INIT GW,CP=RNNGA---,REL=255,VER=2.3.2\n", "")
        yield Said("", b"0;255;3;0;14;Gateway startup complete.\n", "")
        yield from super().births(now_s)

    def line(self, gadget: Gadget, child: int, command: int, kind: int, payload: str, ack: int = 0) -> Said:
        """Write one line."""
        return Said("", f"{gadget.number};{child};{command};{ack};{kind};{payload}\n".encode(), gadget.name)

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Take a line for a node."""
        *words, text = payload.decode(errors="replace").strip().split(";", 5)
        if len(words) == 5:
            yield from self.told(words, text)


def _text(field: str, value: Value) -> tuple[str, Value]:
    """Return a value's text on the wire, and what it still means after rounding."""
    if isinstance(value, bool):
        return str(int(value)), value
    if field == "mode":
        return _FLOW[str(value)], value
    if field == "energy":
        return f"{float(value) / 1000:.3f}", round(float(value))
    rounded = round(float(value), 1)
    return f"{rounded:.1f}", rounded


def _value(field: str, text: str) -> Value | None:
    if field in ("temperature", "humidity", "power", "energy", "open", "motion", "leak", "smoke"):
        return None
    if field in ("on", "locked"):
        return {"1": True, "0": False}.get(text)
    if field == "mode":
        return {word: mode for mode, word in _FLOW.items()}.get(text)
    return number_in(text)
