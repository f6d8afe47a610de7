"""Any mix of outcomes, cuts and crashes, from one integer: nothing lost, nothing doubled, each device in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from gateway.clock import SystemClock
from gateway.forward.forwarder import Forwarder
from gateway.forward.lane import RouteLane
from gateway.forward.sending import Parked
from gateway.routes import Route
from gateway.targets.target import DELIVERED, Outcome, Outgoing, Verdict
from tests.forward.memory import MemoryCommitter, MemoryLog, judge
from tests.forward.scripted import DOWN, REJECTED, RETRY, STOP, THROTTLED, ScriptedTarget, number

EVENTS = 400
WINDOW = 60
WAIT_S = 60.0


class Chaos:
    """A far end with moods: some events are refused for ever, some fail some times, and now and then all do."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.windows = self.random.choice([1, 3])
        self.all_or_nothing = self.random.random() < 0.3
        self.refused = {n for n in range(EVENTS) if self.random.random() < 0.02}
        rate = 0.03 if self.windows == 1 else 0.0
        self.failures = {n: self.random.randint(1, 3) for n in range(EVENTS) if self.random.random() < rate}
        self.trouble = self.random.choice([0.0, 0.05, 0.2])

    def judge(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        """Answer for a batch."""
        if self.random.random() < self.trouble:
            # with several sends in flight, what a target says to one of them must hold for those behind it
            mood = self.random.choice([RETRY, THROTTLED, DOWN, STOP]) if self.windows == 1 else DOWN
            through = 0 if self.all_or_nothing or mood is not DOWN else self.random.randint(0, len(batch))
            before = [REJECTED if number(event) in self.refused else DELIVERED for event in batch[:through]]
            return before + [mood] * (len(batch) - through)
        if self.all_or_nothing:
            return self._together(batch)
        outcomes, stuck = [], set()
        for event in batch:
            outcome = RETRY if event.subject in stuck else self._one(number(event))
            if outcome.verdict is Verdict.RETRY:
                stuck.add(event.subject)
            outcomes.append(outcome)
        return outcomes

    def _together(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        numbers = [number(event) for event in batch]
        if any(self._one(n) is RETRY for n in numbers):
            return [RETRY] * len(batch)
        return [REJECTED if n in self.refused else DELIVERED for n in numbers]

    def _one(self, n: int) -> Outcome:
        if self.failures.get(n, 0) > 0:
            self.failures[n] -= 1
            return RETRY
        return REJECTED if n in self.refused else DELIVERED


@pytest.mark.parametrize("seed", range(40))
def test_chaos(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event arrives or is one dead letter; a crash repeats at most a window; order but for parked."""
    set_aside = watch_parking(monkeypatch)

    async def main() -> None:
        chaos = Chaos(seed)
        log = MemoryLog()
        log.old = chaos.random.random() < 0.3
        ids = log.events(EVENTS, devices=chaos.random.choice([1, 3, 20]))
        log.commit()
        route = Route(
            to="scripted", window_max=WINDOW, attempts_max=10**6, refused_retry_s=0.002, retry_first_s=0.001,
            retry_longest_s=0.004,
        )  # fmt: skip
        arrived: list[bytes] = []
        crashes = 0
        while True:
            target = ScriptedTarget(batch_max=chaos.random.choice([1, 7, 50]), windows=chaos.windows)
            target.judge = chaos.judge
            commits = MemoryCommitter(log, delay_s=chaos.random.choice([0.0, 0.003]))
            forwarder = Forwarder("cloud", route, target, log, commits, SystemClock())
            commits.on_durable.append(forwarder.durable)
            task = asyncio.create_task(forwarder.run())
            patience = chaos.random.randint(5, 200) if crashes < 4 else 10**6
            async with asyncio.timeout(WAIT_S):
                while len(target.batches) < patience and not over(forwarder):
                    assert not task.done(), task
                    await asyncio.sleep(0)
            done = over(forwarder)
            commits.stopped = True
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            arrived += target.arrived
            if done:
                break
            crashes += 1
            log = log.crash()
        seen, repeats, _ = judge(arrived)
        lettered = [ids.index(str(letter.cause)) for letter in log.letters()]
        assert set(lettered) == chaos.refused
        assert len(lettered) == len(chaos.refused)
        assert seen == {each for n, each in enumerate(ids) if n not in chaos.refused}
        assert repeats <= crashes * WINDOW
        assert judge([raw for raw in arrived if sequence_of(raw) not in set_aside])[2] == 0

    asyncio.run(main())


def watch_parking(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return a set that gets the sequences of events that are parked: they give up their place."""
    set_aside: set[int] = set()
    park = RouteLane.park

    def watched(lane: RouteLane, sequence: int, parked: Parked) -> None:
        set_aside.add(sequence)
        park(lane, sequence, parked)

    monkeypatch.setattr(RouteLane, "park", watched)
    return set_aside


def over(forwarder: Forwarder) -> bool:
    """Return whether nothing is left to do."""
    status = forwarder.status()
    return not (sum(status.backlog.values()) or status.in_flight or status.waiting or status.parked)


def sequence_of(raw: bytes) -> int:
    """Return an event's sequence."""
    at = raw.index(b'"sequence":"') + 12
    return int(raw[at : at + 16])
