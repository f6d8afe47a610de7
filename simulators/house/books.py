"""The house's time, and its books: what was sent, and what the other side has answered for."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import IO

import msgspec

from simulators.house.house import Sent, line_of

HURT_MAX = 100_000  # damaged and cut messages that are kept, the newest


class Clock:
    """The house's time: seconds from its start, `speed` times as fast as ours."""

    def __init__(self, speed: float = 1.0) -> None:
        """Begin with `go`."""
        self.speed = speed
        self._began = time.monotonic()

    def go(self, began: float | None = None) -> None:
        """Let it be 0 now, or at a monotonic moment."""
        self._began = time.monotonic() if began is None else began

    def now_s(self) -> float:
        """Return the house's time."""
        return (time.monotonic() - self._began) * self.speed

    def until_s(self, moment_s: float) -> float:
        """Return how long that is from now, of our time."""
        return (moment_s - self.now_s()) / self.speed


class Books:
    """What was sent: counts, and the file that the oracle reads."""

    def __init__(self, sent: Path | None = None, record: Path | None = None) -> None:
        """Open the files there are to be."""
        self.sent = self.acknowledged = self.unsent = self.commands = self.damaged = 0
        self.per_dialect: Counter[str] = Counter()
        self.hurt: deque[Sent] = deque(maxlen=HURT_MAX)
        self._file: IO[bytes] | None = sent.open("wb") if sent else None
        self._record: IO[bytes] | None = record.open("wb") if record else None

    def leaves(self, sent: Sent) -> None:
        """Take note of a message on its way."""
        self.sent += 1
        self.per_dialect[sent.dialect] += 1
        if not sent.said.clean:
            self.damaged += 1
            self.hurt.append(sent)
        if self._record:
            self._record.write(line_of(sent))

    def went(self, sent: Sent, written: int) -> None:
        """Take note of how many bytes of a message a line took: a part of it runs into what comes next."""
        if 0 < written < len(sent.said.payload):
            self.hurt.append(replace(sent, said=replace(sent.said, payload=sent.said.payload[:written], clean=False)))

    def settled(self, sent: Sent, *, acked: bool) -> None:
        """Take note of a message that was answered for, or never will be."""
        self.acknowledged += acked
        if self._file and (sent.said.facts or not sent.said.clean):
            row = {"n": sent.number, "at": round(sent.at_s, 3), "device": sent.said.device, "facts": sent.said.facts,
                   "acked": acked, "clean": sent.said.clean}  # fmt: skip
            self._file.write(msgspec.json.encode(row) + b"\n")

    def heard(self, at_s: float, dialect: str, topic: str, payload: bytes) -> None:
        """Take note of a command."""
        self.commands += 1
        if self._record:
            row = {"t": round(at_s, 3), "dialect": dialect, "topic": topic, "heard": payload.decode(errors="replace")}
            self._record.write(msgspec.json.encode(row) + b"\n")

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._record):
            if file:
                file.close()
