"""One route at work over a journal in memory: what tests of the forwarder share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from gateway.clock import SystemClock
from gateway.forward.forwarder import Forwarder
from gateway.routes import Route
from tests.forward.memory import MemoryCommitter, MemoryLog
from tests.forward.scripted import ScriptedTarget

WAIT_S = 60.0
QUICK = {"retry_first_s": 0.002, "retry_longest_s": 0.01, "refused_retry_s": 0.02}


class Rig:
    """One route at work."""

    def __init__(
        self,
        log: MemoryLog,
        target: ScriptedTarget,
        route: Route,
        *,
        delay_s: float = 0.002,
        rest_of: Collection[str] | None = None,
    ) -> None:
        self.log = log
        self.target = target
        self.commits = MemoryCommitter(log, delay_s=delay_s)
        self.forwarder = Forwarder(
            "cloud", route, target, log, self.commits, SystemClock(), gateway="gw", rest_of=rest_of
        )
        self.commits.on_durable.append(self.forwarder.durable)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to be true."""
        async with asyncio.timeout(WAIT_S):
            while not true():
                await asyncio.sleep(0.001)

    def looked(self) -> bool:
        """Return whether the route has seen what the journal gave up."""
        return not any(each.to_check or each.tail.checking for each in self.forwarder.progress)

    def over(self) -> bool:
        """Return whether nothing is left to do."""
        status = self.forwarder.status()
        return not (sum(status.backlog.values()) or status.in_flight or status.waiting or status.parked)


def durable_after(log: MemoryLog, lane: str = "telemetry") -> int:
    """Return how far the cursor on the disk says."""
    return int(log.durable_tables.get("cursors", {}).get(f"route:cloud:{lane}", {"after": -1})["after"])


@asynccontextmanager
async def running(
    log: MemoryLog,
    target: ScriptedTarget,
    *,
    delay_s: float = 0.002,
    rest_of: Collection[str] | None = None,
    **route: object,
) -> AsyncIterator[Rig]:
    """Run a route; at the end it is cancelled, as a kill would do."""
    rig = Rig(log, target, Route(to="scripted", **{**QUICK, **route}), delay_s=delay_s, rest_of=rest_of)
    task = asyncio.create_task(rig.forwarder.run())
    try:
        yield rig
    finally:
        rig.commits.stopped = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
