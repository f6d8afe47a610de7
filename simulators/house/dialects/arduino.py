"""A board of somebody's own: pairs and JSON on lines.

It has one sensor of each kind, as a board on a desk does; a second board is a second port.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Said, Value, compact


class Arduino(Dialect):
    """One board."""

    name: ClassVar[str] = "arduino"
    models: ClassVar[Collection[str]] = frozenset({"thermometer", "contact", "motion"})
    serial: ClassVar[bool] = True
    single: ClassVar[bool] = True
    baud: ClassVar[int] = 9600
    source: ClassVar[str] = "arduino"
    profile: ClassVar[str | None] = "arduino"
    repeat_s: ClassVar[float] = 600.0

    def identity(self, gadget: Gadget) -> str:
        """Name the board, or a part of it."""
        return "arduino:board" + {"contact": "/door", "motion": "/motion"}.get(gadget.model, "")

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Print a line."""
        state = gadget.state
        fields: dict[str, Value]
        if gadget.model == "thermometer":
            fields = {"temperature": state["temperature"], "humidity": state["humidity"]}
            line = f"temp={state['temperature']};hum={state['humidity']}".encode()
        elif gadget.model == "contact":
            fields = {"open": state["open"]}
            line = f"door={int(bool(state['open']))}".encode()
        else:
            fields = {"motion": state["motion"]}
            line = compact({"motion": int(bool(state["motion"]))})
        yield Said("", line + b"\r\n", gadget.name, self.facts(gadget, fields))
