"""A wall clock that a rig bends, for a real gateway: by a preloaded library, or where there is no compiler in Python.

The library (`shim.c`) bends what libc says to the whole program, OpenSSL included, and what the kernel says about its
clock. In Python only what `gateway.clock` asks is bent: ``python -m simulators.clock.bent CLOCK run --config FILE``.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

NS_PER_S: Final = 1_000_000_000
_NUMBERS: Final = struct.Struct("=qq")  # added to the wall clock, ns; whether somebody disciplines it
_SHIM: Final = Path(__file__).with_name("shim.c")


class BentClock:
    """The file that says how a clock is bent, and how to start a program under it."""

    def __init__(self, folder: Path, *, shim: bool) -> None:
        """`shim`: by the library, which is compiled now. CalledProcessError when the compiler does not take it."""
        self.file = folder / "clock"
        self.file.write_bytes(_NUMBERS.pack(0, 0))
        self._library = folder / "shim.so" if shim else None
        if self._library is not None:
            cc = os.environ.get("CC", "cc")
            command = [cc, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(self._library), str(_SHIM)]
            subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - a compiler, our own text

    def bend(self, ahead_s: float, *, synced: bool) -> None:
        """Set the wall clock so far ahead of the true one (behind: below 0), at once."""
        with self.file.open("r+b") as file, mmap.mmap(file.fileno(), _NUMBERS.size) as numbers:
            numbers[:] = _NUMBERS.pack(round(ahead_s * NS_PER_S), synced)

    def to(self, wall_s: float, *, synced: bool) -> None:
        """Set the wall clock to a time, in seconds since 1970."""
        self.bend(wall_s - time.time(), synced=synced)

    def command(self, arguments: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
        """Return a command line for `edge-gateway` and its environment."""
        if self._library is None:
            return [sys.executable, "-m", "simulators.clock.bent", str(self.file), *arguments], dict(os.environ)
        preload = " ".join(filter(None, (str(self._library), os.environ.get("LD_PRELOAD", ""))))
        environment = {**os.environ, "LD_PRELOAD": preload, "BENT_CLOCK": str(self.file)}
        return [sys.executable, "-m", "gateway", *arguments], environment


def compiler() -> bool:
    """Return whether there is a C compiler."""
    return shutil.which(os.environ.get("CC", "cc")) is not None


def main() -> int:
    """Run the gateway with its own clock bent, as `CLOCK` says at each look."""
    from gateway import clock
    from gateway.cli.main import main as run

    file = Path(sys.argv[1])
    true_offset = clock._offset_ns

    clock._offset_ns = lambda: true_offset() + _NUMBERS.unpack(file.read_bytes())[0]
    clock._flagged = lambda: 0
    clock._kernel_synced = lambda: bool(_NUMBERS.unpack(file.read_bytes())[1])
    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
