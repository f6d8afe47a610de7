"""``./dev bench``: the gateway and a naive script under the same load, on this machine, now.

Flat out and at a fixed rate, with a real Mosquitto in front and at the cloud; then the gateway's own listener instead
of the broker in front. Read CPU microseconds an event first: they hold on a machine that others use too; events a
second and latencies do not ("others" says how many cores were busy beside). The naive script keeps nothing on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

from simulators import wire
from simulators.processes import Session, free_port
from simulators.subject import Gateway, config
from tests.benchmarks.stage import Phase, Stage

EVENTS = 100_000
WARM_UP = 3000  # messages before anything is measured
NAIVE_EVENTS_MAX = 20_000  # it takes ten seconds for them
RATE = 1000.0
PACED_S = 10.0
JOURNAL = f"[journal]\nbytes_max = {64 << 20}"  # recycled within a run, so that trimming is part of the cost

Start = Callable[[Stage], Session]


def broker_in_front(stage: Stage) -> Session:
    """Run the gateway with Mosquitto in front."""
    folder = stage.folder / "gateway"
    return Gateway(folder, config(folder, source=stage.source_url, target=stage.cloud.url, more=JOURNAL)).start()


def listener(stage: Stage) -> Session:
    """Run the gateway with devices connected to its own listener."""
    folder = stage.folder / "gateway"
    port = wire.address_of(stage.source_url)[1]
    return Gateway(folder, config(folder, listen_port=port, target=stage.cloud.url, more=JOURNAL)).start()


def naive(stage: Stage) -> Session:
    """Run the naive script."""
    script = Path(__file__).parent / "naive.py"
    return Session([sys.executable, str(script), stage.source_url, stage.cloud.url], stage.folder / "naive.log")


SUBJECTS: dict[str, Start] = {"edge-gateway": broker_in_front, "edge-gateway, listener": listener, "naive": naive}


def run(subject: str, folder: Path, events: int) -> list[Phase]:
    """Measure one subject: paced, then flat out."""
    stage = Stage(folder, subject, edge=subject != "edge-gateway, listener")
    try:
        stage.up(SUBJECTS[subject], "" if stage.edge else f"mqtt://127.0.0.1:{free_port()}")
        stage.load(WARM_UP)
        stage.settle()
        flat_out = min(events, NAIVE_EVENTS_MAX) if subject == "naive" else events
        return [stage.load(min(events, int(RATE * PACED_S)), RATE), stage.load(flat_out)]
    finally:
        stage.down()


def median(runs: Sequence[Phase]) -> Phase:
    """Return the median of each figure over the runs of one phase; losses and the like are summed."""
    sums = {"sent", "lost", "repeats", "out_of_order", "commands", "commands_wanted"}
    measured = [f.name for f in fields(Phase) if f.name not in {"subject", "rate", *sums}]
    figures: dict[str, float] = {name: statistics.median(getattr(one, name) for one in runs) for name in measured}
    counts: dict[str, int] = {name: sum(getattr(one, name) for one in runs) for name in sums}
    return replace(runs[0], **figures, **counts)  # type: ignore[arg-type]


def table(phases: Sequence[Phase]) -> str:
    """Lay the figures out for a person."""
    head = ("", "offered", "events/s", "CPU us", "broker us", "p50 ms", "p99 ms", "RSS MB", "B/event", "lost", "others")
    rows = [head]
    for phase in phases:
        offered = f"{phase.rate:.0f}/s" if phase.rate else "flat out"
        numbers = (f"{phase.events_per_s:,.0f}", f"{phase.cpu_us:.1f}", f"{phase.broker_us:.1f}")
        times = (f"{phase.p50_ms:.1f}", f"{phase.p99_ms:.1f}", f"{phase.rss_peak_mb:.0f}")
        kept = (f"{phase.written_bytes:.0f}", f"{phase.lost}", f"{phase.others_cores:.1f}")
        rows.append((phase.subject, offered, *numbers, *times, *kept))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def ratios(phases: Sequence[Phase]) -> dict[str, float]:
    """Compare with the naive script: its CPU an event by ours, our events a second by its."""
    by = {(phase.subject, phase.rate): phase for phase in phases}
    found = {}
    for (subject, rate), ours in by.items():
        other = by.get(("naive", rate))
        if other is not None and subject != "naive" and ours.cpu_us and other.events_per_s:
            offered = f"{rate:.0f}/s" if rate else "flat out"
            found[f"{subject}, {offered}: CPU, naive / ours"] = round(other.cpu_us / ours.cpu_us, 1)
            if not rate:
                found[f"{subject}, {offered}: events/s, ours / naive"] = round(
                    ours.events_per_s / other.events_per_s, 1
                )
    return found


def main() -> int:
    """Run the benchmark; exit 1 if an event was lost."""
    options = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS, help="flat out; paced: at most ten seconds' worth")
    options.add_argument("--runs", type=int, default=1, help="medians of so many runs")
    options.add_argument("--only", choices=SUBJECTS, nargs="*", default=list(SUBJECTS), help="only these subjects")
    options.add_argument("--json", action="store_true")
    arguments = options.parse_args()
    measured: dict[tuple[str, float], list[Phase]] = {}
    for number in range(arguments.runs):
        for subject in arguments.only:
            if not arguments.json:
                print(f"run {number + 1} of {arguments.runs}: {subject} ...", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                for phase in run(subject, Path(folder), arguments.events):
                    measured.setdefault((phase.subject, phase.rate), []).append(phase)
    phases = [median(runs) for runs in measured.values()]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    if arguments.json:
        print(json.dumps({"machine": machine, "phases": [asdict(p) for p in phases], "ratios": ratios(phases)}))
    else:
        print(f"\n{machine}; medians of {arguments.runs} run(s)\n\n{table(phases)}\n")
        for what, ratio in ratios(phases).items():
            print(f"{what}: {ratio}")
    return 1 if any(phase.lost for phase in phases if phase.subject != "naive") else 0


if __name__ == "__main__":
    sys.exit(main())
