"""rtl_433: JSON of what the air brings, over MQTT or as lines; each transmission several times, no acknowledgement.

https://github.com/merbanan/rtl_433 (docs: DATA_FORMAT.md). Identity is model, channel and id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from simulators.house.gadget import Dialect, Gadget, Said, Value, compact

HOST = "house"
REPEATS = 3


class Rtl433Mqtt(Dialect):
    """A receiver that publishes `rtl_433/<host>/events`."""

    name: ClassVar[str] = "rtl_433"
    models: ClassVar[Collection[str]] = frozenset({"thermometer", "contact", "motion", "leak"})
    repeat_s: ClassVar[float] = 900.0  # sensors say that they live

    def identity(self, gadget: Gadget) -> str:
        """Model, channel and id."""
        document, _ = self.reading(gadget)
        channel = f"/{document['channel']}" if "channel" in document else ""
        return f"rtl_433:{document['model']}{channel}/{document['id']}"

    def reading(self, gadget: Gadget) -> tuple[dict[str, Any], dict[str, Value]]:
        """Return the decoder's row of a gadget, without time, and what it means."""
        state, number = gadget.state, gadget.number
        if gadget.model == "thermometer":
            row: dict[str, Any] = {
                "model": "Nexus-TH", "id": number, "channel": 1, "battery_ok": 1,
                "temperature_C": state["temperature"], "humidity": round(float(state["humidity"])),
            }  # fmt: skip
            return row, {"temperature": state["temperature"], "humidity": row["humidity"]}
        if gadget.model == "contact":
            row = {"model": "DSC-Security", "id": 1_000_000 + number, "closed": int(not state["open"]), "event": 0,
                   "tamper": 0, "battery_ok": 1, "xactivity": 0, "xtamper1": 0, "xtamper2": 0, "exception": 0,
                   "esn": f"{1_000_000 + number:06x}", "status": 16, "status_hex": "10"}  # fmt: skip
            return row, {"open": state["open"]}
        if gadget.model == "motion":
            row = {"model": "Kerui-Security", "id": number, "cmd": 10, "motion": 1}
            return row, {"motion": True}
        if gadget.model == "leak":
            row = {"model": "Govee-Water", "id": number, "event": "Water Leak" if state["leak"] else "Heartbeat",
                   "detect_wet": int(bool(state["leak"])), "mic": "PARITY"}  # fmt: skip
            return row, {"leak": state["leak"]}
        raise KeyError(gadget.model)

    def _silent(self, gadget: Gadget, changed: Collection[str]) -> bool:
        """Return whether a gadget has nothing to send: some only say that something began."""
        return gadget.model == "motion" and not (gadget.state["motion"] and "motion" in changed)

    def rows(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[tuple[bytes, dict[str, Value]]]:
        """Yield each repeat: they differ only in time and strength."""
        if self._silent(gadget, changed):
            return
        row, facts = self.reading(gadget)
        for again in range(REPEATS):
            time = f"{datetime.fromtimestamp(now_s + again * 0.2, UTC):%Y-%m-%d %H:%M:%S}"
            yield compact({"time": time, **row, "rssi": round(-0.1 - again * 0.05, 3), "snr": 24.0 - again}), facts

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Publish each repeat."""
        for row, facts in self.rows(gadget, changed, now_s):
            yield Said(f"rtl_433/{HOST}/events", row, gadget.name, self.facts(gadget, facts))


class Rtl433Lines(Rtl433Mqtt):
    """A receiver that prints lines, as `-F json` or an ESP on a serial port does."""

    name: ClassVar[str] = "rtl_433-serial"
    serial: ClassVar[bool] = True
    baud: ClassVar[int] = 115200
    source: ClassVar[str] = "radio"
    profile: ClassVar[str | None] = "rtl-433-lines"

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Print each repeat."""
        for row, facts in self.rows(gadget, changed, now_s):
            yield Said("", row + b"\n", gadget.name, self.facts(gadget, facts))
