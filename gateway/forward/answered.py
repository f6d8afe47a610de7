"""When the cloud acknowledged what: the last answers of a route, in memory, for whoever asks about one event.

An entry stands for a whole sending, so it costs nothing per event.  What is older, or from before the start, is known
by the cursor alone: delivered, and not when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from gateway.clock import NS_PER_S, Clock, rfc3339
from gateway.forward.sending import Sending
from gateway.targets.target import DELIVERED, Outcome

SENDINGS_MAX = 2000  # of a route


class _Answer(NamedTuple):
    lane: int
    first: int  # sequences
    last: int
    took_ns: int
    at_ns: int  # wall clock


class Answered:
    """The last sendings of one route that the cloud took."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: deque[_Answer] = deque(maxlen=SENDINGS_MAX)

    def note(self, sending: Sending, outcomes: Sequence[Outcome], took_s: float) -> None:
        """Take note of an answer."""
        events, lane, now_ns = sending.events, int(sending.lane.lane), self._clock.wall_ns()
        took_ns = round(took_s * NS_PER_S)
        if outcomes.count(DELIVERED) == len(outcomes):
            self._last.append(_Answer(lane, events[0].sequence, events[-1].sequence, took_ns, now_ns))
            return
        for event, outcome in zip(events, outcomes, strict=True):
            if outcome == DELIVERED:
                self._last.append(_Answer(lane, event.sequence, event.sequence, took_ns, now_ns))

    def of(self, lane: int, sequence: int) -> dict[str, str] | None:
        """Return ``{sent, answered}`` of an event that was delivered, None when that is not known any more."""
        for answer in reversed(self._last):
            if answer.lane == lane and answer.first <= sequence <= answer.last:
                return {"sent": rfc3339(answer.at_ns - answer.took_ns), "answered": rfc3339(answer.at_ns)}
        return None
