"""``./dev backlog``: what a long outage costs afterwards; by default with a million events queued.

The real daemon with a full journal and a real Mosquitto at the cloud that is away. Measured: the time from the start
of the process to READY=1, memory while queued and while draining, CPU an event of taking more in and of draining, the
same with `SMALL` queued beside it, and how long fresh alarms take to the cloud while the backlog leaves. The queue is
written by the journal itself, in this process, so that filling it takes seconds. CPU and memory are of all processes
of the gateway. "others" says how many cores were busy beside the gateway
while it drained, load and brokers among them: times suffer from it, CPU an event little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.clock import SystemClock, rfc3339
from gateway.event import Event
from gateway.journal.journal import Journal
from gateway.journal.options import MIB, JournalOptions
from simulators import traffic, wire
from simulators.broker import Mosquitto
from simulators.counter import Table
from simulators.processes import Session, free_port, machine_busy_s, wait_until
from simulators.subject import NAME, PROFILES, PROGRAM, SOURCE
from tests.benchmarks import meter

HOUSE = Path(__file__).parent / "house"
EVENTS = 1_000_000
SMALL = 10_000
SMALL_ROUNDS = 5  # draining so few takes a moment: several, added up
BUDGET_BYTES = 512 * MIB
BATCH = 100  # events a commit while filling, as at a thousand a second
APPENDED = 4000  # in a round
APPEND_ROUNDS = 5
APPEND_PER_S = 2000.0
ALARM_EVERY_S = 0.1
REST_S = 2.0  # in which a gateway that has settled uses
IDLE_SHARE = 0.01  # of a core at most
TIMEOUT_S = 600.0
PUBACK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Figures:
    """One size of backlog."""

    queued: int
    ready_s: float  # from starting the process to READY=1
    queued_rss_mb: float
    queued_pss_mb: float
    draining_rss_mb: float  # greatest seen
    draining_pss_mb: float
    append_cpu_us: float  # an event taken in while all that is queued
    drain_cpu_us: float  # an event of the backlog
    drain_per_s: float
    alarms: int
    alarm_p50_ms: float  # from publishing to arrival at the cloud, while the backlog leaves
    alarm_p99_ms: float
    alarm_longest_ms: float
    lost: int
    others_cores: float  # busy beside the gateway, brokers and counter among them


class Alarms:
    """Publishes an alarm now and then, and notes when it is at the cloud."""

    def __init__(self, source_port: int, cloud: Mosquitto) -> None:
        self._source_port, self._cloud = source_port, cloud
        self.every_s = ALARM_EVERY_S
        self.sent: list[float] = []
        self.arrived: dict[int, float] = {}
        self._stop = threading.Event()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def subscribe(self) -> None:
        """Make the session at the cloud that outlives its outage."""
        wire.dial(self._cloud.host, self._cloud.port, "alarms", clean=False, subscribe_to="gw/alarm/#").close()

    def start(self) -> None:
        """Begin; the cloud is there."""
        self._stop.clear()
        self._over.clear()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._publish, self._receive)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End when all have arrived, or after a while."""
        self._stop.set()
        self._threads[0].join()
        wait_until(lambda: len(self.arrived) >= len(self.sent), 10.0)
        self._over.set()
        self._threads[1].join()

    def delays_ms(self) -> list[float]:
        """Return the delays, the shortest first."""
        return sorted((at - self.sent[n]) * 1000 for n, at in self.arrived.items())

    def _publish(self) -> None:
        with wire.dial("127.0.0.1", self._source_port, "alarm-devices") as devices:
            over, unanswered = False, 0
            while not over:  # one at least
                over = self._stop.wait(self.every_s)
                n = len(self.sent)
                self.sent.append(time.monotonic())
                devices.sendall(wire.publish(f"load/leak/{n}", b'{"leak":true}', n % 60_000 + 1))
                unanswered += PUBACK_BYTES
            devices.settimeout(TIMEOUT_S)
            while unanswered > 0:  # who closes before takes back what was not read yet
                answers = devices.recv(1 << 16)
                unanswered = unanswered - len(answers) if answers else 0

    def _receive(self) -> None:
        rest = b""
        with wire.dial(self._cloud.host, self._cloud.port, "alarms", clean=False, subscribe_to="gw/alarm/#") as cloud:
            cloud.settimeout(0.2)
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    rest = self._take(cloud, rest + cloud.recv(1 << 16))

    def _take(self, cloud: socket.socket, data: bytes) -> bytes:
        now, used = time.monotonic(), 0
        for first, start, end in wire.packets(data):
            used = end
            if first & 0xF0 == wire.PUBLISH:
                length = int.from_bytes(data[start : start + 2], "big")
                topic = data[start + 2 : start + 2 + length].decode()
                cloud.sendall(b"\x40\x02" + data[start + 2 + length : start + 4 + length])
                self.arrived.setdefault(int(topic.rpartition("leak:")[2]), now)
        return data[used:]


class Rig:
    """Gateway, cloud and counter around one journal."""

    def __init__(self, folder: Path, events: int, batch: int = BATCH) -> None:
        self.folder, self.events, self.batch = folder, events, batch
        folder.mkdir(parents=True)
        self.port = free_port()
        self.cloud = Mosquitto(folder / "cloud")
        self.table = Table(folder / "arrived", events * SMALL_ROUNDS + APPEND_ROUNDS * APPENDED)
        self.sent = events  # messages, numbered through
        self.alarms = Alarms(self.port, self.cloud)
        self.gateway: Session | None = None
        self.counter: Session | None = None
        self._config = folder / "gateway.toml"
        self._config.write_text(self._text())

    def _text(self) -> str:
        return f"""[gateway]
name = "{NAME}"
state = "{self.folder / "state"}"
profiles = ["{PROFILES}", "{HOUSE / "profiles"}"]
[rules]
folder = "{HOUSE / "rules"}"
[sources.{SOURCE}]
listen = "127.0.0.1:{self.port}"
[targets.cloud]
type = "mqtt"
url = "{self.cloud.url}"
topic = "gw/{{lane}}/{{device}}"
[journal]
bytes_max = {BUDGET_BYTES}
"""

    def fill(self) -> None:
        """Queue the events, on files that were written ahead of use."""
        options = JournalOptions(bytes_max=BUDGET_BYTES)
        journal = Journal.open(self.folder / "state" / "journal", options, SystemClock())
        while (chore := journal.chore()) is not None:
            chore()
            journal.finish(chore)
        for start in range(0, self.events, self.batch):
            now = rfc3339(time.time_ns())
            for n in range(start, min(start + self.batch, self.events)):
                journal.append(event(n, now))
            journal.commit()
        journal.close()

    def start(self) -> float:
        """Start the gateway; return the seconds until it says READY=1."""
        address = self.folder / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            notify.settimeout(1.0)
            begin = time.monotonic()
            env = {**os.environ, "NOTIFY_SOCKET": str(address)}
            self.gateway = Session([*PROGRAM, "--config", str(self._config)], self.folder / "gateway.log", env=env)
            said = b""
            while b"READY=1" not in said:
                if not self.gateway.alive() or time.monotonic() - begin > TIMEOUT_S:
                    raise RuntimeError(f"the gateway did not start:\n{self.gateway.tail()}")
                with contextlib.suppress(TimeoutError):
                    said = notify.recv(4096)
            return time.monotonic() - begin

    def listen_at_the_cloud(self) -> None:
        """Subscribe with sessions that last, then take the cloud away."""
        self.cloud.start()
        self.alarms.subscribe()
        argv = ["--cloud", self.cloud.url, "--topic", "gw/telemetry/#", "--arrived", str(self.folder / "arrived")]
        module = [sys.executable, "-m", "simulators.counter", *argv]
        self.counter = Session([*module, "--count", str(len(self.table.arrived))], self.folder / "counter.log")
        if not wait_until(lambda: self.table.totals().connected == 1, 30.0):
            raise RuntimeError(f"the counter did not connect:\n{self.counter.tail()}")
        self.cloud.stop()

    def load(self, count: int, rate: float = 0.0) -> None:
        """Send messages; return when all are acknowledged."""
        argv = ["--url", f"mqtt://127.0.0.1:{self.port}", "--first", str(self.sent), "--count", str(count)]
        self.sent += count
        module = [sys.executable, "-m", "simulators.load", *argv, "--sent", str(self.folder / "sent")]
        session = Session([*module, "--rate", str(rate)], self.folder / "load.log")
        session.process.wait(TIMEOUT_S)
        session.kill()

    def pids(self) -> list[int]:
        """Return the gateway's processes."""
        assert self.gateway is not None
        return self.gateway.pids()

    def settle(self) -> None:
        """Return when the gateway does nothing on its own: what was sealed before a start is read back after it."""
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until:
            before = meter.cpu_s(self.pids())
            time.sleep(REST_S)
            if meter.cpu_s(self.pids()) - before < IDLE_SHARE * REST_S:
                return

    def drain(self) -> tuple[float, float, list[meter.Memory]]:
        """Let the cloud come back; return CPU seconds, seconds, and memory on the way until all has arrived."""
        seen: list[meter.Memory] = []
        cpu, unique = meter.cpu_s(self.pids()), self.table.totals().unique
        self.cloud.start()
        wait_until(lambda: self.table.totals().unique > unique, TIMEOUT_S)  # the route backs off
        self.alarms.start()
        begin = moved = time.monotonic()
        while self.table.totals().unique < self.sent and time.monotonic() - moved < 20:
            now = self.table.totals().unique
            if now != unique:
                unique, moved = now, time.monotonic()
            seen.append(meter.memory(self.pids()))
            time.sleep(0.1)
        seconds = time.monotonic() - begin
        self.alarms.stop()
        return meter.cpu_s(self.pids()) - cpu, seconds, seen

    def close(self) -> None:
        """End everything."""
        for session in (self.gateway, self.counter):
            if session:
                session.stop()
        self.cloud.stop()


def event(n: int, now: str) -> Event:
    """Return what the gateway makes of message `n` of the load."""
    changed = {"temperature": traffic.temperature(n)}
    if n % 5 < 4:
        return Event(
            source=f"/{NAME}/{SOURCE}", type="temperature_changed", subject=f"{SOURCE}/load:{traffic.device(n)}",
            time=now, data={**changed, "unit": "Cel"},
        )  # fmt: skip
    rest = {"humidity": 45.2, "setpoint.heat": 21.5, "mode": "heat", "preset": "manual", "battery": 87}
    return Event(
        source=f"/{NAME}/{SOURCE}", type="reading_taken", subject=f"{SOURCE}/load:{traffic.device(n)}",
        time=now, data={**changed, **rest},
    )  # fmt: skip


@contextlib.contextmanager
def rig(folder: Path, events: int, batch: int) -> Iterator[Rig]:
    """Give a filled rig that is ended in any case."""
    made = Rig(folder, events, batch)
    try:
        made.fill()
        made.listen_at_the_cloud()
        yield made
    finally:
        made.close()


def append_costs(rigs: Sequence[Rig]) -> list[float]:
    """Return the CPU microseconds an event taken in costs each of these: medians of rounds taken in turn."""
    costs: list[list[float]] = [[] for _ in rigs]
    for _ in range(APPEND_ROUNDS):
        for stage, found in zip(rigs, costs, strict=True):
            before = meter.cpu_s(stage.pids())
            stage.load(APPENDED, APPEND_PER_S)
            found.append((meter.cpu_s(stage.pids()) - before) / APPENDED * 1e6)
    return [statistics.median(found) for found in costs]


def compare(small: Rig, large: Rig) -> list[Figures]:
    """Measure both; what takes more in alternates between them, so that both see the same machine."""
    rigs = (small, large)
    ready_s = [stage.start() for stage in rigs]
    for stage in rigs:
        stage.settle()
    queued = [meter.memory(stage.pids()) for stage in rigs]
    append_us = append_costs(rigs)
    drained = [drain(small, SMALL_ROUNDS), drain(large, 1)]
    return [
        Figures(
            queued=stage.events,
            ready_s=ready_s[i],
            queued_rss_mb=queued[i].rss_mb,
            queued_pss_mb=queued[i].pss_mb,
            append_cpu_us=append_us[i],
            **drained[i],  # type: ignore[arg-type]
        )
        for i, stage in enumerate(rigs)
    ]


def drain(stage: Rig, rounds: int) -> dict[str, float]:
    """Drain; with more `rounds` the outage comes again, with as many events each time."""
    wall, busy, mine = time.monotonic(), machine_busy_s(), meter.cpu_s(stage.pids())
    cpu = seconds = count = 0.0
    seen: list[meter.Memory] = []
    for number in range(rounds):
        if number:
            stage.cloud.stop()
            stage.load(stage.events)
        waiting = stage.sent - stage.table.totals().unique
        more_cpu, more_s, more_seen = stage.drain()
        cpu, seconds, count, seen = cpu + more_cpu, seconds + more_s, count + waiting, seen + more_seen
    busy -= machine_busy_s()
    delays = stage.alarms.delays_ms() or [0.0]
    lost = stage.sent - stage.table.totals().unique + len(stage.alarms.sent) - len(stage.alarms.arrived)
    return {
        "draining_rss_mb": max(each.rss_mb for each in seen),
        "draining_pss_mb": max(each.pss_mb for each in seen),
        "drain_cpu_us": cpu / count * 1e6,
        "drain_per_s": count / seconds,
        "alarms": len(stage.alarms.arrived),
        "alarm_p50_ms": delays[len(delays) // 2],
        "alarm_p99_ms": delays[int(len(delays) * 0.99)],
        "alarm_longest_ms": delays[-1],
        "lost": lost,
        "others_cores": max(0.0, -busy - (meter.cpu_s(stage.pids()) - mine)) / (time.monotonic() - wall),
    }


def table(figures: list[Figures]) -> str:
    """Lay the figures out for a person: a line for each, a column for each size."""
    lines = []
    for name in asdict(figures[0]):
        values = [getattr(each, name) for each in figures]
        cells = "".join(f"{value:>14,.2f}" if isinstance(value, float) else f"{value:>14,}" for value in values)
        lines.append(f"{name:20}{cells}")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark; exit 1 if an event was lost."""
    options = argparse.ArgumentParser(prog="./dev backlog", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS, help="events queued")
    options.add_argument("--batch", type=int, default=BATCH, help="events a commit while they were queued")
    options.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="backlog-", dir=arguments.folder) as name:
        folder, batch = Path(name), arguments.batch
        with rig(folder / "s", SMALL, batch) as few, rig(folder / "l", arguments.events, batch) as many:
            small, large = compare(few, many)
    ratios = {
        "append": round(large.append_cpu_us / small.append_cpu_us, 3),
        "drain": round(large.drain_cpu_us / small.drain_cpu_us, 3),
    }
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    if arguments.json:
        print(json.dumps({"machine": machine, "figures": [asdict(small), asdict(large)], "cpu_ratios": ratios}))
    else:
        print(
            f"{machine}\n\n{table([small, large])}\n\nCPU an event, {arguments.events:,} / {SMALL:,} queued: {ratios}"
        )
    return 1 if small.lost or large.lost else 0


if __name__ == "__main__":
    sys.exit(main())
