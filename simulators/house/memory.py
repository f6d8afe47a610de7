"""Whether a gateway's memory stays level: a line through its samples, with what the line cannot know.

Memory of a process moves in steps: pages come when the allocator needs them, and rarely go.  So the samples behind the
warm-up are put into bins of equal time, each bin gives its median, and a straight line through those is the slope; its
noise is what the slope may be off by chance (95 %, Student's t of the residuals).  What grows is what is left of the
slope when its noise is taken off.  It leaks when that is more than `per_minute_max` and `PER_MESSAGE_MAX`: what a house
learns in its first days is less, a list that each event is added to is more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

WARM_UP = 1 / 3  # of the run: caches and tables fill
BINS = 12
T_95 = 2.228  # of Student's t with BINS - 2 degrees of freedom, both sides
SAMPLES_MIN = 5 * BINS  # fewer cannot be judged
PER_MINUTE_MAX = 10_000  # bytes
PER_MESSAGE_MAX = 10  # bytes; an event is made of two or three messages, and takes 500 bytes where it is kept


class Sample(NamedTuple):
    """The memory of a gateway at a moment."""

    at_s: float  # real time
    sent: int  # messages so far
    resident: dict[str, int]  # bytes by the name of the process


class Slope(NamedTuple):
    """How memory moves, in bytes a minute of real time."""

    per_minute: float
    noise: float
    first_bytes: int  # median of the first bin behind the warm-up
    last_bytes: int  # of the last


def slope(samples: Sequence[tuple[float, int]]) -> Slope | None:
    """Return the line through samples (seconds, bytes) behind the warm-up; None when there are too few."""
    if not samples:
        return None
    end_s, begin_s = samples[-1][0], samples[0][0]
    begin_s += (end_s - begin_s) * WARM_UP
    kept = [each for each in samples if each[0] >= begin_s]
    if len(kept) < SAMPLES_MIN or end_s <= begin_s:
        return None
    width_s = (end_s - begin_s) / BINS
    bins: list[list[int]] = [[] for _ in range(BINS)]
    for at_s, size in kept:
        bins[min(BINS - 1, int((at_s - begin_s) / width_s))].append(size)
    if not all(bins):
        return None
    times = [(number + 0.5) * width_s / 60 for number in range(BINS)]
    sizes = [statistics.median(each) for each in bins]
    gradient, offset = statistics.linear_regression(times, sizes)
    left = sum((size - offset - gradient * at) ** 2 for at, size in zip(times, sizes, strict=True))
    middle = statistics.fmean(times)
    noise = T_95 * math.sqrt(left / (BINS - 2) / sum((at - middle) ** 2 for at in times))
    return Slope(gradient, noise, round(sizes[0]), round(sizes[-1]))


def verdict(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return, for each name of processes, what its memory did in KB a minute, and whether nothing leaks."""
    names = sorted({name for sample in samples for name in sample.resident})
    minutes = (samples[-1].at_s - samples[0].at_s) / 60 if samples else 0.0
    messages = (samples[-1].sent - samples[0].sent) / minutes if minutes else 0.0
    limit = max(PER_MINUTE_MAX, PER_MESSAGE_MAX * messages)
    found: dict[str, Any] = {"limit_kb_a_minute": _kb(limit), "messages_a_minute": round(messages)}
    level = True
    for name in names:
        line = slope([(sample.at_s, sample.resident[name]) for sample in samples if name in sample.resident])
        if line is None:
            found[name] = "too short to be judged"
            continue
        leaks = line.per_minute - line.noise > limit
        level = level and not leaks
        found[name] = {
            "kb_a_minute": _kb(line.per_minute), "noise": _kb(line.noise), "level": not leaks,
            "after_warm_up_mb": round(line.first_bytes / 1e6, 1), "end_mb": round(line.last_bytes / 1e6, 1),
        }  # fmt: skip
    return {**found, "level": level}


def _kb(size: float) -> float:
    return round(size / 1e3, 1)
