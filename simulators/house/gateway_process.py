"""The gateway beside a simulated house, on the house's clock.

``python -m simulators.house.gateway_process STAGE CONFIG``.  STAGE is a JSON file: ``start_s`` (Unix time at which the
house begins), ``speed``, ``go`` (the monotonic moment at which it does, null before), ``slow_s`` (what each sync of the
disk takes longer).  Until it goes the clock stands shortly
before the start, so that a gateway that takes its time to start is not late; wall and boot clock move together, as when
a machine was asleep.  Only its clock is faster: waits for answers and links are real ones.
Beside STAGE it writes how many objects Python has allocated, a number in the file ``objects``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from gateway.clock import NS_PER_S, SystemClock
from gateway.config.load import load
from gateway.daemon import Daemon, serve
from gateway.forward import answered
from gateway.journal.disk import OsDisk
from gateway.rules.worker import timekeeper

BEFORE_S = 120.0  # so long before the start the clock stands at most while nothing goes
BOOT_S = 1_000_000.0
LOOK_S = 0.05  # how often the file is looked at
TIMERS_S = 0.05  # how often timers are looked at, in real time
COUNT_S = 1.0  # how often objects are counted
ANSWERS_MAX = 200  # of a route that are kept: as many as come in a minute, so that memory is level soon


class Stage:
    """The file, as it was a moment ago."""

    def __init__(self, file: Path) -> None:
        """Read it for the first time."""
        self._file = file
        self._looked = -LOOK_S
        self._began = time.monotonic()
        self._read()

    def _read(self) -> None:
        said = json.loads(self._file.read_text())
        self.start_s, self.speed = float(said["start_s"]), float(said["speed"])
        self._go: float | None = said["go"]
        self._slow_s = float(said["slow_s"])

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            self._read()

    @property
    def slow_s(self) -> float:
        """Return how much longer the disk takes now."""
        self._look()
        return self._slow_s

    def passed_s(self) -> float:
        """Return the house's time."""
        self._look()
        now = time.monotonic()
        if self._go is None or now < self._go:
            return -BEFORE_S + min(now - self._began, BEFORE_S / 2)
        return (now - self._go) * self.speed


class StageClock(SystemClock):
    """The house's time as wall and boot clock."""

    def __init__(self, stage: Stage) -> None:
        """Show the time of a stage."""
        super().__init__(trusted=True)
        self._stage = stage

    def wall_ns(self) -> int:
        """Return the wall clock of the house."""
        return round((self._stage.start_s + self._stage.passed_s()) * NS_PER_S)

    def boot_ns(self) -> int:
        """Return the boot clock, which goes as fast."""
        return round((BOOT_S + self._stage.passed_s()) * NS_PER_S)


def slow_down(stage: Stage) -> None:
    """Have every sync of the disk take as much longer as the stage says."""
    quick = OsDisk.fdatasync

    def fdatasync(self: OsDisk, handle: int) -> None:
        if stage.slow_s:
            time.sleep(stage.slow_s)
        quick(self, handle)

    OsDisk.fdatasync = fdatasync  # type: ignore[method-assign] # the one place all writes go through


def count(file: Path) -> None:
    """Write how many objects there are, again and again."""
    beside = file.with_suffix(".new")
    while True:
        beside.write_text(str(sys.getallocatedblocks()))
        beside.rename(file)
        time.sleep(COUNT_S)


def main() -> int:
    """Run a gateway."""
    stage = Stage(Path(sys.argv[1]))
    threading.Thread(target=count, args=(Path(sys.argv[1]).with_name("objects"),), daemon=True).start()
    slow_down(stage)
    timekeeper.TIMER_CHECK_S_MAX = TIMERS_S
    answered.SENDINGS_MAX = ANSWERS_MAX
    return serve(load(Path(sys.argv[2])), lambda config: Daemon(config, StageClock(stage)))


if __name__ == "__main__":
    sys.exit(main())
