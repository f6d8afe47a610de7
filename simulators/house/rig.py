"""The rig of many devices: ``./dev house --devices 500 --minutes 10 --seed 1``.

Devices of every dialect that a gateway has profiles for, in a house with people, beside a real gateway on the house's
clock; faults of every kind come and go.  In the end the oracle judges, dead letters are set against the messages that
were garbled on purpose, and a line is put through the memory of the gateway and of its rule workers (`memory.py`); what
it keeps on purpose is given little room, so that it is full in minutes.

Ends with one JSON object with --json; exit code 1 when the books do not balance, a dead letter comes from no message
that was garbled, a device was never heard of, or memory grew.  A run too short to judge memory says so, and why.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulators.house.dialects import DIALECTS, dialect_class
from simulators.house.letters import explain, letters_of
from simulators.house.memory import verdict
from simulators.house.scenario import (
    DeviceTable,
    ExpectLedger,
    FaultTable,
    GatewayTable,
    Person,
    RoomTable,
    Scenario,
    Step,
)
from simulators.house.show import Options, run

ROOMS = ("hall", "kitchen", "living room", "bath", "bedroom", "nursery", "office", "attic", "cellar", "garage")
SPEED = 60.0  # ten minutes are ten hours of the house, which is warm after six
ROUNDS = 3  # of faults in a long run: the first are over when memory counts
LONG_S = 3 * 3600.0  # of the house's time
RSS_SHOWN = 12  # samples in the figures, evenly over the run
LEDGER = ("values", "of_devices", "lost", "wrong", "out_of_order", "restated", "dropped", "unheard", "duplicates",
          "balanced")  # fmt: skip
RULES = Path(__file__).resolve().parents[2] / "rules" / "catalogue"
WITH_RULES = ("freezer_warm.py", "airing.py", "left_open.py", "device_silent.py", "battery_digest.py")


def fleet(devices: int, minutes: float, seed: int, dialects: Sequence[str] = tuple(DIALECTS)) -> Scenario:
    """Return a house with so many devices, every model of every dialect in turn."""
    tables: list[DeviceTable] = []
    singles: set[tuple[str, str]] = set()
    number = 0
    while len(tables) < devices:
        dialect = dialects[number % len(dialects)]
        kind = dialect_class(dialect)
        models = sorted(kind.models)
        model = models[number // len(dialects) % len(models)]
        number += 1
        if kind.single and (dialect, model) in singles:
            continue
        singles.add((dialect, model))
        room = ROOMS[number % len(ROOMS)]
        name = f"{model}-{number}" if dialect != "zigbee2mqtt" else f"{room}/{model} {number}"
        what = "window" if model == "contact" and number % 2 else ""
        battery = 80.0 if model in ("contact", "motion", "thermometer") else None
        tables.append(
            DeviceTable(name=name, dialect=dialect, model=model, room=room, kind=what, battery=battery)  # type: ignore[arg-type]
        )
    return Scenario(
        schema=1, title=f"{devices} devices", lasts=f"{minutes * 60:g}s", seed=seed, tick="30s",
        room=[RoomTable(name=room) for room in ROOMS], device=tables, person=people(tables),
        fault=faults(minutes * 60), expect_ledger=[ExpectLedger()],
        gateway=GatewayTable(rules=[str(RULES / name) for name in WITH_RULES]),
    )  # fmt: skip


def people(tables: Sequence[DeviceTable]) -> list[Person]:
    """Return people who open, press and switch what there is, all day."""
    opened = [table.name for table in tables if table.model == "contact"]
    pressed = [table.name for table in tables if table.model == "button"]
    found = []
    for index in range(4):
        day = []
        for number in range(24 * 6):
            at = f"{number // 6:02d}:{number % 6}0"
            day.append(Step(at=at, go=ROOMS[(number * 7 + index * 3) % len(ROOMS)], jitter="9m"))
            if opened:
                day.append(Step(at=at, open=opened[(number * 13 + index) % len(opened)], lasts="4m", jitter="9m"))
            if pressed:
                day.append(Step(at=at, press=pressed[(number + index) % len(pressed)], jitter="9m"))
        found.append(Person(name=f"person {index + 1}", room=ROOMS[index], day=day))
    return found


def faults(lasts_s: float) -> list[FaultTable]:
    """Return faults of every kind, in a long run three times; none at the end, where the books are closed.

    What the first round leaves in memory is warm-up, what each of the next adds is a leak.
    """
    one_s = round_s(lasts_s)
    return [fault for number in range(round(lasts_s / one_s)) for fault in _round(number * one_s, one_s)]


def round_s(lasts_s: float) -> float:
    """Return how long a round of faults takes in a run that lasts so long, both of the house's time."""
    return lasts_s / ROUNDS if lasts_s >= LONG_S else lasts_s


def _round(start_s: float, lasts_s: float) -> list[FaultTable]:
    def fault(kind: str, device: str, begin: float, share_of_round: float, **more: Any) -> FaultTable:
        at, lasts = f"{start_s + begin * lasts_s:.0f}s", f"{share_of_round * lasts_s:.0f}s"
        return FaultTable(kind=kind, device=device, at=at, lasts=lasts, **more)  # type: ignore[arg-type]

    return [
        fault("duplicate", "*", 0.05, 0.8, share=0.05),
        fault("garbled", "*", 0.1, 0.7, share=0.01),
        fault("late", "dialect:tasmota", 0.1, 0.5, share=0.2, by=20),
        fault("bad_checksum", "dialect:dsc-it100", 0.1, 0.5, share=0.1),
        fault("clock_skew", "dialect:shelly-gen2", 0.2, 0.3, by=900),
        fault("flood", "thermometer-2*", 0.3, 0.02, by=2),
        fault("unplug", "dialect:rflink", 0.3, 0.1),
        fault("unplug", "dialect:esphome", 0.4, 0.1),
        fault("half_open", "dialect:zwave-js-ui", 0.35, 0.1),
        fault("broker_restart", "*", 0.5, 0.03),
        fault("slow_disk", "*", 0.55, 0.1),
        fault("cloud_500", "*", 0.6, 0.05),
        fault("cloud_429", "*", 0.66, 0.05),
        fault("cloud_silent", "*", 0.72, 0.05),
        fault("cloud_cut", "*", 0.78, 0.06),
        fault("stuck", "*/thermometer*", 0.2, 0.2),
        fault("drift", "thermometer-3*", 0.2, 0.4, by=2),
        fault("spike", "thermometer-4*", 0.2, 0.4, share=0.02),
        fault("flapping", "contact-5*", 0.3, 0.05, by=20),
        fault("dead_battery", "motion-6*", 0.4, 0.3),
        fault("silent", "*/leak*", 0.4, 0.2),
        fault("wrong_polarity", "contact-7*", 0.5, 0.2),
        fault("ignores", "thermostat-*", 0.2, 0.2),
        fault("acts_late", "*/thermostat*", 0.5, 0.2),
        fault("reverts", "plug-*", 0.2, 0.4),
    ]


async def work(words: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run it and return the figures."""
    scenario = fleet(words.devices, words.minutes * words.speed, words.seed, words.dialects or tuple(DIALECTS))
    options = Options(
        scenario=scenario, folder=folder, here=folder, seed=words.seed, speed=words.speed,
        lasts_s=scenario.lasts_s, gateway=True, mosquitto=not words.listener,
    )  # fmt: skip

    def show(said: dict[str, Any]) -> None:
        if not words.json:
            print(f"\r{said['at_s']:.0f} s, {said['sent']} sent, {said['waiting']} wait   ", end="", file=sys.stderr)

    ran = await run(options, show, asyncio.Event())
    ledger = ran.result["ledger"]
    letters = explain(letters_of(folder / "gateway.toml"), ran.damaged)
    unread = max(0, ran.result["dead_letters"] - letters.explained - letters.again - letters.unexplained)
    figures = {
        "devices": words.devices, "dialects": ran.result["dialects"], "minutes": words.minutes, "seed": words.seed,
        "speed": words.speed, "sent": ran.result["sent"], "acknowledged": ran.result["acknowledged"],
        "garbled": ran.result["damaged"], "dead_letters": ran.result["dead_letters"],
        "lost_serial_bytes": ran.result["lost_serial_bytes"],
        "explained": letters.explained, "explained_again": letters.again,
        "unexpected_dead_letters": letters.unexplained + unread, "unexplained": letters.examples,
        **{name: ledger[name] for name in LEDGER},
        "rss_mb": [round(sum(sample.resident.values()) / 1e6, 1)
                   for sample in ran.memory[:: max(1, len(ran.memory) // RSS_SHOWN)]],
        "memory": verdict(ran.memory, words.speed, round_s(scenario.lasts_s)),
        "drained": ran.result["drained"], "examples": ledger["examples"],
        "per_dialect": ran.result["per_dialect"],
    }  # fmt: skip
    figures["good"] = bool(
        figures["balanced"] and figures["drained"] and not figures["unheard"]
        and not figures["unexpected_dead_letters"] and figures["memory"]["level"] is not False
    )  # fmt: skip
    return figures


def main() -> int:
    """Run the rig."""
    options = argparse.ArgumentParser(prog="./dev house", description=main.__doc__)
    options.add_argument("--devices", type=int, default=500)
    options.add_argument("--minutes", type=float, default=10.0, help="of real time")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--speed", type=float, default=SPEED, help="the house's clock, and the gateway's")
    options.add_argument("--dialects", nargs="*", choices=list(DIALECTS), help="default: all")
    options.add_argument("--listener", action="store_true", help="devices at the gateway's listener, no broker")
    options.add_argument("--keep", type=Path, help="keep the gateway's folder here")
    options.add_argument("--json", action="store_true")
    words = options.parse_args()
    if words.keep:
        words.keep.mkdir(parents=True)
        figures = asyncio.run(work(words, words.keep.resolve()))
    else:
        with tempfile.TemporaryDirectory(prefix="edge-gateway-rig-", ignore_cleanup_errors=True) as folder:
            figures = asyncio.run(work(words, Path(folder)))
    print(f"memory: {figures['memory']['said']}", file=sys.stderr)
    print(json.dumps(figures, ensure_ascii=False, indent=None if words.json else 1))
    return 0 if figures["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
