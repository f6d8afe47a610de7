"""A Modbus bus of twenty units on a pseudo terminal: what a dead unit and one that answers garbage cost the others.

    ./dev bus [--seconds 60] [--period 2] [--baud 9600] [--units 20]

The source is the gateway's own, port and all; the units are simulated and answer at the speed of the line. Run once
with all units good and once with one dead and one that answers garbage: the others' periods (start to start), the
share of the bus that the bad ones took, how long a command takes until it is read back, CPU a poll.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from gateway.clock import SystemClock
from gateway.polling.plan import Poll, Step, Unit, Write, encoded
from gateway.polling.request import Request
from gateway.polling.rtu import Rtu
from gateway.sources.bus import BusOptions, BusSource, UnitOptions
from gateway.sources.source import Delivery
from simulators.modbus import Fault, PtyBus, SimulatedBus, SimulatedUnit

DEAD, GARBAGE = 7, 13
WARM_S = 5.0  # until bad units are known to be bad
WRITE_EVERY_S = 3.0
TIMEOUT_S = 0.5


class Run:
    """One run: polls by unit with their times, writes with how long they took."""

    def __init__(self, words: argparse.Namespace, faults: dict[int, Fault]) -> None:
        self.words = words
        self.times: dict[str, list[float]] = defaultdict(list)
        self.writes: list[float] = []
        self._waiting: dict[str, float] = {}
        devices = [SimulatedUnit(n, dict.fromkeys(range(16), n), fault=faults.get(n, "")) for n in self.addresses]
        self.bus = PtyBus(SimulatedBus(devices), words.baud)
        polls = {n: (Poll("state", words.period, Request(n, 3, 2, 7)),) for n in self.addresses}
        units = [Unit(n, polls[n], timeout_s=TIMEOUT_S) for n in self.addresses]
        said = [UnitOptions(address=n, profile="any") for n in self.addresses]
        options = BusOptions(serial=self.bus.path, baud=words.baud, unit=said)
        self.source = BusSource("bus", options, Rtu(), units, SystemClock())
        self.faults = faults

    @property
    def addresses(self) -> range:
        """Return the addresses on the bus."""
        return range(1, self.words.units + 1)

    def inbox(self, deliveries: Sequence[Delivery]) -> None:
        """Note what came and when."""
        now = time.monotonic()
        for delivery in deliveries:
            address, what = delivery.topic.split("/")[1:]
            if what == "state":
                begun = self._waiting.pop(address, None)
                if begun is not None:
                    self.writes.append(now - begun)
                else:
                    self.times[address].append(now)

    async def run(self) -> None:
        """Poll and write for so many seconds."""
        chance = random.Random(1)
        running = asyncio.create_task(self.source.run(self.inbox))
        cpu, end = time.thread_time(), time.monotonic() + WARM_S + self.words.seconds
        good = [n for n in self.addresses if n not in self.faults]
        while time.monotonic() < end:
            await asyncio.sleep(WRITE_EVERY_S)
            address = chance.choice(good)
            write = Write((Step(6, 4, 1, bytes((0, chance.randrange(17, 30)))),), ("state",))
            self._waiting[str(address)] = time.monotonic()
            if not self.source.send(f"bus/{address}/write", encoded(write)):
                del self._waiting[str(address)]
        self.cpu_s = time.thread_time() - cpu
        self.status = self.source.status()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        self.bus.close()

    def show(self, name: str) -> None:
        """Print the figures."""
        begin = min(times[0] for times in self.times.values()) + WARM_S
        gaps = [b - a for times in self.times.values() for a, b in pairwise(times) if a >= begin]
        counts = [sum(at >= begin for at in times) for times in self.times.values()]
        ordered = sorted(gaps)
        p99 = ordered[int(len(ordered) * 0.99)]
        print(f"{name}: {len(self.times)} good units, period asked {self.words.period:g} s")
        print(f"  kept: p50 {statistics.median(gaps):.3f} s, p99 {p99:.3f} s, max {ordered[-1]:.3f} s;", end=" ")
        print(f"polls a unit {min(counts)} to {max(counts)}")
        print(f"  bus in use {self.status['in_use']:.1%}, lost on bad units {self.status['lost']:.1%}")
        units = self.status["units"]
        assert isinstance(units, dict)
        for address, fault in self.faults.items():
            said = units[str(address)]
            print(f"  unit {address} ({fault}): online {said['online']}, {said['failures']} failures", end=" ")
            print(f"({said['last_error']}), {self.source.lost_s(address):.1f} s of the bus")
        writes = sorted(self.writes)
        print(f"  {len(writes)} writes read back: p50 {statistics.median(writes):.3f} s, max {writes[-1]:.3f} s")
        polls = sum(len(times) for times in self.times.values())
        print(f"  CPU {self.cpu_s / polls * 1e6:.0f} us a poll")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--period", type=float, default=2.0)
    parser.add_argument("--baud", type=int, default=9600)
    parser.add_argument("--units", type=int, default=20)
    words = parser.parse_args()
    bad: dict[int, Fault] = {DEAD: "dead", GARBAGE: "garbage"}
    for name, faults in (("all good", {}), ("one dead, one garbage", bad)):
        run = Run(words, faults)
        asyncio.run(run.run())
        run.show(name)


if __name__ == "__main__":
    main()
