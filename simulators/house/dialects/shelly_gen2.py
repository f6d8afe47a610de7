"""Shelly, second generation and later: partial NotifyStatus, the same change on `status/`, answers to RPC.

https://shelly-api-docs.shelly.cloud/gen2/
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, compact, object_in, switch_in

_COMPONENT = {"plug": "switch:0", "light": "switch:0", "cover": "cover:0", "thermometer": "temperature:0",
              "contact": "input:0", "smoke": "smoke:0", "leak": "flood:0", "meter": "pm1:0"}  # fmt: skip


class ShellyGen2(Dialect):
    """Devices on their own; the topic prefix is the device's id."""

    name: ClassVar[str] = "shelly-gen2"
    models: ClassVar[Collection[str]] = frozenset(_COMPONENT)

    def hardware(self, gadget: Gadget) -> str:
        """Return the device's id: its name if that is one of Shelly's."""
        if gadget.name.startswith("shelly"):
            return gadget.name
        return f"shellyplus1pm-{0x80646FD00000 + gadget.number:012x}"

    def identity(self, gadget: Gadget) -> str:
        """Each component is a device, except sensors."""
        part = _COMPONENT[gadget.model] if gadget.model in ("plug", "light", "cover", "contact", "meter") else ""
        return f"shelly:{self.hardware(gadget)}" + (f"/{part}" if part else "")

    def births(self, now_s: float) -> Iterator[Said]:
        """Say true."""
        for gadget in self.gadgets:
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say true."""
        yield Said(f"{self.hardware(gadget)}/online", b"true", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say false."""
        yield Said(f"{self.hardware(gadget)}/online", b"false", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Notify the change, and say the component's whole status a moment later."""
        hardware, component, state = self.hardware(gadget), _COMPONENT[gadget.model], gadget.state
        status: dict[str, Any] = {"id": 0}
        facts: dict[str, Value] = {}
        for key, field, value in _values(state):
            status[key] = value
            facts[field] = state[field]
        if "energy" in state:
            status["aenergy"] = {"total": state["energy"]}
            facts["energy"] = state["energy"]
        if "temperature" in state:
            status["tF"] = round(float(state["temperature"]) * 1.8 + 32, 1)
        parameters = {"ts": round(now_s, 2), component: status}
        document = {"src": hardware, "dst": f"{hardware}/events", "method": "NotifyStatus", "params": parameters}
        said = self.facts(gadget, facts)
        yield Said(f"{hardware}/events/rpc", compact(document), gadget.name, said)
        yield Said(f"{hardware}/status/{component}", compact(status | {"source": "init"}), gadget.name, said)
        if "humidity" in state:
            humidity = {"id": 0, "rh": state["humidity"]}
            said = self.facts(gadget, {"humidity": state["humidity"]})
            yield Said(f"{hardware}/status/humidity:0", compact(humidity), gadget.name, said)

    def filters(self) -> Sequence[str]:
        """RPC and plain commands."""
        return ("+/rpc", "+/command/switch:0", "+/command/cover:0")

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Do it and answer the sender of an RPC."""
        hardware, _, rest = topic.partition("/")
        gadget = next((each for each in self.gadgets if self.hardware(each) == hardware), None)
        if gadget is None:
            return
        if rest.startswith("command/"):
            wanted = switch_in(payload)
            if wanted is not None and "on" in gadget.state:
                yield Order(gadget, "on", wanted)
            return
        request = object_in(payload)
        parameters = request.get("params") or {}
        done: dict[str, Any] = {"error": {"code": 404, "message": f"No handler for {request.get('method')}"}}
        if request.get("method") == "Switch.Set" and "on" in gadget.state:
            yield Order(gadget, "on", bool(parameters.get("on")))
            done = {"result": {"was_on": gadget.state["on"]}}
        elif request.get("method") == "Cover.GoToPosition" and "position" in gadget.state:
            yield Order(gadget, "position", parameters.get("pos", 0))
            done = {"result": None}
        if request.get("src"):
            answer = {"id": request.get("id"), "src": hardware, "dst": request["src"], **done}
            yield Said(f"{request['src']}/rpc", compact(answer), "")


def _values(state: dict[str, Value]) -> Iterator[tuple[str, str, Value]]:
    keys = {"on": "output", "power": "apower", "position": "current_pos", "temperature": "tC", "open": "state",
            "smoke": "alarm", "leak": "alarm"}  # fmt: skip
    for field, value in state.items():
        if field in keys:
            yield keys[field], field, value
