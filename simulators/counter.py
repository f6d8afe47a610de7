"""The sink of a load run: counts what arrives at the cloud, and commands at the edge, for 3 us a message.

``python -m simulators.counter --cloud mqtt://127.0.0.1:1884 --arrived FILE --count 100000``

It looks for ``"temperature":<number>`` in a payload, wherever a gateway put it and however many are in one message,
reads from its decimals which message that was (`traffic.number_in`), and writes the moment of each first arrival
into a table. Totals are in the same file, in front (`Totals`), so that a parent can look while it runs.
"""

from __future__ import annotations

import argparse
import re
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from simulators import traffic, wire

REDIAL_S = 0.1
RECEIVE_BYTES = 1 << 18
TOTALS = ("unique", "received", "repeats", "out_of_order", "commands", "connected")
_TEMPERATURE = re.compile(rb'"temperature": ?([\d.]+)')
_UNIQUE, _RECEIVED, _REPEATS, _OUT_OF_ORDER, _COMMANDS, _CONNECTED = range(len(TOTALS))


@dataclass(frozen=True, slots=True)
class Totals:
    """What has arrived so far; `connected` counts subscriptions that stand."""

    unique: int
    received: int
    repeats: int
    out_of_order: int
    commands: int
    connected: int


class Table:
    """The shared file: the totals, then the moment of first arrival of each message."""

    def __init__(self, path: Path, count: int) -> None:
        """Map `path` for `count` messages."""
        values = traffic.Moments(path, len(TOTALS) + count).values
        self.head, self.arrived = values[: len(TOTALS)], values[len(TOTALS) :]

    def totals(self) -> Totals:
        """Read the totals as they are now."""
        return Totals(*self.head)


class Counter:
    """Subscribes at the cloud (and for commands at the edge), dials again for ever."""

    def __init__(self, table: Table, places: dict[str, tuple[tuple[str, int], str]]) -> None:
        """Count into `table`; `places` is {"cloud" or "edge": (address, topic filter)}."""
        self._head, self._arrived, self._places = table.head, table.arrived, places
        self._latest = [-1] * traffic.DEVICES
        self._selector = selectors.DefaultSelector()
        self._rest: dict[str, bytes] = {}

    def run(self) -> None:
        """Count until the process is ended."""
        dial_at = 0.0
        while True:
            if len(self._rest) < len(self._places) and time.monotonic() > dial_at:
                dial_at = time.monotonic() + REDIAL_S
                for place in self._places.keys() - self._rest.keys():
                    self._dial(place)
            for key, _ in self._selector.select(REDIAL_S):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    self._receive(connection, key.data)
                except OSError:
                    self._selector.unregister(connection)
                    connection.close()
                    del self._rest[key.data]
                    self._head[_CONNECTED] = len(self._rest)

    def _dial(self, place: str) -> None:
        address, topic_filter = self._places[place]
        try:
            connection = wire.dial(*address, client_id=f"counter-{place}", clean=False, subscribe_to=topic_filter)
        except OSError:
            return
        self._selector.register(connection, selectors.EVENT_READ, place)
        self._rest[place] = b""

    def _receive(self, connection: socket.socket, place: str) -> None:
        chunk = connection.recv(RECEIVE_BYTES)
        if not chunk:
            raise ConnectionError("the broker closed")
        buffer, used = self._rest[place] + chunk, 0
        now_ns, acks = time.monotonic_ns(), []
        for first, start, end in wire.packets(buffer):
            used = end
            if first & 0xF0 == wire.SUBACK:
                self._head[_CONNECTED] = len(self._rest)
            if first & 0xF0 != wire.PUBLISH:
                continue
            body = start + 2 + (buffer[start] << 8 | buffer[start + 1])
            if first & 0x06:
                acks.append(b"\x40\x02" + buffer[body : body + 2])
            if place == "edge":
                self._head[_COMMANDS] += 1
                continue
            for found in _TEMPERATURE.finditer(buffer, body, end):
                self._count(traffic.number_in(float(found.group(1))), now_ns)
        self._rest[place] = buffer[used:]
        if acks:
            connection.sendall(b"".join(acks))

    def _count(self, n: int, now_ns: int) -> None:
        head = self._head
        head[_RECEIVED] += 1
        if n >= len(self._arrived):
            return
        if self._arrived[n]:
            head[_REPEATS] += 1
            return
        self._arrived[n] = now_ns
        head[_UNIQUE] += 1
        device = n % traffic.DEVICES
        if n < self._latest[device]:
            head[_OUT_OF_ORDER] += 1
        else:
            self._latest[device] = n


def main() -> None:
    """Count until SIGTERM."""
    options = argparse.ArgumentParser(prog="python -m simulators.counter", description=main.__doc__)
    options.add_argument("--cloud", required=True, help="broker to count at, mqtt://host:port")
    options.add_argument("--edge", help="broker (or gateway) to count commands at")
    options.add_argument("--topic", default="#", help="topic filter at the cloud")
    options.add_argument("--arrived", type=Path, required=True, help="the shared table")
    options.add_argument("--count", type=int, required=True, help="messages the table has room for")
    arguments = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    places = {"cloud": (wire.address_of(arguments.cloud), arguments.topic)}
    if arguments.edge:
        places["edge"] = (wire.address_of(arguments.edge), traffic.COMMAND_FILTER)
    Counter(Table(arguments.arrived, arguments.count), places).run()


if __name__ == "__main__":
    main()
