"""``./dev rules``: what a rule costs, in CPU microseconds an event, gateway and worker apart.

The gateway side is `RuleWorker.feed` with all that follows on the event loop (framing, sending, outcomes); the worker
side is the process's own CPU time.  Each case has one rule that looks at the events, alone and with 19 and 199 others
loaded that look at the same types and fields of other devices, rooms and kinds, in other hours; and once more with
2,000 devices.  An index, not a scan: the figures of a row are the same.  No journal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gateway.clock import SystemClock, rfc3339
from gateway.event import Event, encode
from gateway.rules.options import RuleOptions
from gateway.rules.protocol import DeviceEntry
from gateway.rules.worker.supervisor import RuleOutcome, RuleWorker

EVENTS = 20_000
OUTPUTS_MAX = 3_500  # events of a case whose rule puts something out: there is a limit in a minute
LOADED = (1, 20, 200)  # rules
DEVICES, DEVICES_MANY = 50, 2000
DEVICES_A_ROOM = 10
READ_BATCH = 100  # events a call of `feed`, as one read from a socket gives them
IN_FLIGHT_MAX = 4000  # events
STARTS = 11


class Case(NamedTuple):
    """One row: a rule, and events for it."""

    name: str
    source: str
    event_type: str = "temperature_changed"
    devices: int = DEVICES
    outputs: bool = False


NOTHING = "def it(what, ctx): pass\n"
PASSES = '@rule("temperature_changed", where={{"temperature": ">100"}})\n' + NOTHING
CASES = (
    Case("nobody looks", PASSES, "pressure_changed"),
    Case("others look, at other devices", PASSES, "humidity_changed"),
    Case("@rule: where= lets it pass", PASSES),
    Case("@rule: between= lets it pass", '@rule("temperature_changed", between="{closed}")\n' + NOTHING),
    Case("@rule runs, no output", '@rule("temperature_changed")\n' + NOTHING),
    Case("@rule runs in its hours", '@rule("temperature_changed", between="{open}")\n' + NOTHING),
    Case("@rule runs, an event comes of it",
         '@rule("temperature_changed")\ndef it(event, ctx): ctx.emit("noted", {{"value": event["temperature"]}})\n',
         outputs=True),
    Case("@rule runs, asks for its room's devices",
         '@rule("temperature_changed")\ndef it(event, ctx): ctx.devices(room=event.device.room, kind="light")\n'),
    Case("over=tumbling takes it",
         '@rule("temperature_changed", over=tumbling("24h", field="temperature"))\n' + NOTHING),
    Case("over=sliding takes it",
         '@rule("temperature_changed", over=sliding("24h", field="temperature", mean=">99"))\n' + NOTHING),
    Case("after= finds nothing before it",
         '@rule("temperature_changed", after="door_opened", within="30s", same="room")\n' + NOTHING),
    Case("after= takes note of it",
         '@rule("door_opened", after="temperature_changed", within="30s", same="room")\n' + NOTHING),
    Case("debounce= waits for silence", '@rule("temperature_changed", debounce="1h")\n' + NOTHING),
    Case("@when stays false", "@when(temperature=above(100))\n" + NOTHING),
    Case("@when stays false, in its hours", '@when(temperature=above(100), between="{open}")\n' + NOTHING),
    Case("@when stays true", "@when(temperature=above(-100))\n" + NOTHING),
    Case("@when waits for lasts=", '@when(temperature=above(-100), lasts="1d")\n' + NOTHING),
    Case("@when per room stays false", '@when(temperature=above(100), per="room")\n' + NOTHING),
    Case("@when per house stays false", '@when(temperature=above(100), per="house")\n' + NOTHING),
)  # fmt: skip
ONE_AFTER_THE_OTHER = (
    '@rule("door_opened", after=happened("temperature_changed", kind="kind_{n}"), within="5m", same="room")\n'
)
OTHERS = (
    '@rule("temperature_changed", device="nobody-{n}")\ndef other_{n}(event, ctx): pass\n',
    '@when(kind="kind_{n}", temperature=above(50), lasts="10m")\ndef other_{n}(device, ctx): pass\n',
    '@rule("temperature_changed", "humidity_changed", room="nowhere-{n}")\ndef other_{n}(event, ctx): pass\n',
    '@when(device="nobody-{n}", temperature=above(50), between="{closed}")\ndef other_{n}(device, ctx): pass\n',
    '@rule("temperature_changed", label="label-{n}", between="{open}")\ndef other_{n}(event, ctx): pass\n',
    '@when(room="nowhere-{n}", temperature=above(50), per="room")\ndef other_{n}(room, ctx): pass\n',
    '@rule("temperature_changed", kind="kind_{n}", cooldown="5m")\ndef other_{n}(event, ctx): pass\n',
    '@rule("temperature_changed", kind="kind_{n}", over="1h")\ndef other_{n}(event, ctx): pass\n',
    ONE_AFTER_THE_OTHER + "def other_{n}(event, ctx): pass\n",
)
"""Rules about the same events, in other places."""


def hours(now: float) -> dict[str, str]:
    """Return hours that are open and closed from now on, for long enough."""
    hour = time.gmtime(now).tm_hour
    ahead = [f"{(hour + more) % 24:02}:00" for more in (0, 4, 8)]
    return {"open": f"{ahead[0]}-{ahead[1]}", "closed": f"{ahead[1]}-{ahead[2]}"}


def write(folder: Path, case: Case, loaded: int, now: float) -> None:
    """Write the rules of a case: its own and as many others as make `loaded`."""
    folder.mkdir()
    when, head = hours(now), "from gateway.rules import *\n"
    (folder / "bench.py").write_text(head + case.source.format(**when))
    others = [OTHERS[n % len(OTHERS)].format(n=n, **when) for n in range(loaded - 1)]
    (folder / "others.py").write_text(head + "".join(others))


def entries(count: int) -> list[DeviceEntry]:
    """Return the devices of a house."""
    return [
        DeviceEntry(f"house/z2m:device-{n}", room=f"room-{n // DEVICES_A_ROOM}", kind="thermometer")
        for n in range(count)
    ]


class Bench:
    """One measurement: a worker with some rules, and a stream of events."""

    def __init__(self, folder: Path, case: Case, loaded: int, events: int) -> None:
        self.clock = SystemClock()
        write(folder, case, loaded, self.clock.wall_ns() / 1e9)
        self.outputs = 0
        self.faults = 0
        self.count = min(events, OUTPUTS_MAX) if case.outputs else events
        self.tables: dict[str, dict[str, Any]] = {"cursors": {"rules": {"after": 0, "done": []}}}
        installed = entries(case.devices)
        now, field = rfc3339(self.clock.wall_ns()), case.event_type.partition("_")[0]
        self.events = [
            Event(
                id=f"0123456789ab-1-{n:x}", source="/bench/house", type=case.event_type, time=now, sequence=f"{n:016d}",
                subject=installed[n % case.devices].id, data={field: n % 40 + 0.5, "unit": "Cel"},
            )
            for n in range(1, case.devices + self.count + 1)
        ]  # fmt: skip
        self.raws = [encode(event) for event in self.events]
        self.worker = RuleWorker(
            RuleOptions(folder=folder, spare=False, records_max=2 * len(self.events), bytes_max=1 << 30),
            gateway="bench", log_id="0123456789ab", clock=self.clock, table=self.table, devices=lambda: installed,
            read=lambda after, limit: ((), after), append=lambda event: None, on_outcome=self.outcome, last_sequence=0,
        )  # fmt: skip

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a table as the journal would."""
        return self.tables.get(name, {})

    def outcome(self, outcome: RuleOutcome) -> None:
        """Count outputs."""
        self.outputs += len(outcome.outputs)

    async def start(self) -> asyncio.Task[None]:
        """Start the worker; its rules are loaded."""
        task = asyncio.create_task(self.worker.run())
        while self.worker.state.value != "running":
            await asyncio.sleep(0.001)
        if self.worker.faults:
            raise RuntimeError(f"{self.worker.faults}")
        return task

    async def run(self) -> tuple[float, float]:
        """Return CPU us an event of gateway and worker; each device has been heard of before."""
        task = await self.start()
        process = self.worker._process
        assert process is not None
        devices = len(self.events) - self.count
        await self.feed(0, devices)
        cpu, ours = cpu_ns(process.pid), time.process_time_ns()
        await self.feed(devices, len(self.events))
        spent, theirs = time.process_time_ns() - ours, cpu_ns(process.pid) - cpu
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return spent / 1000 / self.count, theirs / 1000 / self.count

    async def feed(self, begin: int, end: int) -> None:
        """Feed events, and wait until the worker has looked at them."""
        for start in range(begin, end, READ_BATCH):
            stop = min(start + READ_BATCH, end)
            self.worker.feed(self.events[start:stop], self.raws[start:stop])
            await asyncio.sleep(0)
            while start - self.worker.seen > IN_FLIGHT_MAX:
                await asyncio.sleep(0.001)
        while self.worker.seen < end:
            await asyncio.sleep(0.001)


def cpu_ns(pid: int) -> int:
    """Return the CPU time a process has had."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)


def measure(case: Case, loaded: int, events: int) -> tuple[float, float]:
    """Return CPU us an event of gateway and worker for a case."""
    with tempfile.TemporaryDirectory() as temporary:
        return asyncio.run(Bench(Path(temporary) / "rules", case, loaded, events).run())


async def start_s(folder: Path) -> float:
    """Return seconds from the start of a worker to its rules being loaded."""
    bench = Bench(folder, CASES[0], 1, 0)
    started = time.perf_counter()
    task = await bench.start()
    seconds = time.perf_counter() - started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return seconds


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    options = argparse.ArgumentParser(prog="./dev rules", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS, help="a figure")
    options.add_argument("--only", default="", help="cases whose name has this in it")
    words = options.parse_args(arguments)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; CPU us an event\n")
    heads = [f"{loaded} {'rule' if loaded == 1 else 'rules'}" for loaded in LOADED]
    print(f"{'':36}{'gateway':^30}{'worker':^30}{'worker':^30}")
    print(f"{'':36}{'':30}{f'{DEVICES} devices':^30}{f'{DEVICES_MANY} devices':^30}")
    print(f"{'':36}" + "".join(f"{head:>10}" for head in heads * 3))
    for case in CASES:
        if words.only not in case.name:
            continue
        few = [measure(case, loaded, words.events) for loaded in LOADED]
        many = [measure(case._replace(devices=DEVICES_MANY), loaded, words.events) for loaded in LOADED]
        figures = [gateway for gateway, _ in few] + [worker for _, worker in few + many]
        print(f"{case.name:36}" + "".join(f"{figure:10.2f}" for figure in figures), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        starts = sorted(asyncio.run(start_s(Path(temporary) / f"start-{n}")) for n in range(STARTS))
    print(f"\nstart until rules are loaded: median {starts[STARTS // 2] * 1000:.0f} ms, max {starts[-1] * 1000:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
