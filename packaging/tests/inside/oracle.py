"""The other side's books: a device that counts what was acknowledged, a cloud that counts what came.

Runs in the machine with its own Python and shares nothing with the gateway: MQTT 3.1.1 from the specification, standard
library only. ``publish`` sends numbers at QoS 1 over restarts of the other side, ``subscribe`` and ``collect`` note
the numbers that a broker got, ``judge`` compares the two.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time
from pathlib import Path

DEVICES = 20
WINDOW_MAX = 200  # messages in flight
READ_BYTES = 65536
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ = 1, 2, 3, 4, 8, 9, 12
REDIAL_S = 0.1
PING_S = 10.0


def text(words: str) -> bytes:
    """Encode a string (1.5.3)."""
    return struct.pack(">H", len(words.encode())) + words.encode()


def packet(kind: int, flags: int, body: bytes) -> bytes:
    """Encode a control packet (2.2)."""
    length, rest = b"", len(body)
    while True:
        rest, digit = rest >> 7, rest & 127
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([kind << 4 | flags]) + length + body


class Connection:
    """One persistent session on a blocking socket."""

    def __init__(self, port: int, client: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(30)
        self.rest = b""
        body = text("MQTT") + bytes([4, 0]) + struct.pack(">H", 60) + text(client)
        self.socket.sendall(packet(CONNECT, 0, body))
        kind, _, answer = self.receive()
        if kind != CONNACK or answer[1] != 0:
            raise OSError(f"refused: {answer!r}")

    def receive(self) -> tuple[int, int, bytes]:
        """Read one whole packet."""
        while (found := self.take()) is None:
            data = self.socket.recv(READ_BYTES)
            if not data:
                raise OSError("closed")
            self.rest += data
        return found

    def take(self) -> tuple[int, int, bytes] | None:
        """Take one packet from what has come."""
        length, place = 0, 1
        while place < len(self.rest) and place <= 4:
            length |= (self.rest[place] & 127) << 7 * (place - 1)
            place += 1
            if not self.rest[place - 1] & 128:
                break
        else:
            return None
        if len(self.rest) < place + length:
            return None
        head, body, self.rest = self.rest[0], self.rest[place : place + length], self.rest[place + length :]
        return head >> 4, head & 15, body

    def waiting(self, seconds: float) -> bool:
        """Return whether something can be read."""
        return bool(self.rest and self.take_back()) or bool(select.select([self.socket], [], [], seconds)[0])

    def take_back(self) -> bool:
        """Return whether a whole packet is in memory already."""
        kept = self.rest
        found = self.take()
        self.rest = kept
        return found is not None


def publish(words: argparse.Namespace) -> None:
    """Send numbers until `count` are acknowledged, or until the file `until` is there; note each that was."""
    number, flying, acknowledged = words.first, {}, 0
    end = words.first + words.count
    started = time.monotonic()
    with words.ledger.open("a") as ledger:
        while True:
            try:
                link = Connection(words.port, "oracle-device")
                for identifier, (n, _) in list(flying.items()):  # again, in order, as 4.4 demands
                    link.socket.sendall(message(n, identifier, duplicate=True))
                while True:
                    stop = words.until is not None and words.until.exists()
                    while not stop and number < end and len(flying) < words.window:
                        if words.rate and number - words.first > (time.monotonic() - started) * words.rate:
                            break
                        identifier = number % 65000 + 1
                        flying[identifier] = (number, False)
                        link.socket.sendall(message(number, identifier, duplicate=False))
                        number += 1
                    if not flying and (stop or number >= end):
                        print(json.dumps({"acknowledged": acknowledged, "seconds": time.monotonic() - started}))
                        return
                    if not link.waiting(0.05 if words.rate or stop else 30):
                        continue
                    kind, _, body = link.receive()
                    if kind == PUBACK and (found := flying.pop(struct.unpack(">H", body[:2])[0], None)):
                        ledger.write(f"{found[0]}\n")
                        acknowledged += 1
                        if acknowledged % 1000 == 0:
                            ledger.flush()
            except OSError:
                ledger.flush()
                if words.until is not None and words.until.exists():
                    return  # nobody listens any more: what was not acknowledged is not claimed
                time.sleep(REDIAL_S)


def message(number: int, identifier: int, *, duplicate: bool) -> bytes:
    """Encode one number as a device's message."""
    body = text(f"oracle/meter-{number % DEVICES}/reading") + struct.pack(">H", identifier)
    return packet(PUBLISH, 2 | (8 if duplicate else 0), body + json.dumps({"n": number}).encode())


def subscribe(words: argparse.Namespace) -> None:
    """Have a broker keep everything for the collector from now on; it must do so before anybody sends."""
    link = Connection(words.port, "oracle-cloud")
    link.socket.sendall(packet(SUBSCRIBE, 2, struct.pack(">H", 1) + text("#") + b"\x01"))
    while link.receive()[0] != SUBACK:
        continue


def collect(words: argparse.Namespace) -> None:
    """Note the number in each event that comes to a broker; for ever."""
    with words.out.open("a") as out:
        while True:
            try:
                link = Connection(words.port, "oracle-cloud")
                link.socket.sendall(packet(SUBSCRIBE, 2, struct.pack(">H", 1) + text("#") + b"\x01"))
                pinged = time.monotonic()
                while True:
                    if not link.waiting(1):
                        out.flush()
                        if time.monotonic() - pinged > PING_S:
                            link.socket.sendall(packet(PINGREQ, 0, b""))
                            pinged = time.monotonic()
                        continue
                    kind, flags, body = link.receive()
                    if kind != PUBLISH:
                        continue
                    (length,) = struct.unpack(">H", body[:2])
                    payload = body[2 + length :]
                    if flags & 6:
                        link.socket.sendall(packet(PUBACK, 0, payload[:2]))
                        payload = payload[2:]
                    number = json.loads(payload).get("data", {}).get("energy")
                    if number is not None:
                        out.write(f"{number:.0f}\n")
            except OSError:
                out.flush()
                time.sleep(REDIAL_S)


def judge(words: argparse.Namespace) -> None:
    """Wait until everything acknowledged has come, at most `wait` seconds; print what is missing."""
    end = time.monotonic() + words.wait
    while True:
        ledger = set(map(int, words.ledger.read_text().split()))
        came = list(map(int, words.out.read_text().split())) if words.out.exists() else []
        missing = ledger - set(came)
        if not missing or time.monotonic() > end:
            break
        time.sleep(1)
    counts = {"acknowledged": len(ledger), "came": len(came), "twice": len(came) - len(set(came))}
    print(json.dumps({**counts, "missing": len(missing), "first_missing": sorted(missing)[:10]}))
    sys.exit(1 if missing or not ledger else 0)


def main() -> None:
    """Do one of the three."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    sender = verbs.add_parser("publish")
    sender.add_argument("--port", type=int, default=1883)
    sender.add_argument("--first", type=int, default=0)
    sender.add_argument("--count", type=int, default=10**9)
    sender.add_argument("--rate", type=float, default=0)
    sender.add_argument("--window", type=int, default=WINDOW_MAX)
    sender.add_argument("--until", type=Path, default=None)
    sender.add_argument("--ledger", type=Path, default=Path("/var/lib/oracle/acknowledged"))
    sender.set_defaults(run=publish)
    early = verbs.add_parser("subscribe")
    early.add_argument("--port", type=int, default=1885)
    early.set_defaults(run=subscribe)
    receiver = verbs.add_parser("collect")
    receiver.add_argument("--port", type=int, default=1884)
    receiver.add_argument("--out", type=Path, default=Path("/var/lib/oracle/came"))
    receiver.set_defaults(run=collect)
    comparer = verbs.add_parser("judge")
    comparer.add_argument("--ledger", type=Path, default=Path("/var/lib/oracle/acknowledged"))
    comparer.add_argument("--out", type=Path, default=Path("/var/lib/oracle/came"))
    comparer.add_argument("--wait", type=float, default=120)
    comparer.set_defaults(run=judge)
    words = parser.parse_args()
    words.run(words)


if __name__ == "__main__":
    main()
