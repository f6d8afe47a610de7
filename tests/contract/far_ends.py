"""Far ends for the contract of targets: one for each target, all with the same switches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from gateway.clock import SystemClock
from gateway.targets.http import HttpTarget, HttpTargetOptions
from gateway.targets.mqtt import MqttTarget, MqttTargetOptions
from gateway.targets.target import Target
from simulators.broker import Mosquitto
from simulators.cloud_http import CloudHttp
from simulators.far_end import FarEnd as Subscriber
from simulators.far_end import Judge


class FarEnd(Protocol):
    """What the suite does to a cloud."""

    target: Target

    def arrived(self) -> list[dict[str, Any]]:
        """Return the events it accepted, in order."""
        ...

    async def stop(self) -> None:
        """Go away, as a killed process does."""
        ...

    async def start(self) -> None:
        """Come back at the same address."""
        ...


REFUSED = "forbidden/test:refused"
"""The device whose events a far end refuses for what they are."""


class HttpFarEnd:
    """A web service."""

    def __init__(self, mode: str) -> None:
        self.cloud = CloudHttp(poison={REFUSED: "422"}).start()
        quick = {"reconnect_first_s": 0.01, "reconnect_max_s": 0.05}
        options = HttpTargetOptions(url=self.cloud.url, mode=mode, answer_timeout_s=60.0, **quick)  # type: ignore[arg-type]
        self.target: Target = HttpTarget("cloud", options, SystemClock())

    def arrived(self) -> list[dict[str, Any]]:
        """Return what it accepted."""
        return list(self.cloud.accepted)

    async def stop(self) -> None:
        """Reset everything."""
        await asyncio.to_thread(self.cloud.stop)

    async def start(self) -> None:
        """Listen again."""
        self.cloud.start()


class MqttFarEnd:
    """A real Mosquitto with an ACL, and a subscriber behind it."""

    def __init__(self, folder: Path) -> None:
        acl = folder / "acl"
        acl.write_text("topic read #\ntopic write gw/house/#\n")
        acl.chmod(0o700)
        self.broker = Mosquitto(folder / "broker", lines=[f"acl_file {acl}"]).start()
        self.judge = Keep()
        self.far_end = Subscriber(self.broker.host, self.broker.port, judge=self.judge).start()
        options = MqttTargetOptions(url=self.broker.url, reconnect_first_s=0.01, reconnect_max_s=0.05)
        self.target: Target = MqttTarget("cloud", options, "gw")

    def arrived(self) -> list[dict[str, Any]]:
        """Return what came out of the broker."""
        return list(self.judge.events)

    async def stop(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.broker.kill)

    async def start(self) -> None:
        """Start again on its port."""
        await asyncio.to_thread(self.broker.start)


class Keep(Judge):
    """Keeps the events themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def show(self, payload: bytes, at_ns: int, handed_over_again: bool = False) -> None:
        """Take one message."""
        self.events.append(json.loads(payload))


Open = Callable[[Path], AbstractAsyncContextManager[FarEnd]]


def http(mode: str) -> Open:
    """Return how a web service of this mode is opened."""

    @asynccontextmanager
    async def open_(folder: Path) -> AsyncIterator[FarEnd]:
        far_end = HttpFarEnd(mode)
        try:
            yield far_end
        finally:
            await far_end.stop()

    return open_


@asynccontextmanager
async def mqtt(folder: Path) -> AsyncIterator[FarEnd]:
    """Open a broker."""
    far_end = await asyncio.to_thread(MqttFarEnd, folder)
    try:
        yield far_end
    finally:
        await asyncio.to_thread(far_end.far_end.stop)
        await far_end.stop()


FAR_ENDS: dict[str, Open] = {"http structured": http("structured"), "http batched": http("batched"), "mqtt": mqtt}
