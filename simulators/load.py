"""A load generator that is not the bottleneck: packets built before the clock starts, one raw socket, a window.

``python -m simulators.load --url mqtt://127.0.0.1:1883 --count 100000 --rate 1000``

Publishes messages `--first` to `--first` + `--count` of `simulators.traffic` at QoS 1 on a persistent session, as fast
as the other side acknowledges or at a fixed rate.  It survives a restart of the other side: what was not
acknowledged is sent again, in order, with DUP.  Send times go into a table (`--sent`), the last line of output is
one JSON object: ``acknowledged seconds rate reconnects late_max_s cpu_us_per_message``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from simulators import traffic, wire

WINDOW_MAX = 2000  # messages in flight
BURST_MAX = 100  # messages between two looks at the socket
PACKET_IDS = 65_000  # cycled; more than any window
REDIAL_S = 0.05
WAIT_S = 0.05  # how long to wait for the socket at most


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of it."""

    acknowledged: int
    seconds: float
    rate: float
    reconnects: int
    late_max_s: float  # how far behind its schedule a message was sent, at worst
    cpu_us_per_message: float


class Generator:
    """Sends packets in order and counts answers; a PUBACK each, in order, is what MQTT promises (4.6)."""

    def __init__(
        self,
        address: tuple[str, int],
        packets: Sequence[bytes],
        moments: traffic.Moments,
        first: int,
        login: tuple[str, str] | None = None,
    ) -> None:
        """Prepare to send `packets`, whose first is message number `first`; `login` is a user's name and password."""
        self._login = login
        self._address, self._packets, self._moments, self._first = address, packets, moments.values, first
        self._socket: socket.socket | None = None
        self._out = b""
        self._rest = b""
        self.sent = self.acknowledged = self.reconnects = 0
        self._sent_before = 0  # greatest `sent` ever: below it a packet is a duplicate
        self.late_max_s = 0.0

    def dial(self, until: float) -> None:
        """Connect, trying until the monotonic moment `until`; TimeoutError then."""
        while self._socket is None:
            try:
                self._socket = wire.dial(*self._address, client_id="load", clean=False, login=self._login)
                self._socket.setblocking(False)
            except OSError as error:
                if time.monotonic() > until:
                    raise TimeoutError(f"nobody answers at {self._address}: {error}") from error
                time.sleep(REDIAL_S)

    def run(self, rate: float, window: int, limit_s: float) -> Loaded:
        """Send everything; ends when all is acknowledged or `limit_s` has passed."""
        cpu_before_s = _cpu_s()
        start = time.monotonic()
        until = start + limit_s
        while self.acknowledged < len(self._packets) and time.monotonic() < until:
            try:
                self.dial(until)
                self._step(start, rate, window)
            except OSError:
                self._reconnect()
        seconds = time.monotonic() - start
        cpu_us = (_cpu_s() - cpu_before_s) * 1e6
        done = self.acknowledged
        return Loaded(done, seconds, done / seconds, self.reconnects, self.late_max_s, cpu_us / done if done else 0.0)

    def close(self) -> None:
        """Leave politely; the session stays."""
        if self._socket:
            self._socket.setblocking(True)
            self._socket.sendall(wire.DISCONNECT_PACKET)
            self._socket.close()
            self._socket = None

    def _step(self, start: float, rate: float, window: int) -> None:
        """Send what is due and fits, then take what has been answered."""
        connection = self._socket
        assert connection is not None
        total = len(self._packets)
        if not self._out:
            room = min(window - (self.sent - self.acknowledged), total - self.sent, BURST_MAX)
            if rate:
                room = min(room, self._due(start, rate))
            if room > 0:
                self._take(room)
        if self._out:
            with contextlib.suppress(BlockingIOError):
                self._out = self._out[connection.send(self._out) :]
        wait_s = 0.0 if self._out == b"" and not rate and self._has_room(window) else WAIT_S
        if rate and self.sent < total and not self._out and self._has_room(window):
            wait_s = min(WAIT_S, max(0.0, start + self.sent / rate - time.monotonic()))
        readable, _, _ = select.select([connection], [connection] if self._out else [], [], wait_s)
        if readable:
            self._answered(connection.recv(1 << 16))

    def _has_room(self, window: int) -> bool:
        return self.sent < len(self._packets) and self.sent - self.acknowledged < window

    def _due(self, start: float, rate: float) -> int:
        due = int((time.monotonic() - start) * rate) + 1 - self.sent
        self.late_max_s = max(self.late_max_s, (due - 1) / rate)
        return due

    def _take(self, room: int) -> None:
        """Move the next packets to the socket's buffer, with their moment in the table."""
        now_ns, begin, end = time.monotonic_ns(), self.sent, self.sent + room
        for n in range(max(begin, self._sent_before), end):
            self._moments[self._first + n] = now_ns
        packets = self._packets[begin:end]
        if begin < self._sent_before:
            again = self._sent_before - begin
            packets = [*map(wire.as_duplicate, packets[:again]), *packets[again:]]
        self._out = b"".join(packets)
        self.sent = end
        self._sent_before = max(self._sent_before, end)

    def _answered(self, data: bytes) -> None:
        if not data:
            raise ConnectionError("the other side closed")
        self._rest += data
        whole = len(self._rest) // 4
        if self._rest[: whole * 4 : 4].strip(b"\x40"):
            raise ConnectionError("something else than PUBACK")
        self.acknowledged += whole
        self._rest = self._rest[whole * 4 :]

    def _reconnect(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None
        self._out = self._rest = b""
        self.sent = self.acknowledged
        self.reconnects += 1


def prebuilt(first: int, count: int) -> list[bytes]:
    """Build the packets of messages `first` to `first` + `count`."""
    return [wire.publish(*traffic.message(n), n % PACKET_IDS + 1) for n in range(first, first + count)]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Publish a stream of messages and say what it took."""
    options = argparse.ArgumentParser(prog="python -m simulators.load", description=main.__doc__)
    options.add_argument("--url", required=True, help="broker or gateway, mqtt://host:port")
    options.add_argument("--first", type=int, default=0, help="number of the first message")
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: as fast as acknowledged")
    options.add_argument("--window", type=int, default=WINDOW_MAX, help="messages in flight at most")
    options.add_argument("--sent", type=Path, required=True, help="table of send times (monotonic ns), 8 bytes each")
    options.add_argument("--limit", type=float, default=300.0, help="seconds after which to give up")
    options.add_argument("--user", default="", help="log in with this name and the password in $LOAD_PASSWORD")
    options.add_argument("--wait", action="store_true", help="connect, say ready, begin on a line of input")
    arguments = options.parse_args()
    moments = traffic.Moments(arguments.sent, arguments.first + arguments.count)
    packets = prebuilt(arguments.first, arguments.count)
    login = (arguments.user, os.environ.get("LOAD_PASSWORD", "")) if arguments.user else None
    generator = Generator(wire.address_of(arguments.url), packets, moments, arguments.first, login)
    generator.dial(time.monotonic() + arguments.limit)
    if arguments.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    loaded = generator.run(arguments.rate, arguments.window, arguments.limit)
    generator.close()
    print(json.dumps(asdict(loaded)), flush=True)


if __name__ == "__main__":
    main()
