"""Sparkplug B 3.0: births name metrics, data carries aliases only, sequence numbers 0 to 255, rebirth on request.

https://sparkplug.eclipse.org/specification/ . The protobuf is written by hand: Payload 1 timestamp, 2 metric, 3 seq;
Metric 1 name, 2 alias, 4 datatype, 9 properties (1 keys, 2 values, of these 1 type, 8 text), 13 double, 14 boolean,
15 string.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value

GROUP, NODE = "Simulated", "house"
_BOOLEAN, _DOUBLE, _STRING, _UINT64 = 11, 10, 12, 8
_METRICS = {
    "temperature": "Temperature", "humidity": "Humidity", "power": "Power", "energy": "Energy", "on": "On",
    "open": "Open", "motion": "Motion", "leak": "Leak",
}  # fmt: skip
_UNITS = {"temperature": "°C", "humidity": "%", "power": "W", "energy": "Wh"}
_LENGTH, _VARINT, _EIGHT = 2, 0, 1


class SparkplugB(Dialect):
    """One edge node with its devices."""

    name: ClassVar[str] = "sparkplug"
    models: ClassVar[Collection[str]] = frozenset({"thermometer", "meter", "plug", "contact", "motion", "leak"})

    def __init__(self, gadgets: Sequence[Gadget]) -> None:
        """Begin with a birth to come."""
        super().__init__(gadgets)
        self._sequence = 0
        self._births = 0
        self._now_s = 0.0

    def identity(self, gadget: Gadget) -> str:
        """Group, node and device."""
        return f"spb:{GROUP}/{NODE}/{gadget.name}"

    def will(self) -> Said:
        """Die with the number of the birth."""
        return Said(self._topic("NDEATH"), self._payload([_metric("bdSeq", 0, _UINT64)], numbered=False), "")

    def births(self, now_s: float) -> Iterator[Said]:
        """NBIRTH and each DBIRTH; the sequence begins at 0."""
        self._sequence, self._now_s = 0, now_s
        metrics = [_metric("bdSeq", 0, _UINT64), _metric("Node Control/Rebirth", False, _BOOLEAN)]
        yield Said(self._topic("NBIRTH"), self._payload(metrics), "")
        for gadget in self.gadgets:
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """DBIRTH: names, aliases, types and values."""
        metrics = [
            _metric(_METRICS[field], value, _type(value), self._alias(gadget, field), unit=_UNITS.get(field, ""))
            for field, value in gadget.state.items()
            if field in _METRICS
        ]
        meant = self._meant(gadget, gadget.state)
        yield Said(self._topic("DBIRTH", gadget), self._payload(metrics), gadget.name, meant)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """DDEATH."""
        yield Said(self._topic("DDEATH", gadget), self._payload([]), gadget.name)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """DDATA with aliases, only of what has changed."""
        self._now_s = now_s
        fields = {field: value for field, value in gadget.state.items()
                  if field in _METRICS and (field in changed or not changed)}  # fmt: skip
        if fields:
            metrics = [_metric("", value, _type(value), self._alias(gadget, field)) for field, value in fields.items()]
            yield Said(self._topic("DDATA", gadget), self._payload(metrics), gadget.name, self._meant(gadget, fields))

    def filters(self) -> Sequence[str]:
        """Commands to the node and its devices."""
        return (f"spBv1.0/{GROUP}/NCMD/{NODE}", f"spBv1.0/{GROUP}/DCMD/{NODE}/+")

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Be born again when asked; switch a plug."""
        if "/NCMD/" in topic:
            if b"Node Control/Rebirth" in payload:
                yield from self.births(now_s)
            return
        gadget = self.by_name.get(topic.rpartition("/")[2])
        if gadget is not None and "on" in gadget.state:
            if b"\x70\x01" in payload:  # field 14, boolean
                yield Order(gadget, "on", True)
            elif b"\x70\x00" in payload:
                yield Order(gadget, "on", False)

    def _topic(self, kind: str, gadget: Gadget | None = None) -> str:
        return f"spBv1.0/{GROUP}/{kind}/{NODE}" + (f"/{gadget.name}" if gadget else "")

    def _alias(self, gadget: Gadget, field: str) -> int:
        return gadget.number * 100 + list(_METRICS).index(field)

    def _meant(self, gadget: Gadget, fields: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
        return self.facts(gadget, {field: value for field, value in fields.items() if field in _METRICS})

    def _payload(self, metrics: Sequence[bytes], *, numbered: bool = True) -> bytes:
        out = _number(1, round(self._now_s * 1000)) + b"".join(_bytes(2, metric) for metric in metrics)
        if numbered:
            out += _number(3, self._sequence)
            self._sequence = (self._sequence + 1) % 256
        return out


def _type(value: Value) -> int:
    return _BOOLEAN if isinstance(value, bool) else _STRING if isinstance(value, str) else _DOUBLE


def _metric(name: str, value: Value, datatype: int, alias: int | None = None, *, unit: str = "") -> bytes:
    out = _bytes(1, name.encode()) if name else b""
    if alias is not None:
        out += _number(2, alias)
    out += _number(4, datatype)
    if unit:
        out += _bytes(9, _bytes(1, b"engUnit") + _bytes(2, _number(1, _STRING) + _bytes(8, unit.encode())))
    if datatype == _BOOLEAN:
        return out + _number(14, int(bool(value)))
    if datatype == _STRING:
        return out + _bytes(15, str(value).encode())
    if datatype == _UINT64:
        return out + _number(11, int(value))
    return out + _varint(13 << 3 | _EIGHT) + struct.pack("<d", float(value))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(value)) + value
