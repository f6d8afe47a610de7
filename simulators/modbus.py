"""A Modbus RTU bus of simulated units: tables of registers that answer as devices do, and as broken devices do.

Written from the protocol's documents and shares nothing with the gateway, so that the two can disagree.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import threading
import time
import tty
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Fault = Literal["", "dead", "garbage", "bad_checksum", "late", "other_unit", "half"]

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
READ_BYTES = 4096
SILENCE_S = 0.2  # bytes that make no request are forgotten after that


def checksum(content: bytes) -> bytes:
    """CRC-16 as the specification writes it: bit by bit, low byte first."""
    register = 0xFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            odd = register & 1
            register >>= 1
            if odd:
                register ^= 0xA001
    return bytes([register % 256, register // 256])


@dataclass
class SimulatedUnit:
    """One device: its tables, and what is wrong with it."""

    address: int
    holding: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    coils: dict[int, bool] = field(default_factory=dict)
    discretes: dict[int, bool] = field(default_factory=dict)
    fault: Fault = ""
    delay_s: float = 0.0
    allowed: dict[int, range] = field(default_factory=dict)  # values a holding register takes; else exception 3
    asked: Counter[int] = field(default_factory=Counter)  # requests by function
    written: list[tuple[int, int]] = field(default_factory=list)  # register, value

    def obey(self, request: bytes) -> bytes:
        """Return the answer to a whole request of which the checksum is right, without faults."""
        function = request[1]
        self.asked[function] += 1
        start = request[2] * 256 + request[3]
        last = request[4] * 256 + request[5]
        if function in (1, 2):
            return self._bits(function, start, last)
        if function in (3, 4):
            return self._registers(function, start, last)
        if function == 5:
            if start not in self.coils:
                return self._refuse(function, ILLEGAL_ADDRESS)
            self.coils[start] = last == 0xFF00
            self.written.append((start, int(last == 0xFF00)))
            return self._sealed(request[:6])
        if function == 6:
            return self._store(function, start, [last]) or self._sealed(request[:6])
        if function == 16:
            values = [request[at] * 256 + request[at + 1] for at in range(7, 7 + request[6], 2)]
            return self._store(function, start, values) or self._sealed(request[:6])
        return self._refuse(function, ILLEGAL_FUNCTION)

    def _bits(self, function: int, start: int, count: int) -> bytes:
        table = self.coils if function == 1 else self.discretes
        if any(number not in table for number in range(start, start + count)):
            return self._refuse(function, ILLEGAL_ADDRESS)
        packed = bytearray((count + 7) // 8)
        for offset in range(count):
            if table[start + offset]:
                packed[offset // 8] |= 1 << offset % 8
        return self._sealed(bytes([self.address, function, len(packed)]) + bytes(packed))

    def _registers(self, function: int, start: int, count: int) -> bytes:
        table = self.holding if function == 3 else self.inputs
        if any(number not in table for number in range(start, start + count)):
            return self._refuse(function, ILLEGAL_ADDRESS)
        values = b"".join(bytes([table[n] // 256, table[n] % 256]) for n in range(start, start + count))
        return self._sealed(bytes([self.address, function, len(values)]) + values)

    def _store(self, function: int, start: int, values: list[int]) -> bytes:
        """Write registers; returns a refusal, or nothing."""
        for number, value in enumerate(values, start=start):
            if number not in self.holding:
                return self._refuse(function, ILLEGAL_ADDRESS)
            if number in self.allowed and value not in self.allowed[number]:
                return self._refuse(function, ILLEGAL_VALUE)
        for number, value in enumerate(values, start=start):
            self.holding[number] = value
            self.written.append((number, value))
        return b""

    def _refuse(self, function: int, code: int) -> bytes:
        return self._sealed(bytes([self.address, function + 128, code]))

    @staticmethod
    def _sealed(content: bytes) -> bytes:
        return content + checksum(content)


class SimulatedBus:
    """The units on one line: bytes of a master in, bytes of units out (with the seconds they take)."""

    def __init__(self, units: list[SimulatedUnit], seed: int = 1) -> None:
        self.units = {unit.address: unit for unit in units}
        self.strangers = 0  # bytes that belong to no request
        self._pending = b""
        self._random = random.Random(seed)

    def feed(self, data: bytes) -> list[tuple[float, bytes]]:
        """Take what a master sent; returns answers and when they come."""
        self._pending += data
        answers = []
        while (request := self._request()) is not None:
            if request[0] == 0:
                for unit in self.units.values():
                    unit.obey(request)
            elif request[0] in self.units:
                answers += self._answer(self.units[request[0]], request)
        return answers

    def forget(self) -> None:
        """Drop what is no whole request: the line was silent."""
        self.strangers += len(self._pending)
        self._pending = b""

    def _request(self) -> bytes | None:
        """Cut the next whole request off; bytes before it are passed over."""
        for at in range(len(self._pending) - 7):
            length = 8
            if self._pending[at + 1] in (15, 16):
                length = 9 + self._pending[at + 6]
            frame = self._pending[at : at + length]
            if len(frame) == length and checksum(frame[:-2]) == frame[-2:]:
                self.strangers += at
                self._pending = self._pending[at + length :]
                return frame
        return None

    def _answer(self, unit: SimulatedUnit, request: bytes) -> list[tuple[float, bytes]]:
        if unit.fault == "dead":
            unit.asked[request[1]] += 1
            return []
        answer = unit.obey(request)
        if unit.fault == "garbage":
            answer = self._random.randbytes(self._random.randint(1, 40))
        elif unit.fault == "bad_checksum":
            answer = answer[:-1] + bytes([answer[-1] ^ 0x55])
        elif unit.fault == "half":
            answer = answer[: len(answer) // 2]
        elif unit.fault == "other_unit":
            content = bytes([unit.address % 247 + 1]) + answer[1:-2]
            answer = content + checksum(content)
        return [(unit.delay_s, answer)]


class PtyBus:
    """A bus on a pseudo terminal: `path` is what a gateway opens. End it with `close`."""

    def __init__(self, bus: SimulatedBus, baud: int = 0) -> None:
        """Begin to answer in a thread. With `baud` answers take the time they would take on a wire."""
        self.bus = bus
        self.lock = threading.Lock()  # hold it to look at units, or to change them
        self._character_s = 10 / baud if baud else 0.0
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.path = os.ttyname(self._theirs)
        os.set_blocking(self._ours, False)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"bus {self.path}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._end.is_set():
            readable, _, _ = select.select([self._ours], [], [], SILENCE_S)
            try:
                data = os.read(self._ours, READ_BYTES) if readable else b""
            except BlockingIOError:
                continue
            except OSError:
                return
            with self.lock:
                if not data:
                    self.bus.forget()
                answers = self.bus.feed(data)
            for delay_s, answer in answers:
                time.sleep(delay_s + self._character_s * (len(answer) + len(data)))
                with contextlib.suppress(OSError):
                    os.write(self._ours, answer)

    def close(self) -> None:
        """Unplug it."""
        self._end.set()
        self._thread.join(timeout=5)
        for descriptor in (self._ours, self._theirs):
            with contextlib.suppress(OSError):
                os.close(descriptor)
