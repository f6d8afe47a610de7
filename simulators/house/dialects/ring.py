"""ring-mqtt: `ring/<location>/<alarm|camera>/<device>/<entity>/state`; contact ON is open, snapshots are raw JPEG.

https://github.com/tsightler/ring-mqtt
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.dialects.frigate import JPEG_HEAD, JPEG_TAIL
from simulators.house.gadget import Dialect, Gadget, Order, Said, compact, number_in

LOCATION = "c4f2-1234"
_ENTITY = {"contact": ("contact", "open"), "motion": ("motion", "motion"), "leak": ("flood", "leak"),
           "smoke": ("smoke", "smoke")}  # fmt: skip


class Ring(Dialect):
    """One location with an alarm and cameras."""

    name: ClassVar[str] = "ring-mqtt"
    models: ClassVar[Collection[str]] = frozenset({*_ENTITY, "camera", "lock", "thermostat"})
    repeat_s: ClassVar[float] = 900.0

    def part(self, gadget: Gadget) -> str:
        """Return the place of a device in the tree of topics."""
        group = "camera" if gadget.model == "camera" else "alarm"
        return f"ring/{LOCATION}/{group}/{gadget.name}"

    def identity(self, gadget: Gadget) -> str:
        """Go by the device's id."""
        return f"ring:{gadget.name}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Online, and info."""
        for gadget in self.gadgets:
            yield from self.back(gadget)
            if gadget.battery is not None:
                document = {"batteryLevel": round(gadget.battery), "batteryStatus": "ok", "tamperStatus": "ok"}
                yield Said(f"{self.part(gadget)}/info/state", compact(document), gadget.name)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say online."""
        yield Said(f"{self.part(gadget)}/status", b"online", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say offline."""
        yield Said(f"{self.part(gadget)}/status", b"offline", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say each entity."""
        name, state, top = gadget.name, gadget.state, self.part(gadget)
        if gadget.model in _ENTITY:
            entity, field = _ENTITY[gadget.model]
            text = b"ON" if state[field] else b"OFF"
            yield Said(f"{top}/{entity}/state", text, name, self.facts(gadget, {field: state[field]}))
        elif gadget.model == "lock":
            text = b"LOCKED" if state["locked"] else b"UNLOCKED"
            yield Said(f"{top}/lock/state", text, name, self.facts(gadget, {"locked": state["locked"]}))
        elif gadget.model == "camera":
            if "motion" in changed:
                facts = self.facts(gadget, {"motion": state["motion"]})
                yield Said(f"{top}/motion/state", b"ON" if state["motion"] else b"OFF", name, facts)
            if "object" in changed:
                picture = JPEG_HEAD + random.Random(f"{name}/{gadget.sent}").randbytes(600) + JPEG_TAIL
                yield Said(f"{top}/snapshot/image", picture, name)
        else:
            for entity, field in (
                ("current_temperature_state", "temperature"), ("temperature_state", "setpoint.heat"),
                ("mode_state", "mode"),
            ):  # fmt: skip
                facts = self.facts(gadget, {field: state[field]})
                yield Said(f"{top}/thermostat/{entity}", str(state[field]).encode(), name, facts)

    def filters(self) -> Sequence[str]:
        """Commands."""
        return (f"ring/{LOCATION}/+/+/+/+",)

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Set a lock or a thermostat; our own states come by here, too."""
        *_, name, entity, verb = topic.split("/")
        gadget = self.by_name.get(name)
        if gadget is None or not verb.endswith("command"):
            return
        if entity == "lock" and payload in (b"LOCK", b"UNLOCK"):
            yield Order(gadget, "locked", payload == b"LOCK")
        elif verb == "temperature_command" and (number := number_in(payload)) is not None:
            yield Order(gadget, "setpoint.heat", number)
        elif verb == "mode_command" and payload in (b"off", b"heat", b"auto"):
            yield Order(gadget, "mode", payload.decode())
