"""A master and a simulated bus under a virtual clock: hours of a bus in a moment, the same each time."""

from __future__ import annotations

import heapq

from gateway.polling.master import Line, Master
from gateway.polling.outcome import Outcome, Polled, Presence, Written
from gateway.polling.plan import Poll, Unit
from gateway.polling.request import Request, Wire
from gateway.polling.rtu import Rtu
from simulators.heatmiser import HeatmiserBus
from simulators.modbus import SimulatedBus, SimulatedUnit

STEPS_MAX = 2_000_000


def unit(address: int, period_s: float = 10.0, *, count: int = 7, **more: object) -> Unit:
    """Return a unit with one poll of holding registers from 2."""
    return Unit(address, (Poll("state", period_s, Request(address, 3, 2, count)),), **more)  # type: ignore[arg-type]


def device(address: int, **more: object) -> SimulatedUnit:
    """Return a simulated thermostat: registers 0 to 15."""
    return SimulatedUnit(address, holding={n: address * 100 + n for n in range(16)}, **more)  # type: ignore[arg-type]


class Bench:
    """Runs a master against a bus; every outcome with its time is in `log`."""

    def __init__(
        self,
        units: list[Unit],
        devices: list[SimulatedUnit] | HeatmiserBus,
        line: Line | None = None,
        wire: Wire | None = None,
    ) -> None:
        self.now_s = 1000.0
        self.line = line or Line(9600)
        self.master = Master(wire or Rtu(), units, self.line, self.now_s)
        self.bus = SimulatedBus(devices) if isinstance(devices, list) else devices
        self.log: list[tuple[float, Outcome]] = []
        self.sent: list[tuple[float, bytes]] = []
        self.idle_until_s = 0.0  # when the last byte on the line was over
        self.silences: list[float] = []  # before each request
        self._coming: list[tuple[float, int, bytes]] = []
        self._count = 0

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_s = self.now_s + seconds
        for _ in range(STEPS_MAX):
            frame = self.master.step(self.now_s)
            if frame is not None:
                self._send(frame)
            self._take()
            wake_s = self.master.wake_s(self.now_s)
            next_s = min(wake_s, self._coming[0][0] if self._coming else wake_s)
            if next_s > end_s:
                break
            self.now_s = max(self.now_s, next_s)
            while self._coming and self._coming[0][0] <= self.now_s:
                _, _, data = heapq.heappop(self._coming)
                self.idle_until_s = max(self.idle_until_s, self.now_s)
                self.master.feed(data, self.now_s)
                self._take()
        else:
            raise AssertionError("the master does not get on")
        self.now_s = end_s

    def inject(self, after_s: float, data: bytes) -> None:
        """Let bytes come that nobody asked for."""
        self._count += 1
        heapq.heappush(self._coming, (self.now_s + after_s, self._count, data))

    def _send(self, frame: bytes) -> None:
        self.sent.append((self.now_s, frame))
        self.silences.append(self.now_s - self.idle_until_s)
        on_line_s = len(frame) * self.line.character_s
        self.idle_until_s = self.now_s + on_line_s
        for delay_s, answer in self.bus.feed(frame):
            self.inject(on_line_s + delay_s + len(answer) * self.line.character_s, answer)

    def _take(self) -> None:
        while self.master.outcomes:
            self.log.append((self.now_s, self.master.outcomes.popleft()))

    def polled(self, address: int) -> list[float]:
        """Return when a unit's values came."""
        return [at_s for at_s, each in self.log if isinstance(each, Polled) and each.address == address]

    def presence(self, address: int) -> list[bool]:
        """Return what was said of a unit's presence."""
        return [each.online for _, each in self.log if isinstance(each, Presence) and each.address == address]

    def written(self) -> list[tuple[str, str]]:
        """Return what became of writes: command, why not."""
        return [(each.write.command, each.refused) for _, each in self.log if isinstance(each, Written)]
