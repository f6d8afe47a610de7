"""Chores: blocking work of the journal that is no commit, done by the worker between two of them.

Which one is due is decided on the loop's thread, cheaply, after each commit. In this order:

    room     the ring is full but for the reserve: give something up. The next segment depends on it
    limits   a segment was sealed, TEND_EVERY_S have passed, or the last look found something: keep the lanes within
             their limits. Done when there is time, but after SEALED_MAX segments in any case
    zeros    the budget is not on the disk yet: write some more of it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.clock import NS_PER_S, Clock
from gateway.journal.batch import unsynced
from gateway.journal.eviction import Eviction, GivenUp, Moment
from gateway.journal.options import RESERVE_SEGMENTS, JournalOptions
from gateway.journal.writer import Writer

TEND_EVERY_S: Final = 60
SEALED_MAX: Final = 2


class Chore(msgspec.Struct, gc=False):
    """Call it on the worker's thread, then `Journal.finish` it on the loop's."""

    work: Callable[[], GivenUp | bool]
    result: GivenUp | None = None
    pressing: bool = False  # the next segment depends on it
    tends: bool = False  # it keeps limits
    sealed: int = 0  # segments sealed when it was made

    def __call__(self) -> None:
        """Do it. Blocking. Raises DiskRefused or OSError."""
        done = self.work()
        self.result = done if isinstance(done, GivenUp) else None


class Chores:
    """Which chore is due; one at a time."""

    def __init__(self, writer: Writer, options: JournalOptions, clock: Clock) -> None:
        self._writer, self._pool = writer, writer.pool
        self._options = options
        self._clock = clock
        self._eviction = Eviction(writer)
        self._current: Chore | None = None
        self.futile = False
        """Giving up was tried since the last commit, in vain."""
        self.sealed = 1
        """Segments sealed since the limits were looked at."""
        self._tended_ns = clock.boot_ns()

    def next(self) -> Chore | None:
        """Return the next chore, or None."""
        if self._current is not None:
            return None
        if self._pool.available <= RESERVE_SEGMENTS:
            if not self.futile:
                self._current = Chore(self._room, pressing=True)
        elif self.sealed or self._clock.boot_ns() - self._tended_ns >= TEND_EVERY_S * NS_PER_S:
            pressing = self.sealed >= SEALED_MAX and not self.futile
            self._current = Chore(self._limits, pressing=pressing, tends=True, sealed=self.sealed)
        if self._current is None and self._writer.idle_work:
            self._current = Chore(self._writer.idle)
        return self._current

    def finish(self, chore: Chore) -> GivenUp:
        """Take note of a chore that was run, or was not (`result` is None); returns what it did."""
        assert chore is self._current
        self._current = None
        done = chore.result or GivenUp()
        self.futile = chore.pressing and done.placed is None
        if chore.tends and chore.result is not None and done.placed is None:
            self.sealed -= chore.sealed
            self._tended_ns = self._clock.boot_ns()
        return done

    def _room(self) -> GivenUp:
        return self._eviction.step(self._moment())

    def _limits(self) -> GivenUp:
        return self._eviction.tend(self._moment())

    def _moment(self) -> Moment:
        clock = self._clock
        return Moment(clock.wall_ns(), clock.boot_ns(), unsynced(clock))
