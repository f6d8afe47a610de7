"""`demo`: a house, a gateway and a cloud on this machine, with an outage in the middle and a ledger at the end.

Processes: this one (the cloud, and the link to it that is cut), the gateway as `edge-gateway run` with its rule
worker, and three of simulated devices.  All ports are free ones on 127.0.0.1, all files in a folder that is removed.

    devices --MQTT, QoS 1--> gateway's listener --> journal --> rules --> link --> cloud
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gateway.api.client import ApiClient
from gateway.api.line import ApiError, NotRunning
from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.terminal.screen import Screen
from gateway.cli.verb import BAD, OK
from gateway.errors import GatewayError
from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from simulators import ledger
from simulators.cloud_mqtt import CloudMqtt
from simulators.devices import Fleet, House
from simulators.link import Link
from simulators.processes import Session, free_port
from simulators.processes import listening as accepts

SECONDS_MIN = 6.0
OUTAGE = (0.35, 0.6)  # share of the time at which the link is cut and restored
QUIET = 0.8  # share of the time after which devices are silent, so that the rest is delivery
DRAIN_S_MAX = 30.0
START_S_MAX = 60.0
LOOK_S = 0.25
ALERTS_SHOWN = 3
MESSAGES_PER_S = 60.0  # of all devices together
FLEETS = {
    "thermostats": Fleet(thermostats=8, contacts=0, occupancy=0, cameras=0, shelly_doors=0, shelly_gen2=0),
    "doors": Fleet(thermostats=0, contacts=6, occupancy=4, cameras=0, shelly_doors=2, shelly_gen2=0),
    "cameras": Fleet(thermostats=0, contacts=0, occupancy=0, cameras=3, shelly_doors=0, shelly_gen2=0),
}
GARBAGE = (b'{"local_temperature": 21.', b"\xff\xfe\x00", b'{"contact": NaN}')
DEVICES_TOML = """\
[[device]]
id = "house/z2m:hall/door"
name = "front door"
room = "hall"
labels = ["entry"]

[[device]]
id = "house/z2m:kitchen/door"
name = "kitchen window"
room = "kitchen"
kind = "window"

[[device]]
id = "house/z2m:kitchen/radiator"
name = "kitchen radiator"
room = "kitchen"
kind = "thermostat"
"""
CONFIG_TOML = """\
[gateway]
name = "demo"
state = "state"
location = {{ latitude = 52.5, longitude = 13.4 }}   # rules want to know when it is dark

[journal]
bytes_max = "48MB"

[rules]
folder = {rules}
modes = ["night", "home", "away", "vacation"]   # the first is the one at first: doors that open raise an alarm

[sources.house]
listen = "127.0.0.1:{listen}"

[targets.cloud]
type = "mqtt"
url = "mqtt://127.0.0.1:{cloud}"
"""
RULES = Path(__file__).resolve().parents[3] / "rules" / "catalogue"


def run(words: argparse.Namespace) -> int:
    """Run the demonstration; 1 when its ledger does not balance."""
    if words.seconds < SECONDS_MIN:
        raise GatewayError(f"--seconds is at least {SECONDS_MIN:g}: there is an outage to see")
    folder = Path(tempfile.mkdtemp(prefix="edge-gateway-demo-"))
    demo = Demo(folder, words.seconds, words.seed, Screen(quiet=words.json))
    try:
        result = asyncio.run(demo.play())
    except GatewayError as error:
        complain(f"the demo could not run: {error}\n{demo.gateway_log()}")
        return BAD
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # SIGTERM, or the terminal was closed: as Ctrl-C
    finally:
        demo.end_processes()
        shutil.rmtree(folder, ignore_errors=True)
    if words.json:
        say_json(result)
    else:
        for line in closing(result):
            say(line)
    return OK if result["balanced"] else BAD


class Demo:
    """One run of the show."""

    def __init__(self, folder: Path, seconds: float, seed: int, screen: Screen) -> None:
        self._folder, self._seconds, self._seed, self._screen = folder, seconds, seed, screen
        self._cloud_side = ledger.CloudSide()
        self._cloud = CloudMqtt(lambda delivery: self._cloud_side.take(delivery.payload))
        self._link: Link | None = None
        self._sessions: list[Session] = []
        self._houses: dict[str, House] = {}
        self._progress: dict[str, dict[str, Any]] = {}
        self._ledgers: dict[str, dict[str, Any]] = {}
        self._status: dict[str, Any] = {}
        self._started = time.monotonic()
        self._port = free_port()

    async def play(self) -> dict[str, Any]:
        """Play it from start to ledger; the JSON object of the end."""
        myself = asyncio.current_task()
        assert myself is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, myself.cancel)
        cloud = asyncio.create_task(self._cloud.run())
        await self._cloud.ready()
        link = self._link = Link("127.0.0.1", self._cloud.port)
        await link.start()
        gateway = self._start_gateway(link.port)
        await self._until_ready(gateway)
        readers = self._start_devices()
        rejects = await self._send_garbage()
        try:
            await self._show(readers)
        finally:
            cloud.cancel()
            await link.stop()
        return self._close(rejects, link, gateway)

    # ---- the cast ------------------------------------------------------------------------------------

    def _start_gateway(self, cloud_port: int) -> Session:
        text = CONFIG_TOML.format(listen=self._port, cloud=cloud_port, rules=json.dumps(str(RULES)))
        (self._folder / "gateway.toml").write_text(text)
        (self._folder / "devices.toml").write_text(DEVICES_TOML)
        return self._start("gateway", "-m", "gateway", "run", "--config", str(self._folder / "gateway.toml"))

    def _start_devices(self) -> list[asyncio.Task[None]]:
        readers = []
        weights = {"thermostats": 0.5, "doors": 0.25, "cameras": 0.25}
        for number, (name, fleet) in enumerate(FLEETS.items()):
            seed = self._seed * 10 + number
            self._houses[name] = House(seed, fleet)
            session = self._start(
                name, "-m", "simulators.device_process", "--url", f"mqtt://127.0.0.1:{self._port}",
                "--seed", str(seed), "--rate", str(MESSAGES_PER_S * weights[name]), "--every", str(LOOK_S),
                "--fleet", json.dumps({key: getattr(fleet, key) for key in Fleet.__slots__}), pipes=True,
            )  # fmt: skip
            readers.append(asyncio.create_task(self._listen_to(name, session)))
        return readers

    def _start(self, name: str, *arguments: str, pipes: bool = False) -> Session:
        found = os.pathsep.join(path for path in sys.path if path)  # an installed program's libraries lie where it says
        environment = {**os.environ, "PYTHONPATH": found}
        session = Session([sys.executable, *arguments], self._folder / f"{name}.log", env=environment, pipes=pipes)
        self._sessions.append(session)
        return session

    async def _listen_to(self, name: str, session: Session) -> None:
        """Take a device process's lines until it ends."""
        assert session.process.stdout is not None
        while line := await asyncio.to_thread(session.process.stdout.readline):
            said = json.loads(line)
            self._progress[name] = said.get("progress", self._progress.get(name, {}))
            if "ledger" in said:
                self._ledgers[name] = said["ledger"]

    async def _until_ready(self, gateway: Session) -> None:
        end = time.monotonic() + START_S_MAX
        while not await asyncio.to_thread(accepts, "127.0.0.1", self._port):
            if not gateway.alive() or time.monotonic() > end:
                raise GatewayError("the gateway did not start")
            await asyncio.sleep(0.05)

    async def _send_garbage(self) -> int:
        """Send messages that can't be decoded, and have them acknowledged like any other."""
        import aiomqtt

        async with aiomqtt.Client("127.0.0.1", self._port, identifier="broken-device") as client:
            for number, payload in enumerate(GARBAGE):
                await client.publish(f"zigbee2mqtt/broken {number}", payload, qos=1)
        return len(GARBAGE)

    # ---- the show ------------------------------------------------------------------------------------

    async def _show(self, readers: list[asyncio.Task[None]]) -> None:
        """Run the clock: cut, restore, silence the devices, wait until everything is delivered."""
        assert self._link is not None
        acts: list[tuple[float, Callable[[], None]]] = [
            (OUTAGE[0] * self._seconds, partial(self._link.cut, "blackhole")),
            (OUTAGE[1] * self._seconds, self._link.restore),
            (QUIET * self._seconds, self._silence),
        ]
        self._started = time.monotonic()
        while acts or not self._settled(readers):
            passed = time.monotonic() - self._started
            while acts and acts[0][0] <= passed:
                acts.pop(0)[1]()
            if passed > self._seconds + DRAIN_S_MAX:
                break
            if not self._sessions[0].alive():
                raise GatewayError("the gateway ended before the show did")
            await self._look()
            self._screen.show(self._lines(passed))
            await asyncio.sleep(LOOK_S)
        self._screen.leave()

    def _silence(self) -> None:
        for session in self._sessions[1:]:
            session.process.terminate()

    def _settled(self, readers: list[asyncio.Task[None]]) -> bool:
        """Return whether the devices have closed their books, rules have seen all, and nothing is on its way."""
        rules = self._status.get("rules", {})
        judged = rules.get("state") in ("running", "none") and not rules.get("behind")
        return all(reader.done() for reader in readers) and self._queued() == 0 and judged

    def _queued(self) -> int:
        return sum(lane["queued"] for lane in self._status.get("lanes", ()))

    async def _look(self) -> None:
        with contextlib.suppress(ApiError, NotRunning):
            self._status = await asyncio.to_thread(self._ask_status)

    def _ask_status(self) -> dict[str, Any]:
        with ApiClient(self._folder / "state" / "api.sock") as client:
            client.ask("flush")
            status: dict[str, Any] = client.ask("status")
            return status

    def _lines(self, passed: float) -> Iterator[str]:
        assert self._link is not None
        acknowledged = sum(each.get("acknowledged", 0) for each in self._progress.values())
        side, rules = self._cloud_side, self._status.get("rules", {})
        link = "whole" if self._link.whole else f"CUT for {self._link.outage_s:.0f} s"
        yield f"edge-gateway demo   {passed:4.0f} s of {self._seconds:.0f}   link to the cloud: {link}"
        yield f"devices   {acknowledged:6d} messages acknowledged: they are on the disk"
        yield f"gateway   {self._queued():6d} events wait   {rules.get('fired', 0)} rule calls"
        yield f"cloud     {side.received - side.repeats:6d} events   {side.repeats} repeats   {side.replayed} replayed"
        for alert in side.alerts[-ALERTS_SHOWN:]:
            yield f"alert     {alert}"

    # ---- the end -------------------------------------------------------------------------------------

    def _close(self, rejects: int, link: Link, gateway: Session) -> dict[str, Any]:
        if mute := self._houses.keys() - self._ledgers.keys():
            raise GatewayError(f"no ledger from the simulated {', '.join(sorted(mute))}: they did not end in time")
        catalogue, promised = Catalogue.load(), {}
        for name, house in self._houses.items():
            decoder = Decoder(catalogue, "demo", ledger.SOURCE, Devices.load(self._folder / "devices.toml"), {})
            promised.update(ledger.expected(decoder, house, self._ledgers[name]["per_device"]))
        usage = gateway.usage()
        code = gateway.stop()
        closed = ledger.close(
            promised,
            self._cloud_side,
            queued=self._queued(),
            dropped=sum(lane["dropped"] for lane in self._status.get("lanes", ())),
            rejects=rejects,
            letters=self._status.get("dead_letters", 0),
        )
        return ledger.summary(
            closed,
            self._cloud_side,
            outage_s=round(link.outage_s, 1),
            rules_fired=self._status.get("rules", {}).get("fired", 0),
            messages=sum(each["acknowledged"] for each in self._ledgers.values()) + rejects,
            rss_mb=round(usage.rss_peak_bytes / 1e6),
            gateway_exit=code,
            seconds=round(time.monotonic() - self._started, 1),
            seed=self._seed,
        )

    def gateway_log(self) -> str:
        """Return the end of the gateway's log."""
        return self._sessions[0].tail() if self._sessions else ""

    def end_processes(self) -> None:
        """End whatever still runs."""
        for session in self._sessions:
            session.kill()


def closing(result: dict[str, Any]) -> Iterator[str]:
    """Write the ledger for a person."""
    yield ""
    yield f"ledger after {result['outage_s']:g} s of outage"
    for key in ("sent", "delivered", "queued", "dropped", "dead_lettered"):
        yield f"  {key:<14}{result[key]:>8}"
    yield f"  {'repeats':<14}{result['repeats']:>8}   same id; the cloud knows them"
    yield f"  {'out of order':<14}{result['out_of_order']:>8}"
    yield f"  {'rules fired':<14}{result['rules_fired']:>8}   {result['alerts']} alerts"
    yield "balanced: every event that was acknowledged is accounted for" if result["balanced"] else "NOT BALANCED"
