"""``./dev backtest``: a million recorded events through the rules of a house: events a second, memory, the same twice.

A journal is written as a gateway leaves it (50 devices, three events a second by their times, `--batch` events a
commit; the card is not waited for), with what some rules did then in it.  `edge-gateway rules backtest` then runs as a
process of its own, twice; the hashes of both outputs have to be equal.  CPU and memory are the child's, as the kernel
counts them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.clock import NS_PER_S, rfc3339, wall_ns_of
from gateway.event import Event
from gateway.journal.disk import OsDisk
from gateway.journal.journal import Journal
from gateway.journal.options import MIB, JournalOptions

EVENTS = 1_000_000
DEVICES = 50
PER_S = 3
LOOK_EVERY = 200  # lines of output between two looks at the child's memory
BEGAN_NS = wall_ns_of("2026-11-01T00:00:00Z")
RULES = '''"""Rules of a house: a window, a freezer, a night watch; most events are none of their business."""
from gateway.rules import above, rule, timer, when

@when(kind="door", open=True, lasts="30m")
def left_open(door, ctx):
    ctx.alert(f"{door.name} open for 30 min")

@when(temperature=above(25.9, clear=25))
def warm(device, ctx):
    ctx.emit("warmth_noticed", {"temperature": device.temperature})

@rule("door_opened", cooldown="5m")
def visitor(event, ctx):
    ctx.state["visitors"] = ctx.state.get("visitors", 0) + 1
    ctx.after("30s", greet, where=event.device.id)

@timer
def greet(ctx, where):
    ctx.emit("visitor_greeted", {"where": where})
'''


class HandClock:
    """A clock that is moved by hand."""

    now_ns = BEGAN_NS

    def wall_ns(self) -> int:
        """Return where the hand is."""
        return self.now_ns

    boot_ns = wall_ns

    def boot_id(self) -> str:
        """Return the one boot there is."""
        return "boot"

    def synced(self) -> bool:
        """Return that it is believed."""
        return True


class LazyDisk(OsDisk):
    """A disk that says it is done before it is: what is measured is reading."""

    def fdatasync(self, handle: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run over a journal."""

    batch: int  # events a commit
    events: int
    wall_s: float
    cpu_s: float
    rss_mb: float
    actions: int
    output: str  # hash


def event(n: int) -> Event:
    """Return an event of about 250 bytes: a reading, or now and then a door."""
    time_ = rfc3339(BEGAN_NS + n * NS_PER_S // PER_S)
    if n % 1000 in (77, 177):
        opened = n % 1000 == 77
        return Event(
            source="/gateway/house", type="door_opened" if opened else "door_closed", subject="house/z2m:hall/door",
            time=time_, data={"open": opened},
        )  # fmt: skip
    data = {"temperature": 20 + n * 7919 % 600 / 100, "unit": "Cel", "battery": 50}
    subject = f"house/z2m:0x00158d0001{n * 7919 % DEVICES:06x}"
    return Event(source="/gateway/house", type="temperature_changed", subject=subject, time=time_, data=data)


def fill(folder: Path, events: int, batch: int) -> None:
    """Write the journal."""
    clock = HandClock()
    options = JournalOptions(bytes_max=1024 * MIB, preallocate=False)
    journal = Journal.open(folder, options, clock, LazyDisk())
    for n in range(events):
        clock.now_ns = BEGAN_NS + n * NS_PER_S // PER_S
        journal.append(event(n))
        if n % batch == batch - 1:
            journal.commit()
    journal.commit()
    journal.close()


def measure(folder: Path, journal: Path, batch: int) -> Line:
    """Run a backtest in a process of its own."""
    words = ["rules", "backtest", str(folder / "house.py"), "--journal", str(journal), "--json"]
    words += ["--config", str(folder / "nowhere.toml")]
    started = time.monotonic()
    digest, lines, last, rss_kb = hashlib.blake2b(digest_size=16), 0, b"", 0
    with subprocess.Popen([sys.executable, "-m", "gateway", *words], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for last in child.stdout:
            digest.update(last)
            lines += 1
            if lines % LOOK_EVERY == 0:
                rss_kb = max(rss_kb, high_water_kb(child.pid))
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, child.returncode
    records = json.loads(last)["summary"]["records"]
    wall_s, cpu_s = time.monotonic() - started, used.ru_utime + used.ru_stime
    return Line(batch, records, wall_s, cpu_s, rss_kb / 1024, lines - 1, digest.hexdigest())


def high_water_kb(pid: int) -> int:
    """Return the most memory a process had (what wait4 says is at least what its parent had when it was started)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:  # it ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def run(folder: Path, events: int, batches: Sequence[int]) -> list[Line]:
    """Measure journals whose commits hold so many events, each twice."""
    (folder / "house.py").write_text(RULES, encoding="utf-8")
    lines = []
    for batch in batches:
        journal = folder / f"journal-{batch}"
        fill(journal, events, batch)
        lines += [measure(folder, journal, batch) for _ in range(2)]
    return lines


def same_twice(lines: Sequence[Line]) -> bool:
    """Return whether both runs over each journal came out the same."""
    return all(len({line.output for line in lines if line.batch == batch}) == 1 for batch in {x.batch for x in lines})


def main() -> int:
    """Run the benchmark; exit 1 if an output is not the same twice."""
    options = argparse.ArgumentParser(prog="./dev backtest", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS)
    options.add_argument("--batch", type=int, nargs="*", default=[100, 1], help="events a commit")
    options.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    options.add_argument("--json", action="store_true")
    words = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="backtest-", dir=words.folder) as name:
        lines = run(Path(name), words.events, words.batch)
    if words.json:
        print(json.dumps([asdict(line) for line in lines]))
    else:
        print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
        for line in lines:
            hours = line.events / PER_S / 3600
            print(
                f"{line.events:,} events, {line.batch} a commit: {line.wall_s:.1f} s ({line.cpu_s:.1f} s of CPU), "
                f"{line.events / line.wall_s:,.0f} a second, {hours * 3600 / line.wall_s:,.0f} times real time, "
                f"{line.rss_mb:.0f} MB, {line.actions:,} actions, output {line.output}"
            )
        print("the same twice" if same_twice(lines) else "NOT the same twice")
    return 0 if same_twice(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
