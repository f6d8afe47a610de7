"""EnOcean on a serial stick: ESP3 packets with two CRC8, telegrams that do not name their profile (EEP).

EnOcean Serial Protocol 3; EEP 2.6: D5-00-01 contact, A5-04-01 temperature and humidity, A5-07-01 occupancy, F6-02-01
rocker.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Said, Value

PROFILES = {"contact": "contact", "thermometer": "a5-04-01", "motion": "a5-07-01", "button": "rocker"}
_OPTIONAL = bytes.fromhex("03ffffffff3a00")  # sub-telegrams, to everybody, -58 dBm, not encrypted


class EnOcean(Dialect):
    """A stick and the sensors in its range."""

    name: ClassVar[str] = "enocean"
    models: ClassVar[Collection[str]] = frozenset(PROFILES)
    serial: ClassVar[bool] = True
    baud: ClassVar[int] = 57600
    source: ClassVar[str] = "enocean"
    profile: ClassVar[str | None] = "enocean"
    repeat_s: ClassVar[float] = 1200.0

    def sender(self, gadget: Gadget) -> bytes:
        """Return the four bytes of a sensor's address."""
        return (0x01820000 + gadget.number).to_bytes(4, "big")

    def identity(self, gadget: Gadget) -> str:
        """Go by senders."""
        return f"enocean:{self.sender(gadget).hex()}"

    def bound_to(self, gadget: Gadget) -> str | None:
        """Name what the telegram does not: its EEP."""
        return f"enocean-{PROFILES[gadget.model]}"

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Send a telegram."""
        state = gadget.state
        facts: dict[str, Value]
        if gadget.model == "contact":
            yield self._telegram(gadget, 0xD5, bytes([0x08 | (0 if state["open"] else 1)]), {"open": state["open"]})
        elif gadget.model == "thermometer":
            warmth = max(0, min(250, round(float(state["temperature"]) / 40 * 250)))
            wetness = max(0, min(250, round(float(state["humidity"]) / 100 * 250)))
            facts = {"temperature": round(warmth / 250 * 40, 2), "humidity": round(wetness / 250 * 100, 1)}
            yield self._telegram(gadget, 0xA5, bytes([0, wetness, warmth, 0x0A]), facts)
        elif gadget.model == "motion":
            data = bytes([0, 0, 0xC8 if state["motion"] else 0x00, 0x08])
            yield self._telegram(gadget, 0xA5, data, {"motion": state["motion"]})
        elif "button" in changed:
            yield self._telegram(gadget, 0xF6, b"\x10", {}, status=0x30)
            yield self._telegram(gadget, 0xF6, b"\x00", {}, status=0x20)

    def _telegram(self, gadget: Gadget, rorg: int, data: bytes, fields: dict[str, Value], status: int = 0) -> Said:
        body = bytes([rorg]) + data + self.sender(gadget) + bytes([status])
        packet = esp3(1, body, _OPTIONAL)
        said = Said("", packet, gadget.name, self.facts(gadget, fields) if fields else {})
        said.check = (len(packet) - 1,)
        return said


def esp3(kind: int, data: bytes, optional: bytes = b"") -> bytes:
    """Frame a packet: 0x55, header, CRC8 of it, data, CRC8 of that."""
    header = len(data).to_bytes(2, "big") + bytes([len(optional), kind])
    body = data + optional
    return b"\x55" + header + bytes([crc8(header)]) + body + bytes([crc8(body)])


def crc8(data: bytes) -> int:
    """Return the CRC8 of ESP3: polynomial x^8 + x^2 + x + 1, beginning with 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc
