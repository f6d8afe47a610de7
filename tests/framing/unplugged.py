"""Eight devices that are pulled out and plugged in again under other names, at any moment, for as long as one likes."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from itertools import count
from pathlib import Path
from random import Random

from gateway.clock import SystemClock
from gateway.framing.line import Line
from gateway.sources.serial import SerialSource, SerialSourceOptions
from tests.sources.plugs import Inbox, Plug, Sockets, until

DEVICES = 8
LINES = 600  # of one life, at most
LIFE_S = 2.0


class Stage:
    """The machine, its sources, and which frames must have come of what they read."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = Random(seed)
        self.sockets = Sockets(folder)
        self.inbox = Inbox()
        self.names = count()
        self.lives = 0
        self.expected: list[list[bytes]] = [[] for _ in range(DEVICES)]
        self.sources = [self._source(number) for number in range(DEVICES)]

    def _source(self, number: int) -> SerialSource:
        options = SerialSourceOptions(serial=f"usb:1a86:{number:04x}", profile="any")
        return SerialSource(f"s{number}", options, Line(), SystemClock(), ports=self.sockets.ports)

    async def live(self, number: int, until_s: float) -> None:
        """Live again and again; what was read of each life must come out of it, whole lines only, once."""
        first = 0
        while time.monotonic() < until_s:
            plug, source = Plug(), self.sources[number]
            read_before = source._port.bytes_read
            self.sockets.plug(plug, f"ttyUSB{next(self.names)}", f"1a86:{number:04x}", place=f"1-{number}")
            await until(lambda source=source: source._port.open)
            lines = range(first, first + self.random.randint(1, LINES))
            data = b"".join(b"%d;1;1;0;0;%d.5\r\n" % (each, each % 40) for each in lines)
            first += LINES
            await self._speak(plug, source, data[: self.random.randint(1, len(data))])
            self.sockets.unplug(plug)
            await until(lambda source=source: not source._port.open)
            read = data[: source._port.bytes_read - read_before]
            self.expected[number] += [line.rstrip(b"\r") for line in read.split(b"\n")[:-1]]
            self.lives += 1

    async def _speak(self, plug: Plug, source: SerialSource, data: bytes) -> None:
        random, stop = self.random, time.monotonic() + self.random.random() * LIFE_S
        while data and time.monotonic() < stop:
            data = data[plug.send(data[: random.randint(1, 3000)]) :]
            if random.random() < 0.3:
                await asyncio.sleep(0)
            if random.random() < 0.02:
                source.pause()
                await asyncio.sleep(0.01)
                source.resume()
        await asyncio.sleep(random.choice([0.0, 0.0, random.random() * 0.05]))

    async def run(self, seconds: float) -> None:
        """Run all devices."""
        reading = [asyncio.create_task(source.run(self.inbox)) for source in self.sources]
        until_s = time.monotonic() + seconds
        try:
            await asyncio.gather(*(self.live(number, until_s) for number in range(DEVICES)))
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)


def unplugged(seconds: float, seed: int) -> tuple[int, int, int]:
    """Return how often a device was pulled out, how many lines came, and how many devices' lines are not right."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), seed)
        asyncio.run(stage.run(seconds))
    frames = [stage.inbox.frames.get(f"s{number}", []) for number in range(DEVICES)]
    wrong = sum(came != expected for came, expected in zip(frames, stage.expected, strict=True))
    return stage.lives, sum(map(len, frames)), wrong
