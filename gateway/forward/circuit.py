"""Whether a target takes anything, and what is tried while it does not. Decides; sends nothing.

After a failure that nobody passed the route is on *trial*: one sending at a time, the first one when `due`, until
one passes.  An event that fails alone is *suspect*: it may be a poison event (one that the target can't digest, or
that makes it drop the connection), or the target may be away.  After SUSPECT_STRIKES an event of another device is
tried (a *probe*); only when that passes and the suspect then fails once more, the fault is the event's own.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Literal

from gateway.backoff import Backoff
from gateway.forward.lane import RouteLane
from gateway.forward.sending import Sending
from gateway.routes import Route
from gateway.targets.target import Outcome, Outgoing, Verdict

SUSPECT_STRIKES = 3  # failures of an event alone before another one is tried
SHRINK = 8  # a sending that failed is followed by one of an eighth
AFTER_S_MAX = 3600.0  # a target that says "come back in a week" is asked again in an hour

Trouble = Literal["waiting", "refused", "backing off"]


class Suspect:
    """The event that failed alone, again and again."""

    __slots__ = ("event", "faults", "lane", "passes", "strikes")

    def __init__(self, lane: RouteLane, event: Outgoing) -> None:
        self.lane = lane
        self.event = event
        self.strikes = 0
        self.faults = 0  # strikes that were not throttling
        self.passes = 0  # how many sends had passed at its last failure


class Circuit:
    """What a route knows of its target from what became of its sends. Times are the loop's, in seconds."""

    def __init__(self, route: Route, batch_max: int) -> None:
        self.limit = batch_max  # events a sending
        self.passes = 0  # sends that the target took, whole or in part
        self.trouble: Trouble | None = None
        self.trial = False
        self.due = 0.0  # of the next trial
        self.down = False  # until the target is ready
        self.suspect: Suspect | None = None
        self.away_since: float | None = None
        self._route = route
        self._batch_max = batch_max
        self._backoff = Backoff(route.retry_first_s, route.retry_longest_s)
        self._downs = 0  # in a row
        self._probed = False  # the last trial was a probe

    def passed(self, sending: Sending) -> None:
        """Take note that the target took it, or at least judged it."""
        self.passes += 1
        if not (self.trial or self.suspect or self.limit < self._batch_max):
            return
        self._downs = 0
        self._backoff.reset()
        self.limit = min(self._batch_max, self.limit * 2)
        suspect = self.suspect
        if suspect and any(event.sequence == suspect.event.sequence for event in sending.events):
            suspect = self.suspect = None
        if suspect and suspect.strikes >= SUSPECT_STRIKES:
            self.due = 0.0  # others pass: now the suspect once more
        else:
            self._end_trial()

    def failed(self, sending: Sending, outcome: Outcome, now: float) -> bool:
        """Nothing of it passed, and this says why. Return whether its one event is to blame."""
        size = len(sending.events)
        if outcome.verdict is Verdict.DOWN and self.down:
            return False  # the same cut
        if self.away_since is None:
            self.away_since = now
        self.trial = True
        if outcome.verdict is Verdict.DOWN:
            self.trouble, self.down = "waiting", True
            self._downs += 1
            self.due = now if self._downs == 1 else now + self._backoff.next_s()
            if self._downs > 1:
                self.limit = max(1, size // SHRINK)
        elif outcome.verdict is Verdict.STOP:
            self.trouble, self.limit = "refused", 1
            self.due = now + self._route.refused_retry_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        else:
            self.trouble = "backing off"
            wait = self._backoff.next_s()
            self.due = now + (wait if outcome.after is None else min(outcome.after, AFTER_S_MAX))
            self.limit = max(1, size // (2 if outcome.throttled else SHRINK))
        return size == 1 and not sending.probe and self._strike(sending, outcome)

    def came_back(self) -> None:
        """Take note that the target is ready; whether it takes anything, the next trial shows."""
        self.down = False
        if not self.trial:
            self.trouble = None

    def forget(self, lane: RouteLane, gone: Collection[int]) -> None:
        """Take note that the journal has given up events: nobody can be blamed any more."""
        suspect = self.suspect
        if suspect and suspect.lane is lane and suspect.event.sequence in gone:
            self.suspect = None

    def turn(self) -> tuple[Suspect | None, bool]:
        """Return the suspect, if it must be told from a target that is away, and whether a probe goes in its place."""
        suspect = self.suspect
        if suspect is None or suspect.strikes < SUSPECT_STRIKES:
            return None, False
        self._probed = not self._probed and self.passes == suspect.passes
        return suspect, self._probed

    def _strike(self, sending: Sending, outcome: Outcome) -> bool:
        event = sending.events[0]
        suspect = self.suspect
        if suspect is None or suspect.event.sequence != event.sequence:
            suspect = self.suspect = Suspect(sending.lane, event)
        elif suspect.strikes >= SUSPECT_STRIKES and self.passes > suspect.passes:
            self.suspect = None
            self._end_trial()
            return True
        suspect.strikes += 1
        suspect.faults += not outcome.throttled
        suspect.passes = self.passes
        return False

    def _end_trial(self) -> None:
        self.trial = False
        self._probed = False
        if not self.down:
            self.trouble = None
