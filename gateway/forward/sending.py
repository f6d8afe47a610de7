"""What is on its way to a target, and what was set aside to be tried alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.forward.cursor import Hole
from gateway.targets.target import Outgoing

if TYPE_CHECKING:
    from gateway.forward.lane import RouteLane


class Sending:
    """Events on their way, in order, and where they came from."""

    __slots__ = ("events", "lane", "ordinals", "origin", "passes", "probe")

    def __init__(self, lane: RouteLane, events: list[Outgoing], ordinals: Sequence[int], origin: str) -> None:
        self.lane = lane
        self.events = events
        self.ordinals = ordinals
        self.origin = origin  # "fresh" | "waiting" | "parked"
        self.passes = 0  # how many sends the target had taken when this one left, or when its events failed before
        self.probe = origin == "parked"  # its failure is no strike against its event

    def holes(self) -> list[Hole]:
        """Return where the lane is not over because of these."""
        if self.origin == "fresh":  # neighbours, but for events held back, which are holes too
            ordinals = self.ordinals
            return [Hole(self.events[0].sequence, self.events[-1].sequence, ordinals[0], ordinals[-1])]
        return [Hole(e.sequence, e.sequence, n, n) for e, n in zip(self.events, self.ordinals, strict=True)]


class Parked:
    """An event in the retry list, by reference: its bytes stay in the journal."""

    __slots__ = ("attempts", "due", "ordinal", "passes")

    def __init__(self, ordinal: int, attempts: int, due: float, passes: int = 0) -> None:
        self.ordinal = ordinal
        self.attempts = attempts
        self.due = due  # loop time
        self.passes = passes  # how many sends the target had taken at its last attempt
