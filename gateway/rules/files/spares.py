"""Worker processes that have started and wait for files: starting one is most of what an edit or a restart costs.

With the option `spare` one is always ready.  Who edits once edits again: for `BUSY_S` after a change there are two, one
to try files in and one to go live.
"""

from __future__ import annotations

import contextlib
import math
import time

from gateway.rules.files.candidate import Candidate, CandidateFailed
from gateway.rules.options import RuleOptions

BUSY_S = 120.0
BUSY_COUNT = 2
PAUSE_S = 2.0  # between two that are kept ready: a start shall not make a machine busy that is busy


class Spares:
    """Those that nobody has taken yet."""

    def __init__(self, options: RuleOptions) -> None:
        self.options = options
        self._waiting: list[Candidate] = []
        self._started_at = -math.inf
        self._changed_at = -math.inf

    @property
    def busy(self) -> bool:
        """Whether somebody is editing."""
        return time.monotonic() - self._changed_at < BUSY_S

    def changed(self) -> None:
        """Take note that somebody edits."""
        self._changed_at = time.monotonic()
        self.fill(BUSY_COUNT)

    def fill(self, count: int) -> None:
        """Start processes until so many wait, if that can be done."""
        self._waiting = [each for each in self._waiting if each.process.alive]
        with contextlib.suppress(CandidateFailed):  # who needs one is told
            while len(self._waiting) < count:
                self._started_at = time.monotonic()
                self._waiting.append(Candidate(self.options))

    def take(self) -> Candidate:
        """Give away a process that is ready, or one that has just begun to be. CandidateFailed: none can start."""
        self.fill(1)
        return self._waiting.pop(0) if self._waiting else Candidate(self.options)

    async def keep(self, *, wanted: bool) -> None:
        """Have as many as should be there; call this now and then. `wanted`: there are rules."""
        count = BUSY_COUNT if self.busy else int(self.options.spare and wanted)
        if len(self._waiting) < count and time.monotonic() - self._started_at > PAUSE_S:
            self.fill(count)
        while len(self._waiting) > count:
            await self._waiting.pop().close()

    async def close(self) -> None:
        """End them all."""
        while self._waiting:
            await self._waiting.pop().close()
