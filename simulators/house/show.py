"""One run of a scenario from start to verdict, with a gateway beside it or without."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from gateway.api.line import ApiError, NotRunning
from simulators.house import oracle
from simulators.house.books import Books, Clock
from simulators.house.drive import Drive, counts
from simulators.house.evidence import rows
from simulators.house.expectations import Result, judged, seen
from simulators.house.house import House
from simulators.house.letters import Damaged
from simulators.house.memory import Sample
from simulators.house.scenario import FaultTable, Scenario
from simulators.house.seen_rules import coverage
from simulators.house.stage import Stage

LOOK_S = 0.5
LEAD_S = 0.2  # from the order to go to the start, so that both clocks know
SLACK_S = 2.0  # of real time that a gateway may be late
SAMPLES_MAX = 100_000

Show = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a scenario."""

    scenario: Scenario
    folder: Path  # for everything that is written
    here: Path  # of the scenario file
    seed: int
    speed: float
    lasts_s: float
    faults: Sequence[FaultTable] = ()
    gateway: bool = False
    mosquitto: bool = False  # a broker in front of the gateway; else devices are at its listener
    broker: tuple[str, int] = ("127.0.0.1", 1883)  # without a gateway
    record: Path | None = None
    sent: Path | None = None
    qos: int = 1
    ports: Path | None = None  # where serial ports appear; default: in `folder`


@dataclass(slots=True)
class Ran:
    """What came of a run."""

    result: dict[str, Any]
    results: list[Result] = field(default_factory=list)
    memory: list[Sample] = field(default_factory=list)  # of the gateway
    damaged: list[Damaged] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Return whether every expectation was met."""
        return all(result.met for result in self.results)


async def run(options: Options, show: Show, stopping: asyncio.Event) -> Ran:
    """Run it."""
    house = House(options.scenario, options.seed, options.faults)
    stage = None
    if options.gateway:
        restarts = house.troubles.lines(("broker_restart",))
        broker = options.mosquitto or bool(restarts)
        stage = Stage(options.folder, house, speed=options.speed, here=options.here, broker=broker)
    sent = options.sent or (options.folder / "sent.ndjson" if options.gateway else None)
    books, clock = Books(sent, options.record), Clock(options.speed)
    ports = options.ports if options.ports and not stage else options.folder / "ports"
    address = stage.address if stage else options.broker
    acts = stage.acts if stage else {}
    drive = Drive(house, clock, books, broker=address, ports=ports, acts=acts, qos=options.qos)
    try:
        ran = await _play(options, house, drive, stage, show, stopping)
    finally:
        if stage:
            await asyncio.to_thread(stage.stop)
    if stage:  # its journal is whole now
        ran.result["coverage"] = coverage(options.folder / "gateway.toml")
    return ran


async def _play(
    options: Options, house: House, drive: Drive, stage: Stage | None, show: Show, stopping: asyncio.Event
) -> Ran:
    drive.plug_in()
    if stage:
        await asyncio.to_thread(stage.start)
    began = time.monotonic() + LEAD_S
    drive.clock.go(began)
    if stage:
        stage.go(began)
    watch = _Watch(drive, stage, show)
    watching = asyncio.create_task(watch.run())
    started = time.monotonic()
    try:
        await drive.run(options.lasts_s, stopping)
        drained = await stage.drain() if stage else True
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        drive.books.close()
    result: dict[str, Any] = {
        "title": options.scenario.title, "seed": options.seed, "speed": options.speed,
        "seconds": round(time.monotonic() - started, 1), "interrupted": stopping.is_set(),
        "devices": len(house.gadgets), "dialects": len(house.dialects), **counts(drive),
        "faults": [msgspec.to_builtins(each.table) for each in house.troubles.all],
        "happenings": [msgspec.to_builtins(each) for each in options.scenario.happening],
        "orders": [{"at_s": round(each.at_s, 1), "device": each.device, "field": each.field, "value": each.value}
                   for each in house.heard],
    }  # fmt: skip
    ran = Ran(result)
    if stage:
        _judge(options, house, stage, ran, drained=drained, end_s=drive.done_s)
        ran.memory = watch.memory
        hurt = drive.books.hurt
        ran.damaged = [
            Damaged(house.dialects[sent.dialect].source, sent.said.topic, sent.said.payload) for sent in hurt
        ]
    return ran


def _judge(options: Options, house: House, stage: Stage, ran: Ran, *, drained: bool, end_s: float) -> None:
    """Ask the far end, the devices and the books."""
    verdict = oracle.verify_files(stage.received, options.sent or options.folder / "sent.ndjson").json()
    events = [seen(event, options.scenario.start_s) for event in _events(stage.received)]
    ids = {gadget.name: house.dialects[gadget.dialect].id_of(gadget) for gadget in house.gadgets}
    letters = int(stage.said.get("dead_letters", 0))
    ran.results = list(
        judged(options.scenario, events, house.heard, ids, verdict=verdict, dead_letters=letters,
               slack_s=SLACK_S * options.speed, end_s=end_s)
    )  # fmt: skip
    ran.result |= {
        "expectations": rows(ran.results), "ledger": verdict, "dead_letters": letters, "drained": drained,
        "alerts": [{"at_s": round(each.at_s, 1), "device": each.device, **each.data} for each in events
                   if each.type == "alert_raised"],
    }  # fmt: skip


def _events(file: Path) -> list[dict[str, Any]]:
    """Read the far end's file, each event once."""
    found: dict[str, dict[str, Any]] = {}
    if file.exists():
        for line in file.read_bytes().splitlines():
            event = msgspec.json.decode(line)
            found.setdefault(event["id"], event)
    return list(found.values())


class _Watch:
    """Looks at a run every half second: what to show, and the gateway's memory."""

    def __init__(self, drive: Drive, stage: Stage | None, show: Show) -> None:
        self._drive, self._stage, self._show = drive, stage, show
        self.memory: list[Sample] = []

    async def run(self) -> None:
        while True:
            said = counts(self._drive)
            if self._stage:
                with contextlib.suppress(ApiError, NotRunning, OSError):
                    said["status"] = await asyncio.to_thread(self._stage.status)
                if len(self.memory) < SAMPLES_MAX:
                    resident = await asyncio.to_thread(self._stage.resident)
                    self.memory.append(Sample(time.monotonic(), self._drive.books.sent, resident, self._stage.objects))
            self._show(said)
            await asyncio.sleep(LOOK_S)
