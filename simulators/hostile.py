"""A real gateway under load, and a rule that does harm in it: one harm after the other, and what became of the rest.

``python -m simulators.hostile [--only TEXT] [--json]``

For each harm of `simulators.harms` a rule file is saved into the running gateway, its event is sent in the middle of
steady traffic, and the file is taken away again.  Beside it an innocent rule puts out one event for each message.
Measured at the cloud's end, beside a quiet run:

* stopped_s   from sending the event to the first word of the rule in the gateway's log
* pause_s     the longest time in which the innocent rule's events did not arrive
* lost, twice messages, and events of the innocent rule, that never arrived or arrived under two ids
* p50_ms, p99_ms  from a message to its event at the cloud
* rss_mb      the most memory the gateway's own process had

Exit code 0 when nothing was lost, everything was stopped within a second of its limit and nobody paused for one.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from simulators import traffic, wire
from simulators.broker import Mosquitto
from simulators.far_end import FarEnd, Judge
from simulators.harms import HARMS, Harm
from simulators.load import Generator, prebuilt
from simulators.processes import free_port, wait_until
from simulators.subject import Gateway, config

RATE = 100.0  # messages a second
SECONDS = 4.0  # of traffic around each harm
AT_S = 1.0  # when in it the harm happens
PATIENCE_S = 60.0
CALL_S_MAX = 0.5  # the gateway's default limit of a call
STOP_S_MAX = CALL_S_MAX + 1.0
PAUSE_S_MAX = 1.0
NOTED = "reading_noted"
INNOCENT = f'''"""An innocent rule: one event for each message."""

from gateway.rules import rule

@rule("temperature_changed", "reading_taken")
def innocent(event, ctx):
    if event["temperature"] is not None:
        ctx.emit("{NOTED}", {{"temperature": event["temperature"]}})
'''


@dataclass(frozen=True, slots=True)
class Suffered:
    """What a harm did, or a quiet run."""

    name: str
    kind: str
    stopped_s: float | None
    pause_s: float
    lost: int
    twice: int
    p50_ms: float
    p99_ms: float
    rss_mb: float

    @property
    def good(self) -> bool:
        """Return whether it harmed nobody but itself."""
        stopped = self.kind in ("quiet", "none") or (self.stopped_s is not None and self.stopped_s <= STOP_S_MAX)
        return stopped and self.pause_s < PAUSE_S_MAX and not self.lost and not self.twice


class Arrivals(Judge):
    """Remembers when the event of each message arrived, and the innocent rule's answer to it."""

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[int, int] = {}  # message -> when, monotonic ns
        self.noted: dict[int, int] = {}
        self._ids_seen: dict[str, tuple[int, bool]] = {}
        self.twice = 0

    def show(self, payload: bytes, at_ns: int, handed_over_again: bool = False) -> None:  # noqa: ARG002 - of no matter
        """Take one MQTT message with one CloudEvent or several."""
        document = msgspec.json.decode(payload)
        for event in document if isinstance(document, list) else (document,):
            self.received += 1
            data = event.get("data")
            celsius = data.get("temperature") if isinstance(data, Mapping) else None
            if isinstance(celsius, float):
                self._take(event, traffic.number_in(celsius), at_ns)

    def _take(self, event: Mapping[str, Any], number: int, at_ns: int, *_: object) -> None:  # type: ignore[override]
        noted = event["type"] == NOTED
        known = self._ids_seen.get(event["id"])
        if known is not None:
            return  # the same event again: at least once is what is promised
        self._ids_seen[event["id"]] = (number, noted)
        place = self.noted if noted else self.events
        if number in place:
            self.twice += 1
        place.setdefault(number, at_ns)


class Stage:
    """Gateway, cloud and traffic of one run."""

    def __init__(self, folder: Path, messages: int, seconds: float = SECONDS) -> None:
        """Set up in a folder of its own, for so many messages in all; `seconds` of traffic around each harm."""
        self._seconds = seconds
        self.rules = folder / "rules"
        self.rules.mkdir(parents=True)
        (self.rules / "innocent.py").write_text(INNOCENT)
        self._cloud = Mosquitto(folder / "cloud").start()
        self._port = free_port()
        text = config(folder / "gateway", target=self._cloud.url, listen_port=self._port, rules=self.rules)
        self.gateway = Gateway(folder / "gateway", text)
        self.arrivals = Arrivals()
        self._far_end = FarEnd(self._cloud.host, self._cloud.port, "gw/#", judge=self.arrivals)
        self._moments = traffic.Moments(folder / "moments", messages)
        self._first = 0
        self._trigger: socket.socket | None = None

    def open(self) -> None:
        """Start everything; RuntimeError with the end of the log when the gateway does not come up."""
        self._far_end.start()
        session = self.gateway.start()
        if not wait_until(lambda: "live now" in self.log or not session.alive(), PATIENCE_S) or not session.alive():
            raise RuntimeError(f"the gateway did not start:\n{session.tail()}")
        self._trigger = wire.dial("127.0.0.1", self._port, "trigger")

    def close(self) -> None:
        """End everything."""
        if self._trigger is not None:
            self._trigger.close()
        self.gateway.stop()
        self._far_end.stop()
        self._cloud.stop()

    @property
    def log(self) -> str:
        """What the gateway has written so far."""
        return self.gateway.log.read_text(errors="replace")

    def suffer(self, harm: Harm | None) -> Suffered:
        """Let traffic flow for a while, with a harm in it or none."""
        file = self.rules / f"{harm.rule}.py" if harm else None
        if harm and file:
            self._save(file, harm.file)
        count, first = round(RATE * self._seconds), self._first
        self._first += count
        session = self.gateway.session
        assert session is not None
        session.reset_peak()
        generator = Generator(("127.0.0.1", self._port), prebuilt(first, count), self._moments, first)
        generator.dial(time.monotonic() + PATIENCE_S)
        load = threading.Thread(target=generator.run, args=(RATE, count, PATIENCE_S), daemon=True)
        load.start()
        time.sleep(AT_S)
        stopped_s = self._do(harm) if harm else None
        load.join()
        generator.close()
        numbers = range(first, first + count)
        wait_until(lambda: all(n in self.arrivals.events and n in self.arrivals.noted for n in numbers), PATIENCE_S)
        found = self._judged(harm, numbers, stopped_s, _peak_mb(session.pid))
        if file:
            file.unlink()
            wait_until(lambda: f"{file.name} removed" in self.log, PATIENCE_S)
        return found

    def _save(self, file: Path, text: str) -> None:
        """Save a rule file and wait until it is live."""
        file.write_text(text)
        if not wait_until(lambda: f"live now: {file.name}" in self.log, PATIENCE_S):
            raise RuntimeError(f"{file.name} did not go live:\n{self.log[-2000:]}")

    def _do(self, harm: Harm) -> float | None:
        """Send the harm's event; return how long it took until the log spoke of its rule."""
        assert self._trigger is not None
        at = self.gateway.log.stat().st_size
        began = time.monotonic()
        for _ in range(harm.repeats):
            packet = wire.publish(f"load/meter/{harm.device}", b'{"temperature":null}', 1)
            self._trigger.sendall(packet)
            time.sleep(0.1 if harm.repeats > 1 else 0)

        def spoken() -> bool:
            with self.gateway.log.open("rb") as log:
                log.seek(at)
                return f"{harm.rule}.py:" in log.read().decode(errors="replace")

        limit_s = PATIENCE_S if harm.kind != "quiet" else 1.0
        return time.monotonic() - began if wait_until(spoken, limit_s, step_s=0.005) else None

    def _judged(self, harm: Harm | None, numbers: range, stopped_s: float | None, rss_mb: float) -> Suffered:
        events, noted = self.arrivals.events, self.arrivals.noted
        taken_ms = sorted((events[n] - self._moments.values[n]) / 1e6 for n in numbers if n in events)
        times = sorted(noted[n] for n in numbers if n in noted)
        gaps = [(later - sooner) / 1e9 for sooner, later in pairwise(times)]
        lost = sum((n not in events) + (n not in noted) for n in numbers)
        return Suffered(
            name=harm.name if harm else "quiet run",
            kind=harm.kind if harm else "none",
            stopped_s=None if stopped_s is None else round(stopped_s, 3),
            pause_s=round(max(gaps, default=PATIENCE_S), 3),
            lost=lost,
            twice=self.arrivals.twice,
            p50_ms=round(_quantile(taken_ms, 0.5), 1),
            p99_ms=round(_quantile(taken_ms, 0.99), 1),
            rss_mb=round(rss_mb, 1),
        )


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _row(found: Suffered) -> str:
    stopped = "-" if found.stopped_s is None else f"{found.stopped_s:.2f}"
    return (
        f"{'ok' if found.good else 'BAD':4} {found.name:28} {found.kind:8} {stopped:>8} {found.pause_s:>8.2f}"
        f" {found.lost:>5} {found.twice:>6} {found.p50_ms:>8.1f} {found.p99_ms:>8.1f} {found.rss_mb:>7.1f}"
    )


HEAD = (
    f"{'':4} {'harm':28} {'':8} {'stopped':>8} {'pause s':>8} {'lost':>5} {'twice':>6}"
    f" {'p50 ms':>8} {'p99 ms':>8} {'rss MB':>7}"
)


def main() -> int:
    """Let rules do harm in a real gateway, and say what became of the rest."""
    options = argparse.ArgumentParser(prog="./dev hostile", description=main.__doc__)
    options.add_argument("--only", default="", metavar="TEXT", help="harms with this in their name or kind")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = options.parse_args()
    harms = [harm for harm in HARMS if arguments.only in harm.name or arguments.only == harm.kind]
    found: list[Suffered] = []
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        stage = Stage(Path(folder), (len(harms) + 2) * round(RATE * SECONDS))
        try:
            stage.open()
            if not arguments.json:
                print(HEAD)
            for harm in (None, *harms, None):
                found.append(stage.suffer(harm))
                if not arguments.json:
                    print(_row(found[-1]), flush=True)
            wall = next((line for line in stage.log.splitlines() if "rules are kept in by" in line), "")
        finally:
            stage.close()
    good = all(each.good for each in found)
    if arguments.json:
        print(json.dumps({"ok": good, "enforced": wall, "harms": [asdict(each) for each in found]}))
    else:
        print(wall)
        print(f"{len(harms)} harms: {'nobody else was harmed' if good else 'see the lines with BAD'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
