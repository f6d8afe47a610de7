"""The gateway with a clock that a test moves: ``bent_clock.py CLOCK_FILE --config FILE``.

The file holds two numbers, seconds added to the wall clock and to the boot clock.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.clock import NS_PER_S, SystemClock
from gateway.config.load import load
from gateway.daemon import Daemon, serve


class BentClock(SystemClock):
    """The machine's clock, moved; somebody says that it is right."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def wall_ns(self) -> int:
        """Return the wall clock, moved."""
        return super().wall_ns() + self._moved(0)

    def boot_ns(self) -> int:
        """Return the boot clock, moved."""
        return super().boot_ns() + self._moved(1)

    def synced(self) -> bool:
        """Believe it, wherever it jumps."""
        return True

    def _moved(self, which: int) -> int:
        return round(float(self._file.read_text().split()[which]) * NS_PER_S)


def bend(file: Path, wall_s: float, boot_s: float) -> None:
    """Move the clock."""
    beside = file.with_suffix(".new")
    beside.write_text(f"{wall_s} {boot_s}")
    beside.rename(file)


def main() -> int:
    """Run a gateway."""
    clock = BentClock(Path(sys.argv[1]))
    return serve(load(Path(sys.argv[3])), lambda config: Daemon(config, clock))


if __name__ == "__main__":
    sys.exit(main())
