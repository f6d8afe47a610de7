"""neolink (Reolink cameras): `neolink/<camera>/status/motion` on or off, previews as base64 text, battery level.

https://github.com/QuantumEntangledAndy/neolink
"""

# ruff: noqa: ARG002 - every dialect is given what any of them needs

from __future__ import annotations

import base64
import random
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from simulators.house.dialects.frigate import JPEG_HEAD, JPEG_TAIL
from simulators.house.gadget import Dialect, Gadget, Said


class Neolink(Dialect):
    """One program with its cameras."""

    name: ClassVar[str] = "neolink"
    models: ClassVar[Collection[str]] = frozenset({"camera"})

    def identity(self, gadget: Gadget) -> str:
        """Go by cameras."""
        return f"neolink:{gadget.name}"

    def will(self) -> Said:
        """Have the broker say that it is gone."""
        return Said("neolink/status", b"disconnected", "", retain=True)

    def births(self, now_s: float) -> Iterator[Said]:
        """Say connected."""
        yield Said("neolink/status", b"connected", "", retain=True)
        for gadget in self.gadgets:
            yield from self.back(gadget)

    def back(self, gadget: Gadget) -> Iterator[Said]:
        """Say connected."""
        yield Said(f"neolink/{gadget.name}/status", b"connected", gadget.name, retain=True)

    def gone(self, gadget: Gadget) -> Iterator[Said]:
        """Say disconnected."""
        yield Said(f"neolink/{gadget.name}/status", b"disconnected", gadget.name, retain=True)

    def say(self, gadget: Gadget, changed: Collection[str], now_s: float) -> Iterator[Said]:
        """Say motion; a preview when there is something to see."""
        name, top = gadget.name, f"neolink/{gadget.name}/status"
        if "motion" in changed:
            facts = self.facts(gadget, {"motion": gadget.state["motion"]})
            yield Said(f"{top}/motion", b"on" if gadget.state["motion"] else b"off", name, facts)
        if "object" in changed:
            picture = JPEG_HEAD + random.Random(f"{name}/{gadget.sent}").randbytes(300) + JPEG_TAIL
            yield Said(f"{top}/preview", base64.b64encode(picture), name)
        if gadget.battery is not None:
            level = round(gadget.battery)
            yield Said(f"{top}/battery_level", str(level).encode(), name, self.facts(gadget, {"battery": level}))

    def filters(self) -> Sequence[str]:
        """Hear controls; a camera that turns says nothing about it."""
        return ("neolink/+/control/#",)
