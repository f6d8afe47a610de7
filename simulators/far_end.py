"""The far end: what the cloud really got, judged apart from the gateway.

`Judge` is pure: it is shown every CloudEvent that arrived and says, at the end, against what the devices were
acknowledged for, what was lost, repeated, named twice or out of order.  `FarEnd` feeds it from a broker through a
raw socket with a persistent session, so that a broker that is stopped and started loses nothing on this side.

A *reading* is (device, counter): devices count their messages from 1 and the profile carries the counter into
the event's data.  One reading is one event; then

* lost           a reading that was acknowledged to the device and never arrived,
* repeats        arrivals of an event id that had arrived before,
* two_ids        readings that arrived under more than one event id,
* out_of_order   first arrivals behind a later reading of the same device,
* unexpected     readings that nobody was acknowledged for,
* unread         events without a reading (the gateway's own: heartbeats, alerts).

A message that the *cloud broker* hands over again after a reconnect (MQTT's DUP flag, set per hop) is its business
and no repeat of the gateway's.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from simulators import wire

REDIAL_S = 0.05
RECEIVE_BYTES = 1 << 18
EXAMPLES_MAX = 10  # of each fault, named in the report

Reading = tuple[str, int]


def reading_in_data(key: str = "counter") -> Callable[[Mapping[str, Any]], Reading | None]:
    """Return the usual way to find a reading: the subject, and an integer in ``data.<key>``."""

    def find(event: Mapping[str, Any]) -> Reading | None:
        data = event.get("data")
        value = data.get(key) if isinstance(data, dict) else None
        return (str(event.get("subject", "")), int(value)) if isinstance(value, int | float) else None

    return find


@dataclass(frozen=True, slots=True)
class Findings:
    """The verdict over a run; `examples` names the first of each fault."""

    received: int
    unique_ids: int
    readings: int
    repeats: int
    two_ids: int
    out_of_order: int
    missing: int
    unexpected: int
    unread: int
    handed_over_again: int
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Return whether nothing was lost, made up, named twice or out of order (repeats of an id may be)."""
        return not (self.missing or self.unexpected or self.two_ids or self.out_of_order)


class Judge:
    """Keeps what arrived. Not thread-safe: one thread shows, another may read the plain counters."""

    def __init__(
        self,
        find: Callable[[Mapping[str, Any]], Reading | None] | None = None,
        unordered: Collection[str] = (),
    ) -> None:
        """Judge readings found by `find` (default: ``data.counter``); of `unordered` devices any order will do."""
        self._find = find or reading_in_data()
        self._unordered = frozenset(unordered)
        self.received = 0
        self.repeats = 0
        self.out_of_order = 0
        self.unread = 0
        self.handed_over_again = 0
        self.first_ns = self.last_ns = 0
        self.repeat_times_ns: list[int] = []
        self._times_ns: list[int] = []  # of messages, each moment once: one for a read of the socket
        self._ids: set[str] = set()
        self._ids_of: dict[Reading, str | list[str]] = {}
        self._latest: dict[str, int] = {}
        self._disorder: list[str] = []
        self._unread_types: Counter[str] = Counter()

    @property
    def readings(self) -> int:
        """Return how many different readings have arrived."""
        return len(self._ids_of)

    def show(self, payload: bytes, at_ns: int, handed_over_again: bool = False) -> None:
        """Take one MQTT message: a CloudEvent in structured JSON, or a batch (a JSON array) of them."""
        document = msgspec.json.decode(payload)
        if not self._times_ns or self._times_ns[-1] != at_ns:
            self._times_ns.append(at_ns)
        for event in document if isinstance(document, list) else (document,):
            self._take(event, at_ns, handed_over_again)

    def findings(self, acknowledged: Mapping[str, int] | None = None) -> Findings:
        """Judge against what each device was acknowledged for: its readings 1 to n.

        Devices are named by their event subject. Without `acknowledged` nothing is missing or unexpected.
        """
        wanted = {(device, n): None for device, count in (acknowledged or {}).items() for n in range(1, count + 1)}
        lost = [reading for reading in wanted if reading not in self._ids_of]
        made_up = [reading for reading in self._ids_of if reading not in wanted] if acknowledged else []
        doubled = [(reading, ids) for reading, ids in self._ids_of.items() if isinstance(ids, list)]
        return Findings(
            received=self.received,
            unique_ids=len(self._ids),
            readings=len(self._ids_of),
            repeats=self.repeats,
            two_ids=len(doubled),
            out_of_order=self.out_of_order,
            missing=len(lost),
            unexpected=len(made_up),
            unread=self.unread,
            handed_over_again=self.handed_over_again,
            examples={
                "missing": [f"{device} #{n}" for device, n in lost[:EXAMPLES_MAX]],
                "unexpected": [f"{device} #{n}" for device, n in made_up[:EXAMPLES_MAX]],
                "two_ids": [f"{device} #{n}: {', '.join(ids)}" for (device, n), ids in doubled[:EXAMPLES_MAX]],
                "out_of_order": self._disorder[:EXAMPLES_MAX],
                "unread": [f"{kind}: {count}" for kind, count in self._unread_types.most_common(EXAMPLES_MAX)],
            },
        )

    def repeats_between(self, moments_ns: Sequence[int]) -> list[int]:
        """Count the repeats before, between and behind `moments_ns` (sorted): len + 1 numbers."""
        counts = [0] * (len(moments_ns) + 1)
        for at_ns in self.repeat_times_ns:
            counts[bisect_right(moments_ns, at_ns)] += 1
        return counts

    def arrivals_after(self, moments_ns: Sequence[int]) -> list[int | None]:
        """Return for each moment when the first message behind it arrived."""
        found = (bisect_right(self._times_ns, moment) for moment in moments_ns)
        return [self._times_ns[at] if at < len(self._times_ns) else None for at in found]

    def _take(self, event: Mapping[str, Any], at_ns: int, handed_over_again: bool) -> None:
        event_id = str(event["id"])
        seen = event_id in self._ids
        if seen and handed_over_again:
            self.handed_over_again += 1
            return
        self.received += 1
        self.first_ns = self.first_ns or at_ns
        self.last_ns = at_ns
        if seen:
            self.repeats += 1
            self.repeat_times_ns.append(at_ns)
            return
        self._ids.add(event_id)
        reading = self._find(event)
        if reading is None:
            self.unread += 1
            self._unread_types[str(event.get("type", ""))] += 1
            return
        before = self._ids_of.get(reading)
        if before is not None:
            self._ids_of[reading] = [*([before] if isinstance(before, str) else before), event_id]
            return
        self._ids_of[reading] = event_id
        device, counter = reading
        if device in self._unordered:
            return
        if counter < self._latest.get(device, 0):
            self.out_of_order += 1
            if len(self._disorder) < EXAMPLES_MAX:
                self._disorder.append(f"{device} #{counter} after #{self._latest[device]}")
        else:
            self._latest[device] = counter


class FarEnd:
    """A subscriber in a thread of its own: dials again for ever, acknowledges what the judge has seen."""

    def __init__(
        self, host: str, port: int, topic_filter: str = "#", *, judge: Judge | None = None, client_id: str = "far-end"
    ) -> None:
        """Listen at a broker; `start` it before the gateway sends."""
        self.judge = judge or Judge()
        self.malformed: list[str] = []
        self._address, self._filter, self._client_id = (host, port), topic_filter, client_id
        self._stopping = threading.Event()
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"far-end[{client_id}]", daemon=True)

    def start(self, timeout_s: float = 60.0) -> FarEnd:
        """Subscribe; return when the broker has said so. TimeoutError otherwise."""
        self._thread.start()
        if not self._subscribed.wait(timeout_s):
            self.stop()
            raise TimeoutError(f"no subscription at {self._address} within {timeout_s} s")
        return self

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def wait_for(self, readings: int, stall_s: float, on_progress: Callable[[int], None] | None = None) -> bool:
        """Wait until so many readings are in; False when nothing new came for `stall_s`."""
        seen, moved = -1, time.monotonic()
        while self.judge.readings < readings:
            if self.judge.received != seen:
                seen, moved = self.judge.received, time.monotonic()
            elif time.monotonic() - moved > stall_s:
                return False
            if on_progress:
                on_progress(self.judge.readings)
            time.sleep(0.05)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                connection = wire.dial(
                    *self._address, client_id=self._client_id, clean=False, subscribe_to=self._filter
                )
            except OSError:
                self._stopping.wait(REDIAL_S)
                continue
            with connection:
                try:
                    self._receive(connection)
                except OSError:
                    self._stopping.wait(REDIAL_S)

    def _receive(self, connection: socket.socket) -> None:
        connection.settimeout(0.1)
        rest = b""
        while not self._stopping.is_set():
            try:
                chunk = connection.recv(RECEIVE_BYTES)
            except TimeoutError:
                continue
            if not chunk:
                raise ConnectionError("the broker closed")
            rest = self._parse(connection, rest + chunk)
        connection.sendall(wire.DISCONNECT_PACKET)

    def _parse(self, connection: socket.socket, buffer: bytes) -> bytes:
        now_ns, acks, used = time.monotonic_ns(), [], 0
        for first, start, end in wire.packets(buffer):
            used = end
            if first & 0xF0 == wire.SUBACK:
                self._subscribed.set()
            if first & 0xF0 != wire.PUBLISH:
                continue
            body = start + 2 + int.from_bytes(buffer[start : start + 2], "big")
            if first & 0x06:
                acks.append(b"\x40\x02" + buffer[body : body + 2])
                body += 2
            try:
                self.judge.show(buffer[body:end], now_ns, bool(first & wire.DUP))
            except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
                self.malformed.append(f"{error}: {buffer[body : body + 80]!r}")
        if acks:
            connection.sendall(b"".join(acks))
        return buffer[used:]


def main() -> None:
    """Listen until SIGINT or SIGTERM, then print one JSON object."""
    options = argparse.ArgumentParser(prog="python -m simulators.far_end", description=main.__doc__)
    options.add_argument("--url", required=True, help="broker to subscribe at, mqtt://host:port")
    options.add_argument("--topic", default="#", help="topic filter")
    options.add_argument("--key", default="counter", help="where the device's counter is in the event's data")
    options.add_argument("--expect", type=json.loads, default={}, help='JSON object {"subject": messages}')
    arguments = options.parse_args()
    wanted = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    far_end = FarEnd(*wire.address_of(arguments.url), arguments.topic, judge=Judge(reading_in_data(arguments.key)))
    far_end.start()
    signal.sigwait(wanted)
    far_end.stop()
    print(json.dumps(asdict(far_end.judge.findings(arguments.expect))))


if __name__ == "__main__":
    main()
