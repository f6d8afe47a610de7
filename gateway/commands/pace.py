"""How often a device may be told: a profile's `rate` of a command, as motors and batteries need it. Pure.

The times are of this run: after a restart the first command goes at once.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from gateway.clock import NS_PER_S

PACED_MAX: Final = 10_000  # pairs of a device and a command that are remembered


class Pace:
    """When each device was told last, by command; boot clock."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, str], int] = OrderedDict()

    def too_soon(self, device: str, command: str, rate_s: float, now_ns: int) -> bool:
        """Return whether a command has to wait."""
        before_ns = self._sent.get((device, command))
        return rate_s > 0 and before_ns is not None and now_ns - before_ns < rate_s * NS_PER_S

    def sent(self, device: str, command: str, now_ns: int) -> None:
        """Take note that a device was told."""
        self._sent[device, command] = now_ns
        self._sent.move_to_end((device, command))
        while len(self._sent) > PACED_MAX:
            self._sent.popitem(last=False)
