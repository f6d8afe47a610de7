"""Boards of somebody's own: one JSON object a line, a boot banner, now and then a word for the programmer."""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value, compact, object_in

_KEYS = {"temperature": "temperature", "humidity": "humidity", "open": "door", "motion": "motion", "on": "relay",
         "leak": "water"}  # fmt: skip


class Arduino(Dialect):
    """One board, which names its sensors."""

    name: ClassVar[str] = "arduino"
    models: ClassVar[Collection[str]] = frozenset({"thermometer", "contact", "motion", "leak", "plug"})
    serial: ClassVar[bool] = True
    baud: ClassVar[int] = 9600
    source: ClassVar[str] = "arduino"
    profile: ClassVar[str | None] = "arduino-json"
    repeat_s: ClassVar[float] = 600.0

    def __init__(self, gadgets: Sequence[Gadget]) -> None:
        """Begin to count lines."""
        super().__init__(gadgets)
        self._lines = 0

    def identity(self, gadget: Gadget) -> str:
        """Go by the board's names."""
        return f"arduino:{gadget.name}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Print what a board prints when it starts."""
        yield Said("", b"\r\nhouse board v3, built Nov 1\r\n", "", clean=False)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Print a line."""
        self._lines += 1
        fields: dict[str, Value] = {field: value for field, value in gadget.state.items() if field in _KEYS}
        document: dict[str, Any] = {"id": gadget.name, **{_KEYS[field]: value for field, value in fields.items()}}
        document["n"] = self._lines
        yield Said("", compact(document) + b"\r\n", gadget.name, self.facts(gadget, fields))

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Switch a relay: {"id":"pump","relay":true}."""
        document = object_in(payload)
        gadget = self.by_name.get(str(document.get("id")))
        if gadget is not None and "on" in gadget.state and isinstance(document.get("relay"), bool):
            yield Order(gadget, "on", document["relay"])
