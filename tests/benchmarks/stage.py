"""The stage of a benchmark: brokers, load, counter, and one subject between them; and what a phase of load costs.

    load --QoS 1--> edge broker --> subject --QoS 1--> cloud broker --> counter
                        ^------- cmd/# (the rule) -------+

CPU is user and system time of the subject's whole session, children included, from /proc. The send time of each
message and the arrival of its event are in shared tables, so a latency is one clock's difference.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.api.client import ApiClient
from gateway.config.places import SOCKET_NAME
from simulators import traffic, wire
from simulators.broker import Mosquitto
from simulators.counter import Table
from simulators.processes import Session, Usage, machine_busy_s, wait_until

READY_TIMEOUT_S = 30.0
STALL_S = 8.0  # nothing new for so long: what is missing counts as lost
SETTLE_S = 1.0  # behind a phase: trimming, cursors and checkpoints belong to its cost
MESSAGES_MAX = 2_000_000  # numbers the tables have room for
READY_EVERY_S = 0.05
QUIET_S = 1.0
QUIET_BYTES_MAX = 65_536  # in `READY_EVERY_S`: a checkpoint or a late cursor is no work of its own
QUIET_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One subject under one load."""

    subject: str
    rate: float  # messages a second offered; 0: as fast as the source takes them
    sent: int
    lost: int
    repeats: int
    out_of_order: int
    commands: int
    commands_wanted: int
    events_per_s: float
    cpu_us: float  # of the subject, an event
    broker_us: float  # of the edge broker, an event
    p50_ms: float
    p99_ms: float
    rss_peak_mb: float
    written_bytes: float  # an event, as the gateway counts them
    others_cores: float  # busy cores that were not ours: if not near 0, times suffer and only CPU counts


class Stage:
    """Brokers and counter for one subject; everything below one folder."""

    def __init__(self, folder: Path, subject: str, *, edge: bool) -> None:
        """Prepare for `subject`; without `edge` it is itself what the devices connect to."""
        self.folder, self.subject = folder, subject
        folder.mkdir(parents=True, exist_ok=True)
        self.edge = Mosquitto(folder / "edge") if edge else None
        self.cloud = Mosquitto(folder / "cloud")
        self.table = Table(folder / "arrived", MESSAGES_MAX)
        self.sent = traffic.Moments(folder / "sent", MESSAGES_MAX)
        self.source_url = self.edge.url if self.edge else ""
        self.gateway: Session | None = None
        self._counter: Session | None = None
        self._next = 0

    def up(self, start: Callable[[Stage], Session], source_url: str = "") -> None:
        """Start everything; return when a message goes through. RuntimeError if none does."""
        self.source_url = source_url or self.source_url
        for broker in (self.edge, self.cloud):
            if broker:
                broker.start()
        argv = ["--cloud", self.cloud.url, "--topic", "gw/#", "--arrived", str(self.folder / "arrived")]
        self.gateway = start(self)
        self._await_source()
        module = [sys.executable, "-m", "simulators.counter", *argv, "--edge", self.source_url]
        self._counter = Session([*module, "--count", str(MESSAGES_MAX)], self.folder / "counter.log")
        if not wait_until(lambda: self.table.totals().connected == 2, READY_TIMEOUT_S):
            raise RuntimeError(f"the counter did not connect:\n{self._counter.tail()}")
        self._open_path()

    def settle(self) -> None:
        """Return when the subject writes nothing on its own any more (files that it fills ahead of use)."""
        assert self.gateway is not None
        written, still = -1, 0
        until = time.monotonic() + QUIET_TIMEOUT_S
        while still < QUIET_S / READY_EVERY_S and time.monotonic() < until:
            now = self.gateway.usage().written_bytes
            still = still + 1 if now - written < QUIET_BYTES_MAX else 0
            written = now
            time.sleep(READY_EVERY_S)

    def down(self) -> None:
        """End everything."""
        for session in (self.gateway, self._counter):
            if session:
                session.stop()
        for broker in (self.edge, self.cloud):
            if broker:
                broker.stop()

    def load(self, count: int, rate: float = 0.0) -> Phase:
        """Send `count` messages and measure until their events have arrived."""
        assert self.gateway is not None
        first, self._next = self._next, self._next + count
        generator = self._generator(first, count, rate)
        self.gateway.reset_peak()
        written = self._written()
        before, totals, machine, start = self._usages(), self.table.totals(), machine_busy_s(), time.monotonic()
        assert generator.process.stdin is not None
        generator.process.stdin.write("go\n")
        generator.process.stdin.flush()
        self._await_arrival(totals.unique + count, count / rate if rate else 0.0)
        time.sleep(SETTLE_S)
        after, end, busy = self._usages(), time.monotonic(), machine_busy_s() - machine
        out, _ = generator.process.communicate(timeout=READY_TIMEOUT_S)
        generator.kill()
        generator_s = json.loads(out.splitlines()[-1])["cpu_us_per_message"] * count / 1e6
        ours = sum(after[name].cpu_s - before[name].cpu_s for name in after) + generator_s
        others = max(0.0, busy - ours) / (end - start)
        return self._phase(first, count, rate, before, after, totals.commands, self._written() - written, others)

    def _written(self) -> int:
        """Return the bytes the gateway says it wrote (whole sectors, zeros and checkpoints included), 0 of others.

        Not the kernel's count of the process: since large folios it counts a whole folio, up to 2 MB, for a sector.
        """
        socket = self.folder / "gateway" / "state" / SOCKET_NAME
        if not socket.exists():
            return 0
        with ApiClient(socket) as client:
            written: int = client.ask("status")["disk"]["written_bytes"]
            return written

    def _usages(self) -> dict[str, Usage]:
        sessions = {
            "gateway": self.gateway,
            "counter": self._counter,
            "edge": self.edge.session if self.edge else None,
            "cloud": self.cloud.session,
        }
        return {name: session.usage() for name, session in sessions.items() if session}

    def _generator(self, first: int, count: int, rate: float) -> Session:
        argv = ["--url", self.source_url, "--first", str(first), "--count", str(count), "--rate", str(rate), "--wait"]
        module = [sys.executable, "-m", "simulators.load", *argv, "--sent", str(self.folder / "sent")]
        generator = Session(module, self.folder / "load.log", pipes=True)
        assert generator.process.stdout is not None
        if generator.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the load generator failed:\n{generator.tail()}")
        return generator

    def _await_arrival(self, wanted: int, due_s: float) -> None:
        seen, moved = -1, time.monotonic() + due_s
        while (unique := self.table.totals().unique) < wanted:
            if unique != seen:
                seen, moved = unique, max(moved, time.monotonic())
            elif time.monotonic() - moved > STALL_S:
                return
            time.sleep(0.02)

    def _phase(
        self,
        first: int,
        count: int,
        rate: float,
        before: dict[str, Usage],
        after: dict[str, Usage],
        commands_before: int,
        written: int,
        others_cores: float,
    ) -> Phase:
        numbers = range(first, first + count)
        sent, arrived = self.sent.values, self.table.arrived
        there = [n for n in numbers if arrived[n]]
        delays = sorted((arrived[n] - sent[n]) / 1e6 for n in there)
        span_s = (max((arrived[n] for n in there), default=0) - sent[first]) / 1e9 if there else 0.0
        totals, events = self.table.totals(), max(1, len(there))
        cost = {name: (after[name].cpu_s - before[name].cpu_s) * 1e6 / events for name in after}
        return Phase(
            subject=self.subject,
            rate=rate,
            sent=count,
            lost=count - len(there),
            repeats=totals.repeats,
            out_of_order=totals.out_of_order,
            commands=totals.commands - commands_before,
            commands_wanted=sum(map(traffic.is_hot, numbers)),
            events_per_s=len(there) / span_s if span_s else 0.0,
            cpu_us=cost["gateway"],
            broker_us=cost.get("edge", 0.0),
            p50_ms=statistics.median(delays) if delays else 0.0,
            p99_ms=delays[int(len(delays) * 0.99)] if delays else 0.0,
            rss_peak_mb=after["gateway"].rss_peak_bytes / 1e6,
            written_bytes=written / events,
            others_cores=others_cores,
        )

    def _await_source(self) -> None:
        address = wire.address_of(self.source_url)

        def answers() -> bool:
            try:
                wire.dial(*address, client_id="ready").close()
            except OSError:
                return False
            return True

        if not wait_until(answers, READY_TIMEOUT_S, READY_EVERY_S):
            raise RuntimeError(f"nobody answers at {self.source_url}:\n{self._words()}")

    def _open_path(self) -> None:
        """Send messages until one goes through the subject."""
        with wire.dial(*wire.address_of(self.source_url), client_id="opener") as sender:

            def through() -> bool:
                sender.sendall(wire.publish(*traffic.message(self._next), self._next + 1))
                self._next += 1
                return self.table.totals().unique > 0 or not (self.gateway and self.gateway.alive())

            if not wait_until(through, READY_TIMEOUT_S, READY_EVERY_S) or not self.table.totals().unique:
                raise RuntimeError(f"nothing goes through {self.subject}:\n{self._words()}")
        time.sleep(SETTLE_S)
        for n in range(self._next):  # what was sent before anybody subscribed is nobody's loss
            self.table.arrived[n] = self.table.arrived[n] or 1

    def _words(self) -> str:
        return self.gateway.tail() if self.gateway else ""
