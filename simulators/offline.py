"""`python -m simulators.offline --days 30 --bytes 64MB --seed S --json`: days without a cloud.

A house of 30 devices talks for days while every route waits. The journal is the real one, on a disk in memory, under a
clock that is moved on; what it does between commits (give room, keep limits, thin) is done as the committer does it.
Then the cloud is back and everything that waits is read once, as a route reads it. What must come out:

* every alarm, under the id it was acknowledged with;
* of telemetry an even sample: as many events on one day as on any other, and between two events of a device, type and
  field never more than its own pause and one bucket of time;
* a ledger that balances to the event: appended = delivered + dropped, for each lane, by what table "gaps" says.

`kept_per_day` counts whole days of telemetry. What was written last, about two segments, is not thinned yet (rules and
routes that are up have it first): it begins at `whole_from_day`, and the days from there on are left out of
`day_max_over_min`.

With --json the last line is one object. Exit code 1 when an alarm is missing, the ledger does not balance, or a thinned
lane is uneven. Two runs of one seed are equal.
"""

from __future__ import annotations

import argparse
import calendar
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.clock import NS_PER_S, rfc3339
from gateway.event import Event, Lane, decode
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions, TelemetryLimits
from gateway.quantity import size_bytes
from simulators.disk import SimDisk

FOLDER = Path("/sim/journal")
START_S = 1_795_000_000
DAY_S = 86_400
TICK_S = 5  # a commit each: what a house says in so many seconds
READ_MAX, READ_BYTES_MAX = 1000, 1 << 20  # as a route reads
GAP_SLACK_S = TICK_S  # times are whole ticks
Policy = Literal["thin", "oldest", "newest"]


class OutageClock:
    """A synced clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.second = START_S

    def wall_ns(self) -> int:
        """See `gateway.clock.Clock`."""
        return self.second * NS_PER_S

    def boot_ns(self) -> int:
        """See `gateway.clock.Clock`."""
        return (self.second - START_S) * NS_PER_S

    def boot_id(self) -> str:
        """See `gateway.clock.Clock`."""
        return "simulated"

    def synced(self) -> bool:
        """See `gateway.clock.Clock`."""
        return True


class Voice(msgspec.Struct):
    """One thing that one device says again and again."""

    subject: str
    type: str
    field: str
    pause_s: int  # regular ones: exactly; chance ones: on average
    lane: Literal["alarm", "telemetry", "dead_letter"] = "telemetry"
    regular: bool = True
    value: float = 20.0
    unit: str = ""
    due: int = 0  # tick


def house() -> list[Voice]:
    """Return what 30 devices say: about two events a second, three alarms and one dead letter an hour."""
    climates = [f"house/z2m:room-{n}/climate" for n in range(12)]
    smokes = [f"house/z2m:cellar-{n}/smoke" for n in range(2)]
    plugs, meters = [f"house/tasmota:plug-{n}" for n in range(6)], [f"house/shelly:meter-{n}" for n in range(4)]
    halls = [f"house/z2m:hall-{n}/motion" for n in range(6)]
    return [
        *(Voice(each, "temperature_changed", "temperature", 30, unit="Cel") for each in climates),
        *(Voice(each, "humidity_changed", "humidity", 60, value=50, unit="%RH") for each in climates),
        *(Voice(each, "power_changed", "power", 5, value=100, unit="W") for each in plugs),
        *(Voice(each, "energy_changed", "energy", 20, value=9000, unit="kWh") for each in meters),
        *(Voice(each, "motion_detected", "motion", 120, regular=False) for each in halls),
        *(Voice(each, "battery_changed", "battery", 3600, value=90, unit="%EL", regular=False) for each in smokes),
        *(Voice(each, "smoke_detected", "smoke", 2400, "alarm", regular=False) for each in smokes),
        Voice("", "message_rejected", "reason", 3600, "dead_letter", regular=False),
    ]


class Told(msgspec.Struct):
    """What was said in all."""

    count: int = 0
    largest_pause_s: int = 0
    last_s: int = 0


class Outage:
    """One outage and its end."""

    def __init__(self, days: float, size: int, seed: int, policy: Policy = "thin") -> None:
        self.days, self.seed, self.policy = days, seed, policy
        self._random = random.Random(seed)
        self._clock = OutageClock()
        self._disk = SimDisk(seed)
        options = JournalOptions(
            bytes_max=size, tail_bytes_max=1 << 20, preallocate=False, telemetry=TelemetryLimits(policy=policy)
        )
        self.options = options
        self._journal = Journal.open(FOLDER, options, self._clock, self._disk, random=self._random.randbytes)
        self.appended = dict.fromkeys((lane.name.lower() for lane in Lane), 0)
        self.alarms: dict[str, int] = {}  # id -> sequence
        self.told: dict[tuple[str, str], Told] = {}

    # -- while the cloud is away -------------------------------------------------------------------------

    def live(self) -> None:
        """Let the days pass."""
        journal, clock = self._journal, self._clock
        for lane in ("alarm", "telemetry"):
            journal.put("cursors", f"route:cloud:{lane}", {"after": 0, "done": []})
        voices = house()
        for voice in voices:
            voice.due = self._random.randrange(max(1, voice.pause_s // TICK_S))
        for tick in range(round(self.days * DAY_S / TICK_S)):
            clock.second = START_S + tick * TICK_S
            stamp = rfc3339(clock.wall_ns())
            for voice in voices:
                if voice.due <= tick:
                    self._say(voice, stamp)
                    voice.due = tick + max(1, round(self._pause_s(voice) / TICK_S))
            self._commit()

    def _pause_s(self, voice: Voice) -> float:
        return voice.pause_s if voice.regular else self._random.expovariate(1 / voice.pause_s)

    def _say(self, voice: Voice, stamp: str) -> None:
        before = voice.value
        voice.value = round(before + self._random.uniform(-0.5, 0.5), 2)
        data = {voice.field: voice.value, "unit": voice.unit, "previous": before}
        event = Event(
            source="/pi/house", type=voice.type, subject=voice.subject, time=stamp, lane=voice.lane, data=data
        )
        self._journal.append(event)
        self.appended[voice.lane] += 1
        if voice.lane == "alarm":
            self.alarms[event.id] = self._journal.last_sequence
        elif voice.lane == "telemetry":
            told = self.told.setdefault((voice.subject, voice.type), Told(last_s=self._clock.second))
            told.count += 1
            told.largest_pause_s = max(told.largest_pause_s, self._clock.second - told.last_s)
            told.last_s = self._clock.second

    def _commit(self) -> None:
        """Commit, and do what there is to do until the next one. Rules keep up."""
        journal = self._journal
        if not journal.open_records:
            return
        journal.put("cursors", "rules", {"after": journal.durable_sequence, "done": []})
        journal.commit()
        while (chore := journal.chore()) is not None:
            chore()
            journal.finish(chore)
            if not chore.pressing and chore.result is not None and chore.result.placed is None:
                return

    # -- when it is back ---------------------------------------------------------------------------------

    def deliver(self, lane: Lane) -> Iterator[Event]:
        """Read a lane as its route does, and move its cursor."""
        journal, after = self._journal, 0
        reader = journal.reader(lane)
        while records := reader.read(after, READ_MAX, READ_BYTES_MAX):
            for stored in records:
                yield decode(stored.raw)
            after = records[-1].sequence
            journal.put("cursors", f"route:cloud:{lane.name.lower()}", {"after": after, "done": []})
            journal.commit()
        reader.close()

    def dropped(self) -> dict[str, dict[str, int]]:
        """Return what the ledger says was dropped: lane -> reason -> count."""
        found: dict[str, dict[str, int]] = {}
        for row in self._journal.table("gaps").values():
            if row["cursor"] != "rules":
                lane = found.setdefault(row["lane"], {})
                lane[row["reason"]] = lane.get(row["reason"], 0) + row["count"]
        return found

    def result(self) -> dict[str, Any]:
        """Read everything and say how it was."""
        bucket_s = (self._journal.get("limits", "telemetry") or {}).get("bucket_s", 0)
        thinned = [each.wall_last for each in self._journal.store.view.segments if each.survivors]
        whole_s = max(thinned, default=START_S * NS_PER_S) // NS_PER_S - START_S
        ids = {event.id: int(event.sequence) for event in self.deliver(Lane.ALARM)}
        letters = self._journal.count(Lane.DEAD_LETTER, 0)
        dropped = self.dropped()
        per_day = [0] * (int(self.days) or 1)
        kept: dict[tuple[str, str], Told] = {}
        delivered = {"alarm": len(ids), "telemetry": 0, "dead_letter": letters}
        for event in self.deliver(Lane.TELEMETRY):
            second = _second(event.time)
            delivered["telemetry"] += 1
            if second // DAY_S < len(per_day):
                per_day[second // DAY_S] += 1
            told = kept.setdefault((event.subject, event.type), Told(last_s=0))
            told.count += 1
            told.largest_pause_s = max(told.largest_pause_s, second - told.last_s)
            told.last_s = second
        balanced = all(
            self.appended[lane] == delivered[lane] + sum(dropped.get(lane, {}).values()) for lane in delivered
        )
        return {
            "days": self.days,
            "bytes": self.options.bytes_max,
            "policy": self.policy,
            "appended": {lane: count for lane, count in self.appended.items() if count},
            "delivered": delivered,
            "dropped": dropped,
            "alarms_missing": sum(ids.get(each) != sequence for each, sequence in self.alarms.items()),
            "balanced": balanced,
            "bucket_s": bucket_s,
            "kept_per_day": per_day,
            **(self._evenness(bucket_s, per_day, whole_s / DAY_S, kept) if self.policy == "thin" else {}),
            "written_bytes": self._journal.usage()["written_bytes"],
        }

    def _evenness(
        self, bucket_s: int, per_day: Sequence[int], whole_from_day: float, kept: dict[tuple[str, str], Told]
    ) -> dict[str, Any]:
        """Say how even telemetry is: from day to day, and from event to event."""
        days = per_day[: int(whole_from_day)] or per_day
        worst = max(
            (
                kept.get(key, Told(largest_pause_s=sys.maxsize)).largest_pause_s
                / (told.largest_pause_s + bucket_s + GAP_SLACK_S)
                for key, told in self.told.items()
            ),
            default=0.0,
        )
        return {
            "whole_from_day": round(whole_from_day, 2),
            "day_max_over_min": round(max(days) / max(1, min(days)), 3),
            "largest_gap_over_pause_and_bucket": round(worst, 3),
            "even": worst <= 1.0,
        }


def _second(text: str) -> int:
    """Return seconds since the outage began."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - START_S


def run(days: float, size: int, seed: int, policy: Policy = "thin") -> dict[str, Any]:
    """Live through one outage; returns what `--json` prints, without the seconds it took."""
    outage = Outage(days, size, seed, policy)
    outage.live()
    return outage.result() | {"seed": seed}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="simulators.offline", description="Days without a cloud, simulated, by seed.")
    parser.add_argument("--days", type=float, default=30.0, help="length of the outage (default 30)")
    parser.add_argument("--bytes", type=size_bytes, default="64MB", help="the journal's budget (default 64MB)")
    parser.add_argument(
        "--policy", choices=("thin", "oldest", "newest"), default="thin", help="what telemetry gives up"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    words = parser.parse_args(arguments)
    began = time.monotonic()
    result = run(words.days, words.bytes, words.seed, words.policy)
    result["seconds"] = round(time.monotonic() - began, 1)
    if words.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:34} {value}")
    uneven = words.policy == "thin" and not result["even"]
    return int(bool(result["alarms_missing"]) or not result["balanced"] or uneven)


if __name__ == "__main__":
    sys.exit(main())
