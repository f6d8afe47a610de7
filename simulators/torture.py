"""The kill rig: SIGKILL the real gateway at random moments of a stream, and let the far end judge.

``./dev torture --kills 300 --messages 200000 --seed 7 --json``

    load --QoS 1--> Mosquitto --> gateway --QoS 1--> Mosquitto --> far end

The brokers are real and stay up (``--listener``: none in front, the load is a device of the gateway itself, which
sends again, with DUP, what had no answer). At each moment (drawn from the seed, uniform over the stream) the gateway's
process is killed and started again at once; its children have to notice by themselves. Each message of the stream is
one event, so in the end every reading that the edge broker has acknowledged must be at the far end, under one id,
in order per device; an id may come twice, at most one window of the forwarder a kill.  A rule numbers the hot
readings with a count of its own: each number must be there once, which a rule run twice, left out, or parted from
its state would break.

Ends with one JSON object: ``kills sent lost repeats two_ids out_of_order repeats_per_kill_max window`` and more;
exit code 1 if ``lost``, ``two_ids``, ``out_of_order`` or ``unexpected`` is not 0 (the rule's numbers are counted in),
a kill repeats more than a window, or the gateway ended by itself (``died``) or left processes behind (``orphans``).
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from simulators import traffic, wire
from simulators.broker import Mosquitto
from simulators.far_end import FarEnd, Judge, Reading
from simulators.processes import Session, free_port, wait_until
from simulators.subject import PROGRAM, SOURCE, Gateway, config

GAP_S = 1.0  # mean time between kills; a start takes some of it
READY_TIMEOUT_S = 60.0
STALL_S = 60.0  # nothing new at the far end for so long: what is missing is lost
SETTLE_S = 1.0  # for late repeats, behind the last reading
ARRIVES_S = 0.1  # what a killed gateway had sent is at the far end by then; the next one is not up yet
ORPHAN_S = 30.0  # a child of a killed gateway has so long to notice
RULES = Path(__file__).parent / "torture_rules"
RULE = "rule:notice"  # its numbers are judged like the readings of a device
PROBE = "probe"  # device whose messages ask whether the path is open; not judged
WINDOW = 200  # events sent and not yet over on the disk, as configured below: what a kill may repeat

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to do to the gateway. `gap_s` sets the rate of the stream: it lasts kills * gap_s."""

    kills: int
    messages: int
    seed: int
    gap_s: float = GAP_S
    rules: bool = True
    listener: bool = False  # devices at the gateway's own listener, no broker in front
    stall_s: float = STALL_S
    program: Sequence[str] = PROGRAM


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it, as printed."""

    kills: int
    sent: int
    lost: int
    repeats: int
    two_ids: int
    out_of_order: int
    repeats_per_kill_max: int
    window: int
    unexpected: int  # events of no message: a rule's number too many
    rule_events: int
    received: int
    unjudged: int  # events of the gateway's own and of the probe
    died: int  # ended by itself
    orphans: int  # processes that outlived their killed gateway by `ORPHAN_S`
    starts_s: Mapping[str, float]  # from start to the first arrival at the far end, of those that lived to see one
    seconds: float
    seed: int
    examples: Mapping[str, Any]

    @property
    def good(self) -> bool:
        """Return whether the promise was kept."""
        broken = self.lost or self.two_ids or self.out_of_order or self.unexpected or self.died or self.orphans
        return not broken and self.repeats_per_kill_max <= self.window


def reading(event: Mapping[str, Any]) -> Reading | None:
    """Find the reading of a message of the stream, or the rule's number; the probe's messages are nobody's."""
    data, name = event.get("data"), str(event.get("subject", ""))
    if not isinstance(data, dict) or name.endswith(PROBE):
        return None
    if event.get("type") == "heat_noticed":
        return RULE, int(data["count"])
    celsius = data.get("temperature")
    if not isinstance(celsius, int | float):
        return None
    return name, traffic.number_in(celsius) // traffic.DEVICES + 1


def expected(sent: int, *, rules: bool) -> dict[str, int]:
    """Return how many readings each device, and the rule, must have when `sent` messages were acknowledged."""
    wanted = {subject(n): n // traffic.DEVICES + 1 for n in range(sent)}
    return {**wanted, RULE: sum(map(traffic.is_hot, range(sent)))} if rules else wanted


def subject(n: int) -> str:
    """Name the device of message `n` as the gateway does."""
    return f"{SOURCE}/load:{traffic.device(n)}"


def open_path(source: tuple[str, int], far_end: FarEnd, gateway: Gateway, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Return when a message goes through; RuntimeError with the gateway's last words otherwise."""
    counter = 0
    sender: socket.socket | None = None

    def through() -> bool:
        nonlocal counter, sender
        session = gateway.session
        assert session is not None
        try:
            sender = sender or wire.dial(*source, client_id=PROBE)
            counter += 1
            payload = json.dumps({"counter": counter, "temperature": counter % 20})
            sender.sendall(wire.publish(f"load/meter/{PROBE}", payload.encode(), counter))
        except OSError:
            sender = None  # the listener is not up yet
        return far_end.judge.received > 0 or not session.alive()

    wait_until(through, timeout_s, step_s=0.05)
    if sender:
        sender.close()
    if not far_end.judge.received:
        tail = gateway.session.tail() if gateway.session else ""
        raise RuntimeError(f"nothing came through (at most {timeout_s:.0f} s); the gateway's last words:\n{tail}")


class Rig:
    """Brokers, far end, gateway and stream of one run, in a folder of its own."""

    def __init__(self, folder: Path, options: Options, say: Say) -> None:
        """Prepare; `run` does it."""
        self._folder, self._options, self._say = folder, options, say
        self._cloud = Mosquitto(folder / "cloud")
        self._edge = None if options.listener else Mosquitto(folder / "edge")
        self._source = (self._cloud.host, self._edge.port if self._edge else free_port())
        text = config(
            folder / "gateway",
            source=self._edge.url if self._edge else "",
            listen_port=self._source[1],
            target=self._cloud.url,
            rules=RULES if options.rules else None,
            more=f"[routes.all]\nto = 'cloud'\nwindow_max = {WINDOW}",
        )
        self._gateway = Gateway(folder / "gateway", text, options.program)
        self._far_end = FarEnd(self._cloud.host, self._cloud.port, "gw/#", judge=Judge(reading, {RULE}))
        self._kill_moments_ns: list[int] = []
        self._killed: list[tuple[float, Session]] = []
        self._started_ns: list[int] = []
        self._died = self._orphans = 0

    def run(self) -> Verdict:
        """Torture the gateway and judge it."""
        started = time.monotonic()
        self._brokers("start")
        self._far_end.start()
        load: Session | None = None
        try:
            self._start()
            open_path(self._source, self._far_end, self._gateway)
            load = self._stream()
            self._kill_all_along(load)
            sent = int(json.loads(self._last_line(load))["acknowledged"])
            wanted = sum(expected(sent, rules=self._options.rules).values())
            stall_s = self._options.stall_s
            complete = self._far_end.wait_for(wanted, stall_s, lambda n: self._say(f"draining: {n} of {wanted}"))
            if complete:
                time.sleep(SETTLE_S)
            if not self._session.alive():
                self._died += 1
            wait_until(lambda: not any(session.pids() for _, session in self._killed), ORPHAN_S)
            self._reap(time.monotonic())
            return self._judge(sent, time.monotonic() - started)
        finally:
            if load:
                load.kill()
            self._gateway.stop()
            for _, session in self._killed:
                session.kill()
            self._far_end.stop()
            self._brokers("stop")

    def _brokers(self, verb: Literal["start", "stop"]) -> None:
        for broker in (self._edge, self._cloud):
            if broker:
                getattr(broker, verb)()

    @property
    def _session(self) -> Session:
        session = self._gateway.session
        assert session is not None
        return session

    def _start(self) -> None:
        self._started_ns.append(time.monotonic_ns())
        self._gateway.start()

    @property
    def _limit_s(self) -> float:
        """Return how long the stream may take: it is held up while the gateway's own listener is down."""
        return 120.0 + 4 * self._options.kills * self._options.gap_s

    def _stream(self) -> Session:
        options = self._options
        rate = options.messages / max(options.kills * options.gap_s, 1.0)
        host, port = self._source
        argv = ["--url", f"mqtt://{host}:{port}", "--count", str(options.messages), "--rate", f"{rate:.3f}"]
        argv += ["--sent", str(self._folder / "sent"), "--limit", str(self._limit_s)]
        module = [sys.executable, "-m", "simulators.load", *argv]
        self._say(f"streaming {options.messages} messages, {rate:.0f}/s")
        return Session(module, self._folder / "load.log", pipes=True)

    def _kill_all_along(self, load: Session) -> None:
        """Kill at each moment of the schedule; then wait for the end of the stream."""
        options = self._options
        rng = random.Random(options.seed)
        moments = sorted(rng.uniform(0, 1) for _ in range(options.kills))
        sent = traffic.Moments(self._folder / "sent", options.messages).values
        for number, moment in enumerate(moments, 1):
            last = int(moment * options.messages)
            wait_until(lambda: bool(sent[last]) or not load.alive(), self._limit_s, step_s=0.002)  # noqa: B023
            self._kill()
            self._say(f"kill {number} of {options.kills}; {self._far_end.judge.readings} readings arrived")
        load.process.wait(self._limit_s + READY_TIMEOUT_S)

    def _kill(self) -> None:
        session = self._session
        if not session.alive():
            self._died += 1
            self._say(f"the gateway ended by itself:\n{session.tail()}")
        session.kill_command()
        self._kill_moments_ns.append(time.monotonic_ns() + int(ARRIVES_S * 1e9))
        self._killed.append((time.monotonic(), session))
        self._start()
        self._reap(time.monotonic() - ORPHAN_S)

    def _reap(self, killed_before: float) -> None:
        """Count what still lives of gateways killed before that moment, and end it."""
        for entry in [entry for entry in self._killed if entry[0] <= killed_before]:
            self._orphans += len(entry[1].pids())
            entry[1].kill()
            self._killed.remove(entry)

    def _last_line(self, load: Session) -> str:
        assert load.process.stdout is not None
        lines = load.process.stdout.read().splitlines()
        if not lines:
            raise RuntimeError(f"the load generator failed:\n{load.tail()}")
        return lines[-1]

    def _judge(self, sent: int, seconds: float) -> Verdict:
        judge = self._far_end.judge
        wanted = expected(sent, rules=self._options.rules)
        found = judge.findings(wanted)
        per_kill = judge.repeats_between(self._kill_moments_ns)
        return Verdict(
            kills=len(self._kill_moments_ns),
            sent=sent,
            lost=found.missing,
            repeats=found.repeats,
            two_ids=found.two_ids,
            out_of_order=found.out_of_order,
            repeats_per_kill_max=max(per_kill),
            window=WINDOW,
            unexpected=found.unexpected,
            rule_events=wanted.get(RULE, 0),
            received=found.received,
            unjudged=found.unread,
            died=self._died,
            orphans=self._orphans,
            starts_s=self._starts(),
            seconds=round(seconds, 1),
            seed=self._options.seed,
            examples={**found.examples, "malformed": self._far_end.malformed[:3]},
        )

    def _starts(self) -> dict[str, float]:
        """Say how long starts took, as far as the far end saw."""
        arrivals = self._far_end.judge.arrivals_after(self._started_ns)
        ends = [*self._kill_moments_ns, time.monotonic_ns()]
        took = sorted(
            (arrival - start) / 1e9
            for start, arrival, end in zip(self._started_ns, arrivals, ends, strict=False)
            if arrival is not None and arrival < end
        )
        if not took:
            return {}
        return {"count": len(took), "median": round(took[len(took) // 2], 3), "max": round(took[-1], 3)}


def torture(folder: Path, options: Options, say: Say = lambda _: None) -> Verdict:
    """Run the rig in `folder` and return the verdict."""
    return Rig(folder, options, say).run()


def main() -> int:
    """Kill the gateway again and again; exit 1 if it breaks its promise."""
    options = argparse.ArgumentParser(prog="./dev torture", description=main.__doc__)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--messages", type=int, default=50_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--gap", type=float, default=GAP_S, help="mean seconds between kills")
    options.add_argument("--listener", action="store_true", help="devices at the gateway itself, no broker in front")
    options.add_argument("--no-rules", action="store_true", help="without a rule worker")
    options.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    arguments = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    wanted = Options(
        arguments.kills,
        arguments.messages,
        arguments.seed,
        arguments.gap,
        rules=not arguments.no_rules,
        listener=arguments.listener,
    )
    terminal = sys.stderr.isatty()

    def say(line: str) -> None:
        if not arguments.json:
            print(f"\r{line:<79}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        verdict = torture(arguments.folder.resolve(), wanted, say)
    else:
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            verdict = torture(Path(folder), wanted, say)
    if terminal and not arguments.json:
        print(file=sys.stderr)
    print(json.dumps(asdict(verdict)))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
