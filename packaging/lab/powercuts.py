"""Power cuts on a small arm64 computer: ``./dev board --cuts 20 --seed 7 --json``.

    devices of ours --QoS 1, user and password--> listener on the board --> Mosquitto of ours --> far end
    a serial line of ours ----------------------> USB serial port of the board

The package is on the board's card; the service starts by itself. At moments drawn from the seed the power goes (qemu is
killed: the board's memory is gone, what reached its card stays) and the board is switched on again. The devices have
noted what was acknowledged. In the end every acknowledged reading must be at the far end, under one id, in order per
device; the rule's own numbers, kept in its state, must be there once each.

Ends with one JSON object; exit code 1 if ``lost two_ids out_of_order unexpected`` is not 0 or the service was not well.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.board import MEMORY_MB, Board, Powered
from lab.card import written
from lab.roots import LabError
from simulators import torture
from simulators.broker import Mosquitto
from simulators.far_end import FarEnd, Judge, Reading
from simulators.processes import Session, free_port
from simulators.subject import NAME, PROFILES, SOURCE, TOPIC

PORT = 1883
USER = "load"
RATE = 40.0  # messages a second
PER_BOOT = 2000  # messages a boot, more than it takes: the stream must not end before the cuts do
ON_S = (4.0, 18.0)  # how long the board works between its first reading and the cut
READY_S = 600.0
STUCK_S = 240.0  # a boot in which nothing comes through for so long is cut, too, and counted
STALL_S = 240.0  # nothing new at the far end for so long: what is missing is lost
SERIAL_EVERY_S = 0.5
CONFIG = f"""[gateway]
name = "{NAME}"
profiles = ["profiles"]
[api]
socket = "/run/edge-gateway/api.sock"
[sources.{SOURCE}]
listen = "0.0.0.0:{PORT}"
users.{USER} = {{ credential = "{USER}" }}
[sources.attic]
serial = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_BOARD0-if00-port0"
profile = "mysensors-serial"
[targets.cloud]
type = "mqtt"
url = "mqtt://10.0.2.2:CLOUD"
topic = "{TOPIC}"
"""
FACTS = (
    "systemctl show edge-gateway -p ActiveState,NRestarts"
    " -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic;"
    " cat /sys/fs/cgroup/system.slice/edge-gateway.service/cgroup.procs |"
    " while read pid; do grep VmRSS /proc/$pid/status; done;"
    " free -k | grep Mem; systemd-analyze time | head -n 1"
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it, as printed."""

    cuts: int
    stuck: int  # boots in which nothing came through at all; the emulator hangs now and then
    sent: int
    lost: int
    repeats: int
    two_ids: int
    out_of_order: int
    unexpected: int
    received: int
    serial_sent: int
    serial_received: int  # a serial line has no acknowledgement: what was on its way at a cut is gone
    first_reading_s: list[float]  # from power on to the first reading through, a boot
    ready: dict[str, float]  # of the last boot: seconds from its start to READY, and of the service's own start
    memory_mb: dict[str, Any]
    service: str
    status: str
    seconds: float
    seed: int
    examples: dict[str, Any]

    @property
    def good(self) -> bool:
        """Return whether the promise was kept."""
        return not (self.lost or self.two_ids or self.out_of_order or self.unexpected) and self.service == "active"


class Serial:
    """What a sensor on a serial line says, as long as somebody holds the line."""

    def __init__(self) -> None:
        self.sent = 0
        self._board: Powered | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="serial")
        self._thread.start()

    @contextmanager
    def at(self, board: Powered) -> Iterator[None]:
        """Speak on the line of this board."""
        self._board = board
        try:
            yield
        finally:
            self._board = None

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(SERIAL_EVERY_S):
            board = self._board
            if board is None:
                continue
            with suppress(OSError), board.serial(0) as line:
                while self._board is board and not self._stopping.wait(SERIAL_EVERY_S):
                    self.sent += 1
                    line.sendall(f"12;6;1;0;0;{15 + self.sent % 100 / 10:.1f}\n".encode())


class Rig:
    """A board, a cloud, devices and the judge."""

    def __init__(self, package: Path, folder: Path, cuts: int, seed: int, suite: str, say: Say) -> None:
        self._cuts, self._seed, self._say, self._folder = cuts, seed, say, folder
        self._cloud = Mosquitto(folder / "cloud")
        self._password = secrets.token_urlsafe(12)
        rules = {
            f"/etc/edge-gateway/rules/{path.name}": path.read_text() for path in sorted(torture.RULES.glob("*.py"))
        }
        files = {
            "/etc/edge-gateway/gateway.toml": CONFIG.replace("CLOUD", str(self._cloud.port)),
            f"/etc/edge-gateway/credentials/{USER}": self._password + "\n",
            "/etc/edge-gateway/profiles/load.toml": (PROFILES / "load.toml").read_text(),
            **rules,
        }
        say("writing the card")
        self._board = Board(written(suite, package, files), folder / "board", serial_ports=1)
        self._ports = {PORT: free_port()}
        self._far_end = FarEnd(self._cloud.host, self._cloud.port, "gw/#", judge=Judge(self._reading, {torture.RULE}))
        self._serial_seen = self._stuck = 0
        self._first_s: list[float] = []

    def _reading(self, event: Any) -> Reading | None:
        if str(event.get("subject", "")).startswith("attic/"):
            self._serial_seen += 1
            return None
        return torture.reading(event)

    def run(self) -> Verdict:
        """Cut the power again and again; then let all drain, and judge."""
        started = time.monotonic()
        rng = random.Random(self._seed)  # noqa: S311 - drawn again by its seed, on purpose
        self._cloud.start()
        self._far_end.start()
        load, serial = self._stream(), Serial()
        try:
            for number in range(1, self._cuts + 1):
                on_s = rng.uniform(*ON_S)
                with self._board.powered(self._ports) as on, serial.at(on):
                    if self._wait_for_first(on, STUCK_S):
                        time.sleep(on_s)
                    else:
                        self._stuck += 1
                self._say(f"cut {number} of {self._cuts}; {self._far_end.judge.readings} readings arrived")
            with self._board.powered(self._ports) as on, serial.at(on):
                if not self._wait_for_first(on, READY_S):
                    raise LabError("nothing comes through in the last boot")
                load.process.wait(self._limit_s)
                assert load.process.stdout is not None
                sent = int(json.loads(load.process.stdout.read().splitlines()[-1])["acknowledged"])
                wanted = sum(torture.expected(sent, rules=True).values())
                self._far_end.wait_for(wanted, STALL_S)
                time.sleep(2.0)
                facts = on.tell(FACTS)[1]
                status = on.tell("edge-gateway status")[1]
                (self._folder / "journal.txt").write_text(on.tell("journalctl -o short-precise --no-pager")[1])
                on.switch_off()
            return self._judge(sent, facts, status, serial.sent, time.monotonic() - started)
        finally:
            load.kill()
            serial.stop()
            self._far_end.stop()
            self._cloud.stop()

    @property
    def _limit_s(self) -> float:
        return 600.0 + self._cuts * 60.0

    def _stream(self) -> Session:
        count = (self._cuts + 1) * PER_BOOT
        argv = ["--url", f"mqtt://127.0.0.1:{self._ports[PORT]}", "--count", str(count), "--rate", f"{RATE:g}"]
        argv += ["--window", "100", "--user", USER, "--sent", str(self._folder / "sent")]
        argv += ["--limit", str((self._cuts + 1) * READY_S)]
        module = [sys.executable, "-m", "simulators.load", *argv]
        environment = {**os.environ, "LOAD_PASSWORD": self._password}
        return Session(module, self._folder / "load.log", env=environment, pipes=True)

    def _wait_for_first(self, on: Powered, limit_s: float) -> bool:
        """Wait until something comes through that was not there when the power came; False when nothing does."""
        since = time.monotonic()
        before = self._far_end.judge.readings + self._serial_seen
        while self._far_end.judge.readings + self._serial_seen == before:
            if time.monotonic() - since > limit_s:
                self._say(f"nothing came through in {limit_s:.0f} s: {on.folder}")
                return False
            on.still_on()
            time.sleep(0.1)
        self._first_s.append(round(time.monotonic() - since, 1))
        self._say(f"the first reading came {self._first_s[-1]:.0f} s after the power")
        return True

    def _judge(self, sent: int, facts: str, status: str, serial_sent: int, seconds: float) -> Verdict:
        wanted = torture.expected(sent, rules=True)
        found = self._far_end.judge.findings(wanted)
        told = dict(re.findall(r"^(\w+)=(.*)$", facts, re.MULTILINE))
        active, start = (int(told.get(f"{name}TimestampMonotonic", 0)) for name in ("ActiveEnter", "ExecMainStart"))
        resident = [int(kb) / 1024 for kb in re.findall(r"^VmRSS:\s+(\d+) kB", facts, re.MULTILINE)]
        return Verdict(
            cuts=self._cuts,
            stuck=self._stuck,
            sent=sent,
            lost=found.missing,
            repeats=found.repeats,
            two_ids=found.two_ids,
            out_of_order=found.out_of_order,
            unexpected=found.unexpected,
            received=found.received,
            serial_sent=serial_sent,
            serial_received=self._serial_seen,
            first_reading_s=self._first_s,
            ready={"after_boot_s": round(active / 1e6, 1), "service_start_s": round((active - start) / 1e6, 1)},
            memory_mb={"board": MEMORY_MB, "processes": [round(each, 1) for each in resident]},
            service=told.get("ActiveState", "unknown"),
            status=status,
            seconds=round(seconds, 1),
            seed=self._seed,
            examples={**found.examples, "facts": facts, "malformed": self._far_end.malformed[:3]},
        )


def main() -> int:
    """Cut a board's power again and again; exit 1 if the gateway breaks its promise."""
    options = argparse.ArgumentParser(prog="./dev board", description=main.__doc__)
    options.add_argument("--cuts", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--suite", default="bookworm", choices=("bookworm", "trixie"))
    options.add_argument("--package", type=Path, required=True, help="an arm64 package: ./dev deb --arch arm64")
    options.add_argument("--folder", type=Path, help="where to work; kept (default: a temporary folder)")
    options.add_argument("--json", action="store_true", help="nothing but the JSON object")
    words = options.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended

    def say(line: str) -> None:
        if not words.json:
            print(line, file=sys.stderr, flush=True)

    folder = (words.folder or Path(tempfile.mkdtemp(prefix="edge-gateway-board-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        verdict = Rig(words.package, folder, words.cuts, words.seed, words.suite, say).run()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 125
    print(json.dumps(asdict(verdict)))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
