"""What a line costs between a serial port and the inbox: the real source on a pseudo terminal, a writer beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gateway.clock import SystemClock
from gateway.framing.line import Line
from gateway.sources.serial import SerialSource, SerialSourceOptions
from tests.sources.plugs import Plug

LINE = b"20;e5;Oregon BTHR;ID=5a6d;TEMP=00be;HUM=40;BARO=03d7;BAT=OK;" + b"x" * 14 + b"\r\n"  # 80 bytes
WRITER = """import os, sys, time
fd, lines, at_once, pause = int(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
line = sys.argv[2].encode() + b"\\r\\n"
os.set_blocking(fd, True)
for _ in range(lines // at_once):
    data = line * at_once
    while data:
        data = data[os.write(fd, data):]
    time.sleep(pause)
"""


def cost(lines: int, at_once: int, pause_s: float) -> tuple[float, float]:
    """Read so many lines of 80 bytes; return CPU microseconds a line, and lines a second."""
    with tempfile.TemporaryDirectory() as folder:
        plug = Plug(Path(folder) / "port")
        try:
            return asyncio.run(_read(plug, lines, at_once, pause_s))
        finally:
            plug.unplug()


async def _read(plug: Plug, lines: int, at_once: int, pause_s: float) -> tuple[float, float]:
    options = SerialSourceOptions(serial=str(plug.path), profile="any", baud=115_200)
    source, seen, done = SerialSource("port", options, Line(), SystemClock()), [0], asyncio.Event()

    def inbox(deliveries: object) -> None:
        seen[0] += len(deliveries)  # type: ignore[arg-type]
        if seen[0] >= lines:
            done.set()

    task = asyncio.create_task(source.run(inbox))
    while not source.status()["connected"]:
        await asyncio.sleep(0.01)
    os.set_inheritable(plug.master, True)
    words = [str(plug.master), LINE.strip().decode(), str(lines), str(at_once), str(pause_s)]
    cpu, wall = time.process_time(), time.monotonic()
    with subprocess.Popen([sys.executable, "-c", WRITER, *words], close_fds=False):
        await done.wait()
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return cpu / lines * 1e6, lines / wall
