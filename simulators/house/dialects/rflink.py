"""RFLink on a serial port: `20;<number>;<protocol>;ID=..;KEY=VALUE;...;`, commands `10;...`.

https://www.rflink.nl/protref.php . TEMP is hexadecimal tenths, its highest bit the sign; HUM is decimal.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, switch_in

PROTOCOL = "NewKaku"


class RfLink(Dialect):
    """A transceiver, with the sensors and plugs in its range."""

    name: ClassVar[str] = "rflink"
    models: ClassVar[Collection[str]] = frozenset({"thermometer", "plug", "light", "contact", "motion"})
    serial: ClassVar[bool] = True
    baud: ClassVar[int] = 57600
    source: ClassVar[str] = "rflink"
    profile: ClassVar[str | None] = "rflink"
    repeat_s: ClassVar[float] = 900.0

    def __init__(self, gadgets: Sequence[Gadget]) -> None:
        """Begin to number messages."""
        super().__init__(gadgets)
        self._number = 0

    def hardware(self, gadget: Gadget) -> str:
        """Return the id that the radio sends."""
        return f"{gadget.number:04x}" if gadget.model == "thermometer" else f"{0x00840000 + gadget.number:08x}"

    def identity(self, gadget: Gadget) -> str:
        """Protocol, id and switch."""
        if gadget.model == "thermometer":
            return f"rflink:Oregon TempHygro/{self.hardware(gadget)}"
        return f"rflink:{PROTOCOL}/{self.hardware(gadget)}/1"

    def births(self, now_s: float) -> Iterator[Said]:
        """Greet."""
        yield Said("", b"20;00;Nodo RadioFrequencyLink - RFLink Gateway V1.1 - R48;\r\n", "")

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say what the radio heard."""
        state = gadget.state
        if gadget.model == "thermometer":
            tenths, wet = round(float(state["temperature"]) * 10), round(float(state["humidity"]))
            word = abs(tenths) | (0x8000 if tenths < 0 else 0)
            facts = self.facts(gadget, {"temperature": tenths / 10, "humidity": wet})
            battery = "LOW" if gadget.battery is not None and gadget.battery < 10 else "OK"
            text = f"Oregon TempHygro;ID={self.hardware(gadget)};TEMP={word:04x};HUM={wet:02d};BAT={battery}"
            yield self._line(gadget, text, facts)
            return
        field = {"contact": "open", "motion": "motion"}.get(gadget.model, "on")
        if field in changed:
            word_on = "ON" if state[field] else "OFF"
            yield self._line(gadget, f"{PROTOCOL};ID={self.hardware(gadget)};SWITCH=1;CMD={word_on}",
                             self.facts(gadget, {field: state[field]}))  # fmt: skip

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Send by radio, and say OK: nobody knows whether the plug heard it."""
        words = payload.decode(errors="replace").strip().split(";")
        if words[:2] == ["10", "PING"]:
            yield self._line(None, "PONG", {})
        if len(words) < 5 or words[:2] != ["10", PROTOCOL]:
            return
        yield self._line(None, "OK", {})
        for gadget in self.gadgets:
            wanted = switch_in(words[4].encode())
            if "on" in gadget.state and self.hardware(gadget) == words[2].lower() and wanted is not None:
                yield Order(gadget, "on", wanted)

    def _line(self, gadget: Gadget | None, text: str, facts: dict[str, dict[str, bool | float | int | str]]) -> Said:
        self._number = self._number % 255 + 1
        return Said("", f"20;{self._number:02X};{text};\r\n".encode(), gadget.name if gadget else "", facts)
