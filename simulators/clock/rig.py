"""``python -m simulators.clock.rig [--seed N] [--readings N] [--no-shim] [--json]``: a board without a clock chip.

A real gateway starts in 1970; the cloud is there, with a certificate that is not valid then (without shim: it is away).
Devices publish while the clock is set to the truth, forward by years, back by minutes, and to the truth again; in
between the gateway is killed and started. Rules with a timer and a window run all the time. Then the cloud comes back,
and judge.py compares what arrives with a clock that was never bent: nothing lost, nothing twice, order kept, no timer
early, windows right, no time that is wrong and not marked; nothing left before the clock was set, nobody was stormed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import aiomqtt

from gateway.api.client import ApiClient
from gateway.api.line import ApiError
from simulators.clock.bent import BentClock, compiler
from simulators.clock.judge import WAIT_S, Published, Verdict, judge
from simulators.cloud_http import CloudHttp
from simulators.processes import free_port, wait_until

PATIENCE_S = 60.0
CONNECTIONS_MAX = (
    4  # a start, to a cloud whose certificate is not valid yet: by send and probe, each asks for the dates
)
DEVICES = ("ht-attic", "ht-cellar")
CROWD = 3  # readings of the crowded device within its window
YEARS_S = 3 * 365 * 86_400
RULES = '''"""Readings settle, and crowd."""
from gateway.rules import rule, sliding, timer


@rule("temperature_changed")
def settle(event, ctx):
    ctx.after("{wait}s", settled, n=event["temperature"])


@timer
def settled(ctx, n):
    ctx.emit("reading_settled", {{"n": n}})


@rule("humidity_changed", over=sliding("10m", count={crowd}), cooldown="11m")
def crowded(event, ctx):
    ctx.emit("readings_crowded")
'''
CONFIG = """[gateway]
name = "board"
state = "state"
heartbeat_minutes = 0
[journal]
bytes_max = 16777216
[sources.house]
listen = "127.0.0.1:{port}"
[targets.cloud]
type = "http"
url = "{url}"
mode = "batched"
{tls}
reconnect_first_s = 0.05
reconnect_max_s = 0.2
"""


class Rig:
    """One run."""

    def __init__(self, folder: Path, seed: int, readings: int, *, shim: bool) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._readings = readings
        self._clock = BentClock(folder, shim=shim)
        context = _certified(folder) if shim else None  # OpenSSL's clock is bent only below libc
        self._cloud = CloudHttp(context=context).start()  # it has a port from now on
        self._tls = context is not None
        self.early = 0  # events that left before the clock was right enough for the cloud's certificate
        self.storm = 0  # connections to the cloud meanwhile, beyond CONNECTIONS_MAX a start
        self._port = free_port()
        self._gateway: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = (folder / "gateway.log").open("ab")
        self._n = 0
        self._humidity = 0
        self._steps, self._synced = 0, False  # what the gateway that runs has to have seen
        self.published: list[Published] = []
        (folder / "rules").mkdir()
        (folder / "rules" / "readings.py").write_text(RULES.format(wait=f"{WAIT_S:g}", crowd=CROWD))
        self._config = folder / "gateway.toml"
        self._config.write_text(CONFIG.format(port=self._port, url=self._cloud.url, tls=TLS if self._tls else ""))

    async def run(self, *, short: bool = False) -> Verdict:
        """Run all phases, or (`short`) those between which the gateway is not started again; and judge."""
        try:
            if not self._tls:
                self._cloud.stop()  # else it is there, and its certificate is not valid yet in 1970
            self._clock.to(10.0 + self._chance.random() * 100, synced=False)
            self._start()
            await self._publish("1970", crowd=1)
            if not short:
                await self._again("1970, started again")
            await self._publish("1970, some time later", crowd=1)
            await self._waited_for_the_clock(starts=1 if short else 2)
            await self._publish("set", crowd=1)  # the window holds, though the clock leaps over 56 years in it
            self._bend(YEARS_S * self._chance.uniform(0.5, 1.5), synced=False)
            await self._publish("years ahead")
            self._bend(-60.0 * self._chance.uniform(2, 30), synced=False)
            await self._publish("minutes behind")
            if not short:
                await self._again("minutes behind, started again", kill=True)
            self._bend(0.0, synced=True)
            await self._publish("set again")
            self._cloud.start()
            return await self._arrivals()
        finally:
            self._end(signal.SIGTERM)
            self._cloud.stop()
            self._log.close()

    async def _waited_for_the_clock(self, starts: int) -> None:
        """Set the clock; over TLS nothing left before, nobody stormed the cloud, and everything goes on at once."""
        self.early, self.storm = len(self._cloud.accepted), max(0, self._cloud.connections - CONNECTIONS_MAX * starts)
        self._bend(0.0, synced=True)
        if self._tls:
            await asyncio.to_thread(wait_until, lambda: bool(self._cloud.accepted), PATIENCE_S)
            self._cloud.stop()

    def _bend(self, ahead_s: float, *, synced: bool) -> None:
        self._clock.bend(ahead_s, synced=synced)
        self._steps, self._synced = self._steps + 1, synced

    # ---- the gateway ---------------------------------------------------------------------------------

    def _start(self) -> None:
        self._steps = 0
        command, environment = self._clock.command(["run", "--config", str(self._config)])
        self._gateway = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)  # noqa: S603 - our own program

    def _end(self, how: signal.Signals) -> None:
        if self._gateway is not None:
            self._gateway.send_signal(how)
            try:
                self._gateway.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._gateway.kill()
                self._gateway.wait()
            self._gateway = None

    async def _again(self, phase: str, *, kill: bool = False) -> None:
        await asyncio.to_thread(self._end, signal.SIGKILL if kill else signal.SIGTERM)
        self._start()
        await self._publish(phase)

    # ---- devices -------------------------------------------------------------------------------------

    async def _publish(self, phase: str, *, crowd: int = 0) -> None:
        """Publish readings of every device, each when the one before is acknowledged."""
        async with asyncio.timeout(PATIENCE_S):
            async with await self._client() as client:
                for _ in range(self._readings):
                    await self._reading(client, phase)
                    await asyncio.sleep(self._chance.uniform(0.0, 0.1))
                for _ in range(crowd):
                    self._humidity += 1
                    topic = "shellies/shellyht-crowd/sensor/humidity"
                    await client.publish(topic, str(10 + self._humidity % 80), qos=1)
                await self._noticed(client, phase)

    async def _client(self) -> aiomqtt.Client:
        while True:
            client = aiomqtt.Client("127.0.0.1", self._port, identifier="rig", timeout=PATIENCE_S)
            try:
                async with client:
                    pass
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)
            else:
                return aiomqtt.Client("127.0.0.1", self._port, identifier="rig", timeout=PATIENCE_S)

    async def _reading(self, client: aiomqtt.Client, phase: str) -> None:
        device = f"shelly{self._chance.choice(DEVICES)}"
        self._n += 1
        began = time.time()
        await client.publish(f"shellies/{device}/sensor/temperature", f"{self._n / 10:.1f}", qos=1)
        self.published.append(Published(device, self._n, began, time.time(), phase))

    async def _noticed(self, client: aiomqtt.Client, phase: str) -> None:
        """Go on for a moment, and until the gateway has seen what the clock is now: it looks once a second."""
        end = time.monotonic() + 1.3
        while time.monotonic() < end or not await asyncio.to_thread(self._seen):
            await self._reading(client, phase)
            await asyncio.sleep(0.1)

    def _seen(self) -> bool:
        with contextlib.suppress(ApiError), ApiClient(self._folder / "state" / "api.sock") as gateway:
            clock = gateway.ask("status")["vitals"]["clock"]
            return (clock.get("steps", 0), clock["synced"]) == (self._steps, self._synced)
        return False

    # ---- the cloud -----------------------------------------------------------------------------------

    async def _arrivals(self) -> Verdict:
        """Wait until everything is there, and what the timers made; or for long enough."""
        end = time.monotonic() + PATIENCE_S
        while True:
            verdict = judge(self.published, self._events(), windows=1)
            verdict.before_the_clock, verdict.storm = self.early, self.storm
            if time.monotonic() > end or not (verdict.missing or verdict.timers_missing):
                return verdict
            await asyncio.sleep(0.2)

    def _events(self) -> list[dict[str, Any]]:
        return list(self._cloud.accepted)


TLS = 'tls.ca = "certificate.pem"'


def _certified(folder: Path) -> ssl.SSLContext:
    """Make a certificate that is valid from today on, and what a server needs to use it."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem"]
    name = ["-subj", "/CN=cloud", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-out", "certificate.pem"]
    command = [shutil.which("openssl") or "openssl", "req", "-x509", *key, *name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - our own words
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def run(seed: int, readings: int, *, shim: bool, folder: Path | None = None, short: bool = False) -> Verdict:
    """Run once, in a folder that is kept, or one that is not."""
    if folder is not None:
        return asyncio.run(Rig(folder, seed, readings, shim=shim).run(short=short))
    with tempfile.TemporaryDirectory(prefix="clock-") as made:
        return asyncio.run(Rig(Path(made), seed, readings, shim=shim).run(short=short))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; 1 when the gateway did not keep its word."""
    parser = argparse.ArgumentParser(prog="./dev clock", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--readings", type=int, default=5, metavar="N", help="of each phase, at least (default: 5)")
    parser.add_argument("--no-shim", action="store_true", help="bend the clock in Python, not below libc")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="an empty folder for config, log and journal")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args(arguments)
    shim = not words.no_shim
    if shim and not compiler():
        parser.error("there is no C compiler: type  apt install gcc libc6-dev,  or add --no-shim")
    if words.keep is not None:
        words.keep.mkdir(parents=True, exist_ok=True)
    found = run(words.seed, words.readings, shim=shim, folder=words.keep)
    said = {"seed": words.seed, "shim": shim, "good": found.good, **asdict(found)}
    if words.json:
        print(json.dumps(said))
    else:
        for name, value in said.items():
            print(f"{name:24} {value}")
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
