"""``python -m tests.benchmarks.rules``: what a rule costs, in CPU microseconds an event, gateway and worker apart.

The gateway side is `RuleWorker.feed` with all that follows on the event loop (framing, sending, outcomes); the worker
side is the process's own CPU time. Events that no rule looks at, that a rule looks at and lets pass, and that end in
an event of the rule's; with 1, 20 and 200 rules loaded of which one looks at the events. No journal.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock, rfc3339
from gateway.event import Event, encode
from gateway.rules.options import RuleOptions
from gateway.rules.supervisor import RuleOutcome, RuleWorker

EVENTS = 100_000
DEVICES = 50
READ_BATCH = 100  # events a call of `feed`, as one read from a socket gives them
IN_FLIGHT_MAX = 4000  # events
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

PASSES = '@rule("temperature_changed", where={"temperature": ">100"})\ndef passes(event, ctx): pass\n'
RUNS = '@rule("temperature_changed")\ndef runs(event, ctx): ctx.device\n'
EMITS = '@rule("temperature_changed")\ndef emits(event, ctx): ctx.emit("noted", {"value": event["temperature"]})\n'
WHEN = "@when(temperature=above(100))\ndef warm(device, ctx): pass\n"
CLOSED = '@rule("temperature_changed", between="03:00-03:01", days="mon")\ndef closed(event, ctx): pass\n'
TUMBLES = '@rule("temperature_changed", over=tumbling("24h", field="temperature"))\ndef tumbles(event, ctx): pass\n'
SLIDES = '@rule("temperature_changed", over=sliding("24h", field="temperature", mean=">99"))\ndef s(event, ctx): pass\n'
OTHERS = '@rule("door_opened", device="nobody-{0}")\ndef other_{0}(event, ctx): pass\n'


class Bench:
    """One measurement: a worker with some rules, and a stream of events."""

    def __init__(self, folder: Path, source: str, others: int, event_type: str) -> None:
        folder.mkdir()
        (folder / "bench.py").write_text("from gateway.rules import *\n" + source)
        for number in range(others):
            (folder / f"other_{number}.py").write_text("from gateway.rules import *\n" + OTHERS.format(number))
        self.clock = SystemClock()
        self.outputs = 0
        self.tables: dict[str, dict[str, Any]] = {"cursors": {"rules": {"after": 0, "done": []}}}
        now, field = rfc3339(self.clock.wall_ns()), event_type.partition("_")[0]
        self.events = [
            Event(
                id=f"0123456789ab-1-{n:x}", source="/bench/house", type=event_type, time=now, sequence=f"{n:016d}",
                subject=f"house/z2m:device-{n % DEVICES}", data={field: n % 40 + 0.5, "unit": "Cel"},
            )
            for n in range(1, EVENTS + 1)
        ]  # fmt: skip
        self.raws = [encode(event) for event in self.events]
        self.worker = RuleWorker(
            RuleOptions(folder=folder, records_max=2 * EVENTS, bytes_max=1 << 30),
            gateway="bench", log_id="0123456789ab", clock=self.clock, table=self.table, devices=lambda: (),
            read=lambda after, limit: ((), after), append=lambda event: None, on_outcome=self.outcome, last_sequence=0,
        )  # fmt: skip

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a table as the journal would."""
        return self.tables.get(name, {})

    def outcome(self, outcome: RuleOutcome) -> None:
        """Count outputs."""
        self.outputs += len(outcome.outputs)

    async def run(self) -> tuple[float, float, float]:
        """Return CPU us an event of gateway and worker, and events/s."""
        task = asyncio.create_task(self.worker.run())
        while self.worker.state.value != "running":
            await asyncio.sleep(0.01)
        process = self.worker._process
        assert process is not None
        cpu, started = cpu_s(process.pid), time.perf_counter()
        ours = time.process_time()
        for start in range(0, EVENTS, READ_BATCH):
            self.worker.feed(self.events[start : start + READ_BATCH], self.raws[start : start + READ_BATCH])
            await asyncio.sleep(0)
            while start - self.worker.seen > IN_FLIGHT_MAX:
                await asyncio.sleep(0.001)
        while self.worker.seen < EVENTS:
            await asyncio.sleep(0.001)
        seconds = time.perf_counter() - started
        spent = (time.process_time() - ours) * 1e6 / EVENTS
        theirs = (cpu_s(process.pid) - cpu) * 1e6 / EVENTS
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return spent, theirs, EVENTS / seconds


def cpu_s(pid: int) -> float:
    """Return the CPU seconds a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def start_s(folder: Path) -> float:
    """Return seconds from the start of a worker to its rules being loaded."""
    bench = Bench(folder, PASSES, 0, "temperature_changed")
    started = time.perf_counter()
    task = asyncio.create_task(bench.worker.run())
    while bench.worker.state.value != "running":
        await asyncio.sleep(0.001)
    seconds = time.perf_counter() - started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    cases = [
        ("nobody looks", PASSES, "humidity_changed"),
        ("a rule lets it pass", PASSES, "temperature_changed"),
        ("a condition stays false", WHEN, "temperature_changed"),
        ("outside of its hours", CLOSED, "temperature_changed"),
        ("a tumbling window takes it", TUMBLES, "temperature_changed"),
        ("a sliding window takes it", SLIDES, "temperature_changed"),
        ("a rule runs, no output", RUNS, "temperature_changed"),
        ("a rule puts out an event", EMITS, "temperature_changed"),
    ]
    print(f"{'CPU us an event':28}{'rules':>6}{'gateway':>9}{'worker':>8}{'events/s':>11}")
    with tempfile.TemporaryDirectory() as temporary:
        for name, source, event_type in cases:
            for others in (0, 19, 199) if not arguments else (0,):
                folder = Path(temporary) / f"{name}-{others}"
                gateway, worker, rate = asyncio.run(Bench(folder, source, others, event_type).run())
                print(f"{name:28}{others + 1:6}{gateway:9.2f}{worker:8.2f}{rate:11,.0f}")
        starts = sorted(asyncio.run(start_s(Path(temporary) / f"start-{n}")) for n in range(11))
        print(f"start until rules are loaded: median {starts[5] * 1000:.0f} ms, max {starts[-1] * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
