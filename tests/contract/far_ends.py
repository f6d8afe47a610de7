"""Far ends for the contract of targets: one for each target, all with the same switches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from gateway.clock import SystemClock
from gateway.targets.http import HttpTarget, HttpTargetOptions
from gateway.targets.target import Target
from simulators.cloud_http import Answer, CloudHttp


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

    async def refuse(self, n: int) -> None:
        """Refuse the event whose data.n is `n` for what it is, from now on."""
        ...


class HttpFarEnd:
    """A web service."""

    def __init__(self, mode: str) -> None:
        self.cloud = CloudHttp().start()
        options = HttpTargetOptions(url=self.cloud.url, mode=mode, reconnect_first_s=0.01, reconnect_max_s=0.05)  # type: ignore[arg-type]
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

    async def refuse(self, n: int) -> None:
        """Answer 422 to it."""
        self.cloud.poison[str(n)] = Answer.parse("422")


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


FAR_ENDS: dict[str, Open] = {"http structured": http("structured"), "http batched": http("batched")}
