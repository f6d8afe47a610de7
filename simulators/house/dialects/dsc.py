"""A DSC panel behind an IT-100: three digits of command, data, two digits of checksum; zones open and restore.

DSC IT-100 data interface module, developer's guide. The checksum is the sum of the characters, modulo 256.
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from simulators.house.gadget import Dialect, Gadget, Order, Said

_FIELD = {"contact": "open", "motion": "motion", "smoke": "smoke"}
OPEN, RESTORED, ACKNOWLEDGED, READY, NOT_READY = "609", "610", "500", "650", "651"


class DscIt100(Dialect):
    """A panel and its zones."""

    name: ClassVar[str] = "dsc-it100"
    models: ClassVar[Collection[str]] = frozenset(_FIELD)
    serial: ClassVar[bool] = True
    baud: ClassVar[int] = 9600
    source: ClassVar[str] = "panel"
    profile: ClassVar[str | None] = "dsc-it100"

    def identity(self, gadget: Gadget) -> str:
        """Go by zones."""
        return f"dsc:zone/{gadget.number}"

    def births(self, now_s: float) -> Iterator[Said]:
        """Say how all zones are, as the panel does when it is asked."""
        for gadget in self.gadgets:
            yield from self.say(gadget, (_FIELD[gadget.model],), now_s)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say that a zone opened or restored, and whether the partition is ready."""
        field = _FIELD[gadget.model]
        if field not in changed:
            return
        opened = bool(gadget.state[field])
        yield self._line(OPEN if opened else RESTORED, f"{gadget.number:03d}", gadget,
                         self.facts(gadget, {field: opened}))  # fmt: skip
        all_closed = not any(each.state[_FIELD[each.model]] for each in self.gadgets)
        yield self._line(READY if all_closed else NOT_READY, "1", None, {})

    def hear(self, topic: str, payload: bytes, now_s: float) -> Iterator[Order | Said]:
        """Acknowledge a command; on a request for status say it."""
        command = payload[:3].decode(errors="replace")
        if command.isdecimal():
            yield self._line(ACKNOWLEDGED, command, None, {})
        if command == "001":
            yield from self.births(now_s)

    def _line(
        self, command: str, data: str, gadget: Gadget | None, facts: dict[str, dict[str, bool | float | int | str]]
    ) -> Said:
        text = command + data
        raw = f"{text}{sum(text.encode()) & 0xFF:02X}\r\n".encode()
        return Said("", raw, gadget.name if gadget else "", facts, check=(len(raw) - 3,))
