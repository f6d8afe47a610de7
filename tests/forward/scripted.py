"""A target whose far end is a script: it takes, refuses, throttles, breaks and stays away as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gateway.targets.target import DELIVERED, Outcome, Outgoing, Verdict

RETRY = Outcome(Verdict.RETRY, "500 Internal Server Error")
THROTTLED = Outcome(Verdict.RETRY, "429 Too Many Requests", throttled=True)
REJECTED = Outcome(Verdict.REJECTED, "422 Unprocessable")
DOWN = Outcome(Verdict.DOWN, "connection reset")
STOP = Outcome(Verdict.STOP, "401 Unauthorized")


class ScriptedTarget:
    """Keeps what arrived. `judge(batch)` answers for a batch; None or an exhausted script: delivered."""

    name = "scripted"

    def __init__(self, *, batch_max: int = 100, windows: int = 1, delay_s: float = 0.0) -> None:
        self.batch_max = batch_max
        self.patience_s = 1.0
        self.windows = windows
        self.delay_s = delay_s
        self.arrived: list[bytes] = []  # in the order of arrival, repeats included
        self.batches: list[list[int]] = []  # the n of each event of each send
        self.judge: Callable[[Sequence[Outgoing]], Sequence[Outcome]] | None = None
        self.up = asyncio.Event()
        self.up.set()
        self.readies = 0
        self.most_at_once = 0
        self._at_once = 0
        self._cut = False  # since a DOWN, until somebody waits for `ready`

    async def run(self) -> None:
        """Have nothing to keep."""
        await asyncio.Event().wait()

    async def ready(self) -> None:
        """Wait for `up`."""
        self.readies += 1
        await self.up.wait()
        self._cut = False

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Outcome]:
        """Answer by the script."""
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        self.batches.append([number(event) for event in batch])
        await asyncio.sleep(self.delay_s)
        self._at_once -= 1
        if self._cut or not self.up.is_set():
            self._cut = True
            return [DOWN] * len(batch)
        outcomes = self.judge(batch) if self.judge else [DELIVERED] * len(batch)
        self._cut = any(outcome.verdict is Verdict.DOWN for outcome in outcomes)  # what is behind it is lost too
        self.arrived += [e.raw for e, o in zip(batch, outcomes, strict=True) if o.verdict is Verdict.DELIVERED]
        return outcomes

    def status(self) -> dict[str, object]:
        """Say nothing."""
        return {}

    def numbers(self) -> list[int]:
        """Return the n of what arrived, in order."""
        return [msgspec.json.decode(raw)["data"]["n"] for raw in self.arrived]


def number(event: Outgoing) -> int:
    """Return the n of an event."""
    return int(msgspec.json.decode(event.raw)["data"]["n"])


def each(answer: Callable[[int], Outcome]) -> Callable[[Sequence[Outgoing]], list[Outcome]]:
    """Make a script that answers for each event by its n."""
    return lambda batch: [answer(number(event)) for event in batch]


def whole(answer: Callable[[list[int]], Outcome]) -> Callable[[Sequence[Outgoing]], list[Outcome]]:
    """Make a script that answers for the batch as one."""
    return lambda batch: [answer([number(event) for event in batch])] * len(batch)
