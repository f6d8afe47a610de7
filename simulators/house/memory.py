"""Whether a gateway's memory stays level: lines through its samples, with what a line cannot know.

Two things are looked at: how many objects Python has allocated, and how much memory the processes have.  Memory moves
in steps and with the highest load there was, for pages come when the allocator needs them and rarely go; objects come
and go, so a list that each event is added to shows in them first.

A house is warm when all of it has spoken: `WARM_UP_S` of its time, and `WARM_UP` of the run.  The samples behind that
are put into bins of equal time, each gives its median, and a straight line through those is the slope; its noise is
what the slope may be off by chance (95 %, Student's t of the residuals).  It leaks when more than the limit is left of
a slope without its noise.  Not judged is what is shorter than a round of faults behind the warm-up, for memory is where
the round has brought it, and what is so noisy that a leak of the limit would not show.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

WARM_UP = 1 / 3  # of the run
WARM_UP_S = 6 * 3600.0  # of the house's time: some devices speak once an hour, and not all of what they can say
JUDGED_S = 3.5 * 3600.0  # of the house's time behind that, at least, and a round of faults
BINS = 12
T_95 = 2.228  # of Student's t with BINS - 2 degrees of freedom, both sides
SAMPLES_MIN = 5 * BINS  # fewer cannot be judged
BYTES_A_MESSAGE_MAX = 40.0  # an event takes 500 where it is kept, and two or three messages make one
OBJECTS_A_MESSAGE_MAX = 0.1


class Sample(NamedTuple):
    """The memory of a gateway at a moment."""

    at_s: float  # real time
    sent: int  # messages so far
    resident: dict[str, int]  # bytes by the name of the process
    objects: int = 0  # of Python in the gateway's process; 0: not known


class Slope(NamedTuple):
    """How something moves, a minute of real time."""

    per_minute: float
    noise: float
    first: float  # median of the first bin behind the warm-up
    last: float  # of the last


def slope(samples: Sequence[tuple[float, int]], begin_s: float) -> Slope | None:
    """Return the line through samples (seconds, size) from a moment on; None when there are too few."""
    kept = [each for each in samples if each[0] >= begin_s]
    if len(kept) < SAMPLES_MIN:
        return None
    end_s = kept[-1][0]
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
    return Slope(gradient, noise, sizes[0], sizes[-1])


def verdict(samples: Sequence[Sample], speed: float, round_s: float = JUDGED_S) -> dict[str, Any]:
    """Return what memory and objects did behind the warm-up, and the judgement: level, leaks, or not judged and why.

    `round_s` is how long a round of faults takes in the house's time; less than a whole one is not judged.
    """
    if not samples:
        return _judgement({}, "no samples")
    begin_s, end_s = samples[0].at_s, samples[-1].at_s
    warm_s = begin_s + max((end_s - begin_s) * WARM_UP, WARM_UP_S / speed)
    needed_s, span_s = max(round_s, JUDGED_S), (end_s - warm_s) * speed
    short = ""
    if span_s < needed_s:
        short = (
            f"too short: {max(span_s, 0) / 3600:.1f} h of the house behind its warm-up, {needed_s / 3600:.1f} needed"
        )
        warm_s = begin_s + (end_s - begin_s) * WARM_UP
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    minutes = (end_s - warm_s) / 60
    messages = (end_s > warm_s and (warm[-1].sent - warm[0].sent) / minutes) or 0.0
    found: dict[str, Any] = {"messages_a_minute": round(messages), "warm_up_minutes": round((warm_s - begin_s) / 60, 1)}
    lines: dict[str, tuple[Slope | None, float]] = {}
    for name in sorted({name for sample in samples for name in sample.resident}):
        line = slope([(each.at_s, each.resident[name]) for each in samples if name in each.resident], warm_s)
        lines[name] = line, BYTES_A_MESSAGE_MAX * messages
        found[name] = _told(*lines[name], 1e3, "kb")
    line = slope([(each.at_s, each.objects) for each in samples if each.objects], warm_s)
    lines["objects"] = line, OBJECTS_A_MESSAGE_MAX * messages
    found["objects"] = _told(*lines["objects"], 1.0, "objects")
    return _judgement(found, short or _unclear(lines), [name for name in lines if found[name].get("leaks")])


def _unclear(lines: Mapping[str, tuple[Slope | None, float]]) -> str:
    """Return why lines and their limits say nothing, empty when they do."""
    if missing := [name for name, (line, _) in lines.items() if line is None]:
        return f"too few samples of {', '.join(missing)}"
    noisy = [name for name, (line, limit) in lines.items() if line and line.noise > limit and not _leaks(line, limit)]
    return f"too noisy, a leak would not show: {', '.join(noisy)}" if noisy else ""


def _judgement(found: dict[str, Any], unclear: str, leaking: Sequence[str] = ()) -> dict[str, Any]:
    """Add the word on it; what leaks, leaks whatever else is too noisy."""
    if unclear and not (leaking and unclear.startswith("too noisy")):
        return {**found, "judged": False, "level": None, "said": f"not judged: {unclear}"}
    said = f"leaks: {', '.join(leaking)}" if leaking else "level"
    return {**found, "judged": True, "level": not leaking, "said": said}


def _leaks(line: Slope, limit: float) -> bool:
    return line.per_minute - line.noise > limit


def _told(line: Slope | None, limit: float, unit: float, word: str) -> dict[str, Any]:
    if line is None:
        return {"slope": "too few samples"}
    return {
        f"{word}_a_minute": round(line.per_minute / unit, 1), "noise": round(line.noise / unit, 1),
        "limit": round(limit / unit, 1), "leaks": _leaks(line, limit),
        "warm": round(line.first / unit), "end": round(line.last / unit),
    }  # fmt: skip
