"""``./dev wear``: bytes written for an event of about 250 bytes, in all its life, beside a table of SQLite.

The real daemon between two Mosquittos, on files that were written before, so that nothing grows: what is written are
the commits of events, of what rules make of them, and of cursors. One event at a time, then a thousand a second, then
the same when each tenth event is a command to a device, whose commit waits for nothing. Beside it SQLite (WAL,
synchronous FULL) with a row an event: inserted at the same pace, committed as often as the gateway may, deleted after
delivery in the transaction that comes next.

Bytes are counted three times. "kernel" is write_bytes of /proc/PID/io: pages made dirty; some kernels count a whole
large folio, up to 2 MB, for one page of it. "calls" is wchar: what was handed to write calls, sockets not among them.
"gateway" is its own count: whole pages of blocks, checkpoints, zeros written ahead. What the file system adds for its
own journal, and the card inside, is in none of them. CPU of SQLite is that of the table alone, without a gateway.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from gateway.config.places import SOCKET_NAME
from gateway.journal.options import MIB, JournalOptions
from simulators import traffic
from simulators.processes import Session
from simulators.subject import RULES, Gateway, config
from tests.benchmarks import meter
from tests.benchmarks.backlog import HOUSE
from tests.benchmarks.stage import Stage

DELAY_MS = JournalOptions().max_delay_ms
BUDGET_BYTES = 64 * MIB
WARM_UP = 3000  # messages before anything is measured
SLOW_PER_S, FAST_PER_S = 5.0, 1000.0
SLOW_S, FAST_S = 60.0, 20.0
SQLITE_WARM_UP = 2500  # commits: until its log wraps


@dataclass(frozen=True, slots=True)
class Line:
    """One subject at one pace. Bytes are of an event that a device sent."""

    subject: str
    per_s: float
    events: int
    kernel_bytes: float
    call_bytes: float
    gateway_bytes: float  # 0: not the gateway
    commits_per_s: float
    cpu_us: float
    p50_ms: float  # from the device to the cloud; 0: nothing is sent there
    p99_ms: float
    lost: int


def gateway(
    folder: Path, subject: str, rules: Path, delay_ms: float, paces: Sequence[tuple[float, float]]
) -> list[Line]:
    """Measure the gateway at each (events a second, seconds)."""
    more = f"[journal]\nbytes_max = {BUDGET_BYTES}\nmax_delay_ms = {delay_ms}"

    def start(stage: Stage) -> Session:
        place = stage.folder / "gateway"
        return Gateway(
            place, config(place, source=stage.source_url, target=stage.cloud.url, rules=rules, more=more)
        ).start()

    stage = Stage(folder, "edge-gateway", edge=True)
    try:
        stage.up(start)
        stage.load(WARM_UP)
        stage.settle()
        return [_paced(stage, subject, per_s, seconds) for per_s, seconds in paces]
    finally:
        stage.down()


def _paced(stage: Stage, subject: str, per_s: float, seconds: float) -> Line:
    assert stage.gateway is not None
    events = max(1, round(per_s * seconds))
    disk, before, begin = _disk(stage), meter.written(stage.gateway.pids()), time.monotonic()
    phase = stage.load(events, per_s)
    after, disk_after, took_s = meter.written(stage.gateway.pids()), _disk(stage), time.monotonic() - begin
    return Line(
        subject=subject,
        per_s=per_s,
        events=events,
        kernel_bytes=(after.device - before.device) / events,
        call_bytes=(after.calls - before.calls) / events,
        gateway_bytes=(disk_after["written_bytes"] - disk["written_bytes"]) / events,
        commits_per_s=(disk_after["commits"] - disk["commits"]) / took_s,
        cpu_us=phase.cpu_us,
        p50_ms=phase.p50_ms,
        p99_ms=phase.p99_ms,
        lost=phase.lost,
    )


def _disk(stage: Stage) -> dict[str, Any]:
    with ApiClient(stage.folder / "gateway" / "state" / SOCKET_NAME) as client:
        disk: dict[str, Any] = client.ask("status")["disk"]
        return disk


def sqlite(file: Path, per_s: float, seconds: float, delay_ms: float = DELAY_MS) -> Line:
    """Measure a table with a row an event in this process."""
    base = sqlite3.connect(file, isolation_level=None)
    base.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE event (n INTEGER PRIMARY KEY, raw BLOB);"
    )
    made = delivered = 0

    def commit(count: int) -> None:
        nonlocal made, delivered
        base.execute("BEGIN")
        base.executemany("INSERT INTO event VALUES (?, ?)", [(made + n, _row(made + n)) for n in range(count)])
        base.execute("DELETE FROM event WHERE n < ?", (delivered,))
        base.execute("COMMIT")
        delivered, made = made, made + count

    for _ in range(SQLITE_WARM_UP):
        commit(1)
    commits, count, events = 0, 0, max(1, round(per_s * seconds))
    me = [os.getpid()]
    before, cpu, begin = meter.written(me), time.process_time(), time.monotonic()
    while count < events:
        time.sleep(max(0.0, begin + max((count + 1) / per_s, (commits + 1) * delay_ms / 1000) - time.monotonic()))
        due = min(events, int((time.monotonic() - begin) * per_s)) - count
        commit(due)
        commits, count = commits + 1, count + due
    took_s, after = time.monotonic() - begin, meter.written(me)
    base.close()
    return Line(
        subject="SQLite, a row an event",
        per_s=per_s,
        events=events,
        kernel_bytes=(after.device - before.device) / events,
        call_bytes=(after.calls - before.calls) / events,
        gateway_bytes=0.0,
        commits_per_s=commits / took_s,
        cpu_us=(time.process_time() - cpu) / events * 1e6,
        p50_ms=0.0,
        p99_ms=0.0,
        lost=0,
    )


def _row(n: int) -> bytes:
    """Return the bytes of an event as the journal has them."""
    _, payload = traffic.message(n)
    return b'{"specversion":"1.0","id":"0123456789ab-1-%x","sequence":"%016d",' % (n, n) + payload[1:]


def table(lines: Sequence[Line]) -> str:
    """Lay the figures out for a person."""
    head = ("B/event:", "per s", "kernel", "calls", "gateway", "commits/s", "CPU us", "p50 ms", "p99 ms", "lost")
    rows = [head]
    for line in lines:
        bytes_ = (
            f"{line.kernel_bytes:,.0f}",
            f"{line.call_bytes:,.0f}",
            f"{line.gateway_bytes:,.0f}" if line.gateway_bytes else "-",
        )
        times = (f"{line.p50_ms:.1f}", f"{line.p99_ms:.1f}") if line.p50_ms else ("-", "-")
        costs = (f"{line.commits_per_s:.1f}", f"{line.cpu_us:.0f}")
        rows.append((line.subject, f"{line.per_s:g}", *bytes_, *costs, *times, f"{line.lost}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def run(folder: Path, slow_s: float, fast_s: float) -> list[Line]:
    """Measure everything at the standard delay."""
    slow, fast = (SLOW_PER_S, slow_s), (FAST_PER_S, fast_s)
    return [
        *gateway(folder / "events", "edge-gateway", HOUSE / "rules", DELAY_MS, [slow, fast]),
        *gateway(folder / "commands", "edge-gateway, 1 in 10 a command", RULES, DELAY_MS, [fast]),
        sqlite(folder / "slow.db", *slow),
        sqlite(folder / "fast.db", *fast),
    ]


def delays(folder: Path, each_ms: Sequence[float], fast_s: float) -> list[Line]:
    """Measure what `journal.max_delay_ms` buys, at a thousand events a second."""
    lines = []
    for delay_ms in each_ms:
        name = f"max_delay_ms = {delay_ms:g}"
        lines += gateway(folder / f"e{delay_ms:g}", name, HOUSE / "rules", delay_ms, [(FAST_PER_S, fast_s)])
        lines += gateway(
            folder / f"c{delay_ms:g}", f"{name}, 1 in 10 a command", RULES, delay_ms, [(FAST_PER_S, fast_s)]
        )
    return lines


def main() -> int:
    """Run the benchmark; exit 1 if an event was lost."""
    options = argparse.ArgumentParser(prog="./dev wear", description=__doc__)
    options.add_argument("--slow", type=float, default=SLOW_S, help="seconds with one event at a time")
    options.add_argument("--fast", type=float, default=FAST_S, help="seconds with a thousand events a second")
    options.add_argument("--delays", type=float, nargs="*", help="compare these values of journal.max_delay_ms instead")
    options.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options.add_argument("--json", action="store_true")
    words = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="wear-", dir=words.folder) as name:
        folder = Path(name)
        lines = delays(folder, words.delays, words.fast) if words.delays else run(folder, words.slow, words.fast)
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    )
    if words.json:
        print(json.dumps({"machine": machine, "lines": [asdict(line) for line in lines]}))
    else:
        print(f"{machine}\n\n{table(lines)}")
    return 1 if any(line.lost for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
