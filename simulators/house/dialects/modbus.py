"""Thermostats on a Modbus RTU bus: they say nothing by themselves and answer what they are asked.

Registers of the Kaysun KC-FCD2-M, from its manual: 2 temperature, 3 on, 4 setpoint, 5 mode (0 fan, 1 cool, 2 heat),
6 fan, 8 unit (0 °C).  The bus beneath is `simulators/modbus.py`.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said, Value
from simulators.modbus import SimulatedBus, SimulatedUnit

TEMPERATURE, ON, SETPOINT, MODE, FAN, RESERVED, UNIT = range(2, 9)
READ = 3
HEAT = 2
STATE_BYTES = 2 * (UNIT - TEMPERATURE + 1)


class Modbus(Dialect):
    """A bus and its units; a unit's address is its number."""

    name: ClassVar[str] = "modbus"
    models: ClassVar[Collection[str]] = frozenset({"thermostat"})
    serial: ClassVar[bool] = True
    asked: ClassVar[bool] = True
    baud: ClassVar[int] = 9600
    source: ClassVar[str] = "bus"
    profile: ClassVar[str | None] = "modbus-kaysun-kc-fcd2"

    def __init__(self, gadgets: Sequence[Gadget]) -> None:
        """Put the units on a bus."""
        super().__init__(gadgets)
        self._units = {gadget.number: SimulatedUnit(gadget.number) for gadget in gadgets}
        self._bus = SimulatedBus(list(self._units.values()))

    def identity(self, gadget: Gadget) -> str:
        """Go by addresses."""
        return f"modbus:{gadget.number}"

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Answer requests; what was written is done."""
        for gadget in self.gadgets:
            self._units[gadget.number].holding = _registers(gadget)
        answers = self._bus.feed(payload)
        for gadget in self.gadgets:
            unit = self._units[gadget.number]
            for register, value in unit.written:
                order = _order(gadget, register, value)
                if order is not None:
                    gadget.state[order.field] = order.value  # the register has it at once, the room follows
                    yield order
            unit.written.clear()
        for _, answer in answers:
            yield self._said(answer)

    def _said(self, answer: bytes) -> Said:
        """Say what an answer means, if it is the whole state."""
        gadget = next((each for each in self.gadgets if each.number == answer[0]), None)
        if gadget is None or answer[1] != READ or answer[2] != STATE_BYTES:
            return Said("", answer, gadget.name if gadget else "")
        values = [answer[at] * 256 + answer[at + 1] for at in range(3, 3 + STATE_BYTES, 2)]
        fields: dict[str, Value] = {
            "temperature": values[0], "setpoint.heat": values[SETPOINT - TEMPERATURE],
            "mode": "heat" if values[ON - TEMPERATURE] else "off",
        }  # fmt: skip
        return Said("", answer, gadget.name, self.facts(gadget, fields))


def _registers(gadget: Gadget) -> dict[int, int]:
    state = gadget.state
    on = int(state["mode"] != "off")
    return {TEMPERATURE: round(float(state["temperature"])), ON: on, SETPOINT: round(float(state["setpoint.heat"])),
            MODE: HEAT, FAN: 1, RESERVED: 0, UNIT: 0}  # fmt: skip


def _order(gadget: Gadget, register: int, value: int) -> Order | None:
    if register == SETPOINT:
        return Order(gadget, "setpoint.heat", float(value))
    if register == ON:
        return Order(gadget, "mode", "heat" if value else "off")
    return None
