"""`./dev framing`: a million bad inputs for each framing, and what a frame costs.

Figures by way of framing: inputs, frames that came out, refusals, first frames lost behind garbage, strangers (frames
that nobody sent and whose checksum fits by chance, or that had none) and how often one swallowed whole frames, CPU a
frame and MB a second of sound frames.
Exit code 1 when a framer raised, hung, kept too much, or did not find back; the line printed does it again.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from random import Random
from types import FrameType

from tests.framing.fuzz import FramerFault, Tally, run
from tests.framing.port_cost import cost
from tests.framing.unplugged import DEVICES, unplugged
from tests.framing.wires import WIRES, Wire

HANG_S = 60  # for `BATCH` trials, which take a fraction of a second
BATCH = 1000
SOUND_FRAMES = 4000
READ_BYTES = 4096


def throughput(wire: Wire) -> tuple[float, float]:
    """Feed sound frames as a port would; return CPU microseconds a frame and megabytes a second."""
    random = Random(1)
    sent = [wire.sent(wire.body(random)) for _ in range(SOUND_FRAMES)]
    if wire.pauses:
        stream = sent
    else:
        joined = b"".join(sent)
        stream = [joined[at : at + READ_BYTES] for at in range(0, len(joined), READ_BYTES)]
    best = float("inf")
    for _ in range(5):
        framer, frames = wire.options.framer(), 0
        started = time.process_time()
        for piece in stream:
            frames += len(framer.feed(piece))
            if wire.pauses:
                frames += len(framer.idle())
        best = min(best, time.process_time() - started)
        if frames != SOUND_FRAMES:
            raise FramerFault(f"{frames} of {SOUND_FRAMES} sound frames came out: {wire.options}")
    return best / SOUND_FRAMES * 1e6, sum(map(len, sent)) / best / 1e6


def fuzz(name: str, wire: Wire, inputs: int, seed: int, ways: int) -> Tally:
    """Do so many trials, in batches that may not hang."""
    tally = Tally()
    for start in range(0, inputs, BATCH):
        signal.alarm(HANG_S)
        try:
            run(wire, min(BATCH, inputs - start), seed + start, tally)
        except Exception as error:  # noqa: BLE001 - whatever a framer raises is what is looked for here
            again = f"--inputs {BATCH * ways} --seed {seed + start} --only '{name}'"
            sys.exit(f"{name}: {again}: {type(error).__name__}: {error}")
        finally:
            signal.alarm(0)
    return tally


def _hangs(_number: int, _frame: FrameType | None) -> None:
    raise FramerFault(f"no end after {HANG_S} s")


def main() -> int:
    """Fuzz and measure; print a table or JSON lines."""
    words = argparse.ArgumentParser(prog="./dev framing", description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("--inputs", type=int, default=1_000_000, help="for each framing (default 1,000,000)")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument(
        "--only", action="append", default=[], metavar="TYPE", help="a type of framing, or one way of it"
    )
    words.add_argument("--port", action="store_true", help="only what a line costs between a port and the inbox")
    words.add_argument(
        "--unplug", type=float, metavar="SECONDS", help="only eight devices that are pulled out and put in"
    )
    words.add_argument("--json", action="store_true")
    said = words.parse_args()
    if said.port:
        for how, lines, at_once, pause_s in (
            ("100 lines a write", 200_000, 100, 0.0),
            ("line by line", 2_000, 1, 0.002),
        ):
            us, per_s = cost(lines, at_once, pause_s)
            print(f"port, {how:20} {us:6.2f} us a line of 80 bytes, {per_s:9,.0f} lines a second")
        return 0
    if said.unplug:
        lives, lines, wrong = unplugged(said.unplug, said.seed)
        print(f"{lives:,} times pulled out, {lines:,} lines came, {wrong} of {DEVICES} devices' lines lost or doubled")
        return wrong > 0
    signal.signal(signal.SIGALRM, _hangs)
    chosen = {
        name: wire
        for name, wire in WIRES.items()
        if not said.only or name in said.only or name.split(",")[0] in said.only
    }
    ways = {name: sum(name.split(",")[0] == other.split(",")[0] for other in WIRES) for name in WIRES}
    if not said.json:
        titles = f"{'inputs':>9} {'frames':>9} {'refused':>9} {'lost':>7} {'strangers':>9} {'swallowed':>9}"
        titles += f" {'us':>6} {'MB/s':>6}"
        print(f"{'framing':26} {titles}")
    for name, wire in chosen.items():
        tally = fuzz(name, wire, -(-said.inputs // ways[name]), said.seed, ways[name])
        us, mb_s = throughput(wire)
        if said.json:
            figures = {"framing": name, "inputs": tally.inputs, "frames": tally.frames, "rejected": tally.rejected}
            more = {"lost": tally.lost, "strangers": tally.strangers, "swallowed": tally.swallowed}
            cost_of_it = {"us": round(us, 2), "mb_s": round(mb_s, 1), "seed": said.seed}
            print(json.dumps({**figures, **more, **cost_of_it}), flush=True)
        else:
            refused = sum(tally.rejected.values())
            counts = f"{tally.inputs:9,} {tally.frames:9,} {refused:9,} {tally.lost:7,}"
            by_chance = f"{tally.strangers:9,} {tally.swallowed:9,}"
            print(f"{name:26} {counts} {by_chance} {us:6.2f} {mb_s:6.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
