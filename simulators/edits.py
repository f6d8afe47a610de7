"""The edit rig: rule files are edited at random in a running gateway under load, and the journal's order is judged.

``./dev edits --count 10000 --seed 7 --json``

A device sends numbered readings to the gateway's own listener; the rules `main` and `extra` put out one event for
each, with the number, the version of their text and that of a module in lib.  Meanwhile files are saved whole or piece
by piece, broken, with a failing test, several times in a moment, renamed, deleted and restored.  From the stream of the
gateway's events, in the order of its journal, the judge counts

* skipped   readings that `main` (which always has a good version) did not answer, and those that `extra` did not
            answer although it was there,
* twice     readings answered twice by one rule,
* stale     answers by another version than the last one that `rules_changed` named before, and answers by an older
            version to a reading that was sent after the gateway had said that the newer one is live.

Ends with one JSON object; exit code 1 if one of these is not 0, if a good version was refused or a bad one went live.
`live_ms` is from the end of a save to the instant of the swap.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from gateway.api.line import ApiError
from gateway.rules.files.edits import version as version_of
from simulators import wire
from simulators.edits_judge import Judge, Verdict
from simulators.processes import free_port, wait_until
from simulators.subject import PROFILES, Gateway

RATE_HZ = 100.0  # readings a second
READY_S_MAX = 60.0
SETTLED_S_MAX = 60.0  # for a save to be live or refused
DRAIN_S_MAX = 60.0
PAUSE_S_MAX = 0.05  # between two edits
TOPIC, DEVICE = "load/meter/edits", "house/load:edits"
PUBACK_BYTES = 4
KINDS = {  # how often, of a hundred
    "whole": 30, "pieces": 12, "broken": 10, "failing": 6, "lib": 14, "broken lib": 5, "burst": 10, "rename": 5,
    "delete": 8,
}  # fmt: skip
RULE = """\
from gateway.rules import rule
from lib.number import LIB

VERSION = {version}

@rule("reading_taken", device="{device}")
def {name}(event, ctx):
    ctx.state["calls"] = ctx.state.get("calls", 0) + 1
    data = {{"rule": "{name}", "number": int(event["temperature"]), "version": VERSION, "lib": LIB}}
    ctx.emit("was_run", {{**data, "calls": ctx.state["calls"]}})

def test_answers(house):
    house.event("reading_taken", "{device}", temperature=5)
    assert [event.data["version"] for event in house.emitted] == [{version}]
"""

Say = Callable[[str], None]


class Load(threading.Thread):
    """Sends numbered readings, QoS 1, until it is told to stop."""

    def __init__(self, port: int, rate_hz: float) -> None:
        super().__init__(name="load", daemon=True)
        self._socket = wire.dial("127.0.0.1", port, "edits")
        self._period_s = 1 / rate_hz
        self._over = threading.Event()
        self.sent = 0

    def run(self) -> None:
        """Send."""
        self._socket.setblocking(False)
        due = time.monotonic()
        while not self._over.is_set():
            payload = json.dumps({"temperature": self.sent}).encode()
            packet = wire.publish(TOPIC, payload, self.sent % 60_000 + 1)
            self._socket.setblocking(True)
            self._socket.sendall(packet)
            self._socket.setblocking(False)
            self.sent += 1
            with suppress(BlockingIOError):
                while self._socket.recv(1 << 14):
                    pass
            due += self._period_s
            time.sleep(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """Send no more; the connection stays, so that what was sent arrives."""
        self._over.set()
        self.join()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Rig:
    """A gateway, its load, and somebody who edits."""

    def __init__(self, folder: Path, count: int, seed: int, rate_hz: float, say: Say) -> None:
        """Prepare; `run` does it."""
        self._count, self._seed, self._rate_hz, self._say = count, seed, rate_hz, say
        self._random = random.Random(seed)
        self._port = free_port()
        self.rules = folder / "rules"
        (self.rules / "lib").mkdir(parents=True)
        self._state = folder / "state"
        self._gateway = Gateway(
            folder,
            f'[gateway]\nname = "gw"\nstate = "{self._state}"\nprofiles = ["{PROFILES}"]\n[rules]\nfolder = "rules"\n'
            f'[journal]\nbytes_max = "64MB"\n[sources.house]\nlisten = "127.0.0.1:{self._port}"\n',
        )
        self.judge = Judge()
        self._version = 0
        self._main = "main.py"  # its name now
        self._whole = True  # whether the text of main on the disk is good
        self._kinds: Counter[str] = Counter()

    def run(self) -> Verdict:
        """Edit, and judge."""
        started = time.monotonic()
        for name in ("lib/number.py", "main.py", "extra.py"):
            self._save(name, self._text(name))
        session = self._gateway.start()
        try:
            if not wait_until(lambda: self._ready() or not session.alive(), READY_S_MAX) or not session.alive():
                raise RuntimeError(f"the gateway did not start:\n{session.tail()}")
            watching = threading.Thread(target=self._watch, name="watch", daemon=True)
            watching.start()
            load = Load(self._port, self._rate_hz)
            load.start()
            self._load = load
            with ApiClient(self._state / "api.sock") as self._client:
                for number in range(self._count):
                    self._edit()
                    time.sleep(self._random.uniform(0, PAUSE_S_MAX))
                    if number % 50 == 49:
                        self._say(f"{number + 1} of {self._count} edits, {self.judge.verdict.answers} answers")
            load.stop()
            wait_until(lambda: self.judge.count("main") >= load.sent, DRAIN_S_MAX)
            load.close()
            return self._verdict(load.sent, time.monotonic() - started)
        finally:
            self._gateway.stop()

    def _verdict(self, sent: int, seconds: float) -> Verdict:
        with self.judge.lock:
            verdict, found = self.judge.verdict, sorted(self.judge.latencies_ms)
            verdict.skipped += max(0, sent - self.judge.count("main"))
        verdict.edits, verdict.readings, verdict.seed = self._count, sent, self._seed
        verdict.kinds, verdict.seconds = dict(self._kinds), round(seconds, 1)
        if found:
            shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
            verdict.live_ms = {
                name: round(found[min(len(found) - 1, int(share * len(found)))]) for name, share in shares.items()
            } | {"count": len(found)}
        return verdict

    def _ready(self) -> bool:
        with suppress(ApiError, OSError), ApiClient(self._state / "api.sock") as client:
            return bool(client.ask("status")["rules"]["loaded"] == 2)  # main and extra
        return False

    def _watch(self) -> None:
        """Show the judge what becomes durable, from the beginning on."""
        wanted: dict[str, Any] = {"lanes": ["telemetry", "timer"], "types": ["was_run", "rules_changed"]}
        with suppress(ApiError, OSError), ApiClient(self._state / "api.sock") as client:
            for event in client.stream("events", follow=True, **wanted):
                self.judge.show(event)

    # ---- texts --------------------------------------------------------------------------------------

    def _text(self, name: str) -> str:
        self._version += 1
        if name.startswith("lib/"):
            return f"LIB = {self._version}\n"
        return RULE.format(version=self._version, device=DEVICE, name="extra" if name == "extra.py" else "main")

    def _save(self, name: str, text: str, *, whole: bool | None = None) -> str:
        """Save a text, by a rename or in place; return its version's name."""
        mark, path = version_of(text.encode()), self.rules / name
        with self.judge.lock:
            self.judge.saved[name, mark] = (self._version, 0)
        if self._random.random() < 0.5 if whole is None else whole:
            beside = path.with_name(f".{path.name}.new")
            beside.write_text(text)
            beside.rename(path)
        else:
            path.write_text(text)
        with self.judge.lock:
            self.judge.saved[name, mark] = (self._version, time.time_ns())
        return mark

    # ---- edits --------------------------------------------------------------------------------------

    def _edit(self) -> None:
        (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
        if kind == "rename" and not self._whole:
            kind = "whole"  # a file that is broken and gets another name has no good version under that name
        self._kinds[kind] += 1
        name = self._random.choice((self._main, self._main, "extra.py"))
        if kind == "whole":
            self._good(name, self._save(name, self._text(name)))
        elif kind == "pieces":
            self._pieces(name)
        elif kind == "broken":
            self._bad(name, self._text(name).replace("def ", self._random.choice(("dfe ", "def (", "\0def ")), 1))
        elif kind == "failing":
            self._bad(name, self._text(name).replace("assert [", "assert not [", 1))
        elif kind == "lib":
            self._good("lib/number.py", self._save("lib/number.py", self._text("lib/number.py")))
        elif kind == "broken lib":
            self._bad("lib/number.py", self._text("lib/number.py").replace("LIB", "BIL"))
            self._good("lib/number.py", self._save("lib/number.py", self._text("lib/number.py")))
        elif kind == "burst":
            for _ in range(self._random.randint(2, 5)):
                mark = self._save(name, self._text(name))
                time.sleep(self._random.uniform(0, 0.03))
            self._good(name, mark)
        elif kind == "rename":
            self._rename()
        else:
            self._delete_and_restore()

    def _pieces(self, name: str) -> None:
        """Save as a slow editor or network does: what lies there meanwhile may be no Python, or look whole."""
        text = self._text(name)
        mark, raw = version_of(text.encode()), text.encode()
        with self.judge.lock:
            self.judge.saved[name, mark] = (self._version, 0)
        with (self.rules / name).open("wb", buffering=0) as file:
            for at in range(0, len(raw), 200):
                file.write(raw[at : at + 200])
                time.sleep(self._random.choice((0, 0.02, 0.3)))
        with self.judge.lock:
            self.judge.saved[name, mark] = (self._version, time.time_ns())
        self._good(name, mark)

    def _rename(self) -> None:
        before, self._main = self._main, "renamed.py" if self._main == "main.py" else "main.py"
        raw = (self.rules / before).read_bytes()
        mark = version_of(raw)
        with self.judge.lock:
            version = self.judge.saved[before, mark][0]
            self.judge.saved[self._main, mark] = (version, time.time_ns())
        (self.rules / before).rename(self.rules / self._main)
        self._settled(self._main, mark)

    def _delete_and_restore(self) -> None:
        (self.rules / "extra.py").unlink()
        wait_until(lambda: "extra.py" not in self._files(), SETTLED_S_MAX, step_s=0.05)
        self._good("extra.py", self._save("extra.py", self._text("extra.py")))

    def _files(self) -> dict[str, Any]:
        return {file["file"]: file for file in self._client.ask("rules_files")}

    def _good(self, name: str, mark: str) -> None:
        """Wait until a good version is live; what is sent from then on is its."""
        said = self._settled(name, mark)
        if not said["live"]:
            self.judge.verdict.refused_good += 1
            self.judge.verdict.examples += said["faults"]
            return
        sent = self._load.sent
        rule = "lib" if name.startswith("lib/") else "extra" if name == "extra.py" else "main"
        with self.judge.lock:
            version = self.judge.saved[name, mark][0]
            self.judge.promised = [each for each in self.judge.promised if each[0] != rule] + [(rule, version, sent)]
        if rule == "main":
            self._whole = True

    def _bad(self, name: str, text: str) -> None:
        """Wait until a bad version is refused."""
        mark = self._save(name, text)
        if name == self._main:
            self._whole = False
        if self._settled(name, mark)["live"]:
            self.judge.verdict.live_bad += 1
            self.judge.verdict.examples.append(f"{name}: {text[:200]}")

    def _settled(self, name: str, mark: str) -> dict[str, Any]:
        end = time.monotonic() + SETTLED_S_MAX
        while True:  # the gateway says after a while that it has not come to it
            said: dict[str, Any] = self._client.ask("rules_settled", file=name, wanted=mark)
            late = not said["live"] and any("not looked at" in fault for fault in said["faults"])
            if not late or time.monotonic() > end:
                return said


def main() -> int:
    """Edit rules in a running gateway again and again; exit 1 if it skips, repeats or runs what is stale."""
    options = argparse.ArgumentParser(prog="./dev edits", description=main.__doc__)
    options.add_argument("--count", type=int, default=200, help="edits (default: 200; 10,000 take an hour)")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--rate", type=float, default=RATE_HZ, help=f"readings a second (default: {RATE_HZ:g})")
    options.add_argument("--json", action="store_true", help="nothing but the JSON object")
    arguments = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended

    def say(line: str) -> None:
        if not arguments.json:
            print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="edits-") as folder:
        verdict = Rig(Path(folder), arguments.count, arguments.seed, arguments.rate, say).run()
    print(json.dumps(asdict(verdict)))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
