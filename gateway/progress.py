"""Whether the event path gets on: pure decisions over marks that are taken once a second.

Each stage has a mark: whether it has work it could do now, and a number that changes whenever it gets on. A stage
that has work and whose number stays the same for its limit is stuck. What waits for somebody else has no work: a cloud
that is away, a source that is paused, a limited drain. A disk that refuses gets on, too: each refused try counts.

Time that nobody looked does not count (a stopped process, a machine that slept): one look is worth LOOK_S_MAX at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

LOOK_S_MAX: Final = 2.0  # between two looks; more of it is time in which nothing could get on

SHARES: Final[Mapping[str, float]] = {  # a stage's limit, as a share of the service manager's watchdog time
    "tick": 0.5,  # the event loop itself, and with it decode, which runs in it
    "inbox": 0.5,  # sources that were paused and have not been told to go on
    "acknowledge": 0.5,  # what is on the disk and not acknowledged
    "commit": 2.0,  # a card may think for a while; ending the gateway would not make it faster
    "blobs": 2.0,
    "rules": 4.0,  # the supervisor ends a worker that hangs long before
    "forward": 6.0,  # a target gives its connection up long before
}


class Mark(NamedTuple):
    """How a stage stands."""

    work: bool  # it has something to do that waits for nobody else
    done: int  # changes whenever it gets on
    what: str = ""  # what waits, for a person
    patience_s: float = 0.0  # it may take so long, whatever its limit


class Stuck(NamedTuple):
    """A stage that has work and does not get on."""

    stage: str
    since_s: float  # how long, as far as somebody looked
    what: str

    def __str__(self) -> str:
        """Say it on one line."""
        waits = f", {self.what}" if self.what else ""
        return f"stage {self.stage} is stuck: no progress for {self.since_s:.0f} s{waits}"


def limit_s(stage: str, watchdog_s: float) -> float:
    """Return how long a stage may have work and no progress; ``forward[cloud]`` is a `forward`."""
    return SHARES[stage.partition("[")[0]] * watchdog_s


class Watch:
    """Remembers the marks of all stages between looks."""

    def __init__(self, watchdog_s: float) -> None:
        """`watchdog_s`: what the service manager waits for a ping."""
        self.watchdog_s = watchdog_s
        self._looked_s: float | None = None
        self._waits: dict[str, tuple[int, float]] = {}  # stage -> its number, and for how long it is that

    def look(self, now_s: float, marks: Mapping[str, Mark]) -> list[Stuck]:
        """Compare with the last look; return what is stuck. `now_s` is of a monotonic clock."""
        passed_s = 0.0 if self._looked_s is None else min(now_s - self._looked_s, LOOK_S_MAX)
        self._looked_s = now_s
        waits: dict[str, tuple[int, float]] = {}
        stuck = []
        for stage, mark in marks.items():
            if not mark.work:
                continue
            before = self._waits.get(stage)
            same = before is not None and before[0] == mark.done
            since_s = before[1] + passed_s if before is not None and same else 0.0
            waits[stage] = mark.done, since_s
            if since_s >= max(limit_s(stage, self.watchdog_s), mark.patience_s):
                stuck.append(Stuck(stage, since_s, mark.what))
        self._waits = waits  # a stage without work, or one that is gone, begins anew
        return stuck
