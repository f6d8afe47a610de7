"""What a route's cursor says: how far, with which holes.

A cursor is kept per route and lane in the journal's table "cursors", under ``route:<name>:<lane>``::

    {"after": 4711,                      # everything up to here is over: delivered, rejected or not this route's
     "done": [[4713, 4790], ...],        # and so is this; at most RANGES_MAX ranges, sorted
     "parked": [[4712, 4], ...]}         # (sequence, attempts): set aside, retried alone; absent when empty

What is neither is sent again after a restart.  Between two sequences of one lane lie those of others, so
neighbours in a lane are told by *ordinals*: the n-th event that the route took from the lane has ordinal n.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any, NamedTuple

RANGES_MAX = 64


class Hole(NamedTuple):
    """A stretch of a lane that is not over, from event to event."""

    first: int  # sequence
    last: int
    first_ordinal: int
    last_ordinal: int


class Range(NamedTuple):
    """A stretch between holes, and how many of the route's events are in it."""

    first: int
    last: int
    events: int


def merge(holes: Iterable[Hole]) -> list[Hole]:
    """Sort holes and join those that overlap or between which nothing of the route was delivered."""
    merged: list[Hole] = []
    for hole in sorted(holes):
        if merged and hole.first_ordinal <= merged[-1].last_ordinal + 1:
            before = merged.pop()
            last_ordinal = max(before.last_ordinal, hole.last_ordinal)
            hole = Hole(before.first, max(before.last, hole.last), before.first_ordinal, last_ordinal)  # noqa: PLW2901
        merged.append(hole)
    return merged


def ranges(end: int, end_ordinal: int, holes: Iterable[Hole]) -> tuple[int, list[Range], int]:
    """Return `after`, the ranges that are over, and how many events would be sent again if a restart came now.

    `end` is the last sequence and `end_ordinal` the first ordinal not taken yet.  Beyond RANGES_MAX the ranges with
    the fewest events are left out: what they hold would be sent again.
    """
    merged = merge(holes)
    if not merged:
        return end, [], 0
    between: list[Range] = []
    for i, hole in enumerate(merged):
        last, ordinal = (
            (merged[i + 1].first - 1, merged[i + 1].first_ordinal) if i + 1 < len(merged) else (end, end_ordinal)
        )
        if last > hole.last:
            between.append(Range(hole.last + 1, last, ordinal - hole.last_ordinal - 1))
    if len(between) > RANGES_MAX:
        between = sorted(heapq.nlargest(RANGES_MAX, between, key=lambda each: each.events))
    again = end_ordinal - merged[0].first_ordinal - sum(each.events for each in between)
    return merged[0].first - 1, between, again


def value_of(
    after: int, done: Iterable[Range], beyond: Iterable[tuple[int, int]], parked: dict[int, int]
) -> dict[str, Any]:
    """Write a cursor's value. `beyond` are ranges known to be over further on, from before a restart."""
    spans = [[each.first, each.last] for each in done]
    spans += [[first, last] for first, last in beyond][: RANGES_MAX - len(spans)]
    value: dict[str, Any] = {"after": after, "done": spans}
    if parked:
        value["parked"] = sorted(map(list, parked.items()))
    return value
