"""Whether a gateway whose clock was bent told the truth: what was published, by a true clock, against what arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

LATE_S = (
    3.0  # an event may be stamped so long before it was published or behind its PUBACK: a second of a tick, and slack
)
EARLY_S = 0.3  # a timer's record has milliseconds; a clock is read in steps
WAIT_S = 2.0  # of the timer that each reading sets
SILLY_S = 60.0  # a time that is off by more and says nothing about it


@dataclass
class Published:
    """One message of a device. Times are true, seconds since 1970."""

    device: str
    n: int
    began: float
    acknowledged: float
    phase: str


@dataclass
class Verdict:
    """What was found. Everything behind `arrived` should be 0, but for the counts of what is marked."""

    published: int = 0
    arrived: int = 0
    missing: int = 0
    doubled: int = 0
    out_of_order: int = 0  # events of a device whose sequence goes against the order they were published in
    silly: int = 0  # a time that is wrong, and no word of it
    wrong_corrections: int = 0  # said to be corrected, and off
    corrected: int = 0
    unsynced: int = 0  # marked, with what the cloud needs to correct them
    unsynced_without_boot: int = 0
    timers_missing: int = 0
    timers_early: int = 0
    timers_twice: int = 0
    windows_wrong: int = 0
    before_the_clock: int = 0  # events that left while the cloud's certificate was not valid by that clock
    storm: int = 0  # connections that were tried again and again meanwhile
    told: dict[str, int] = field(default_factory=dict)  # clock_synced, clock_stepped: how often

    @property
    def good(self) -> bool:
        """Return whether the gateway kept its word."""
        faults = (
            self.missing, self.doubled, self.out_of_order, self.silly, self.wrong_corrections,
            self.unsynced_without_boot, self.timers_missing, self.timers_early, self.timers_twice, self.windows_wrong,
            self.before_the_clock, self.storm,
        )  # fmt: skip
        return self.arrived > 0 and not any(faults)


def seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def judge(published: Sequence[Published], events: Sequence[Mapping[str, Any]], windows: int) -> Verdict:
    """Compare. `windows`: how often the rule about a window was to run."""
    found = Verdict(published=len(published))
    found.told = dict(Counter(each["type"] for each in events if each["type"].startswith("clock_")))
    readings = [each for each in events if each["type"] == "temperature_changed"]
    ids = Counter(each["id"] for each in events)
    found.doubled = sum(count - 1 for count in ids.values())
    by_key = {(each["subject"].rpartition(":")[2], round(each["data"]["temperature"] * 10)): each for each in readings}
    found.arrived = len(by_key)
    for each in published:
        event = by_key.get((each.device, each.n))
        if event is None:
            found.missing += 1
        else:
            _time(found, event, each.began, each.acknowledged)
    _order(found, published, by_key)
    for event in events:
        if event["type"] not in ("temperature_changed", "gateway_heartbeat") and "clock" not in event:
            off = min(abs(seconds(event["time"]) - each.acknowledged) for each in published)
            found.silly += off > SILLY_S
    _timers(found, published, by_key, [each for each in events if each["type"] == "reading_settled"])
    found.windows_wrong = abs(sum(each["type"] == "readings_crowded" for each in events) - windows)
    return found


def _time(found: Verdict, event: Mapping[str, Any], began: float, acknowledged: float) -> None:
    at, clock = seconds(event["time"]), event.get("clock")
    right = began - LATE_S <= at <= acknowledged + LATE_S
    if clock == "corrected":
        found.corrected += 1
        found.wrong_corrections += not right
    elif clock == "unsynced":
        found.unsynced += 1
        found.unsynced_without_boot += not (event.get("bootid") and event.get("clockoffset"))
    else:
        found.silly += not right


def _order(found: Verdict, published: Sequence[Published], by_key: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
    last: dict[str, int] = {}
    for each in published:
        event = by_key.get((each.device, each.n))
        if event is not None:
            sequence = int(event["sequence"])
            found.out_of_order += sequence < last.get(each.device, 0)
            last[each.device] = sequence


def _timers(
    found: Verdict,
    published: Sequence[Published],
    by_key: Mapping[tuple[str, int], Mapping[str, Any]],
    settled: Sequence[Mapping[str, Any]],
) -> None:
    """Each reading sets a timer of WAIT_S; its event says when it fired, and that is never early."""
    fired = Counter((each["subject"].rpartition(":")[2], round(each["data"]["n"] * 10)) for each in settled)
    found.timers_twice = sum(count - 1 for count in fired.values())
    for each in published:
        found.timers_missing += (each.device, each.n) not in fired
    for event in settled:
        key = (event["subject"].rpartition(":")[2], round(event["data"]["n"] * 10))
        cause = by_key.get(key)
        if cause is not None and event.get("clock") == cause.get("clock") == "corrected":
            found.timers_early += seconds(event["time"]) - seconds(cause["time"]) < WAIT_S - EARLY_S
