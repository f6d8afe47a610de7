"""What a route's cursor says: how far, with which holes.

A cursor is kept per route and lane in the journal's table "cursors", under ``route:<name>:<lane>``::

    {"after": 4711,                      # everything up to here is over: delivered, rejected or not this route's
     "done": [[4713, 4790], ...],        # and so is this; at most RANGES_MAX ranges, sorted
     "parked": [[4712, 4], ...]}         # (sequence, attempts): set aside, retried alone; absent when empty

What is neither is sent again after a restart.  Between two sequences of one lane lie those of others, so
neighbours in a lane are told by *ordinals*: the n-th event that the route took from a stretch of the lane has
ordinal n of that stretch's *region*.  Of what lies between two regions nobody knows how many events it has.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any, NamedTuple

RANGES_MAX = 64
REGION = 10**9  # ordinals in a region: more events than a journal holds


class Hole(NamedTuple):
    """A stretch of a lane that is not over, from event to event."""

    first: int  # sequence
    last: int
    first_ordinal: int
    last_ordinal: int


class Range(NamedTuple):
    """A stretch between holes, and how many of the route's events are in it (REGION: nobody knows)."""

    first: int
    last: int
    events: int


def region_of(ordinal: int) -> int:
    """Return the region that an ordinal belongs to."""
    return ordinal // REGION


def merge(holes: Iterable[Hole]) -> list[Hole]:
    """Sort holes and join those that touch, or between which nothing of the route was delivered."""
    merged: list[Hole] = []
    for hole in sorted(holes):
        if merged:
            before = merged[-1]
            if hole.first <= before.last + 1 or _between(before.last_ordinal, hole.first_ordinal) <= 0:
                merged.pop()
                end = hole if hole.last >= before.last else before
                hole = Hole(before.first, end.last, before.first_ordinal, end.last_ordinal)  # noqa: PLW2901
        merged.append(hole)
    return merged


def ranges(end: int, end_ordinal: int, holes: Iterable[Hole]) -> tuple[int, list[Range], int]:
    """Return `after`, the ranges that are over, and how many events lie in ranges that were left out.

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
            between.append(Range(hole.last + 1, last, _between(hole.last_ordinal, ordinal)))
    kept = between
    if len(between) > RANGES_MAX:
        kept = sorted(heapq.nlargest(RANGES_MAX, between, key=lambda each: each.events))
    return merged[0].first - 1, kept, sum(each.events for each in between) - sum(each.events for each in kept)


def value_of(after: int, done: Iterable[Range], parked: dict[int, int]) -> dict[str, Any]:
    """Write a cursor's value."""
    value: dict[str, Any] = {"after": after, "done": [[each.first, each.last] for each in done]}
    if parked:
        value["parked"] = sorted(map(list, parked.items()))
    return value


def _between(before: int, behind: int) -> int:
    """Return how many events lie between two ordinals."""
    return behind - before - 1 if region_of(before) == region_of(behind) else REGION
