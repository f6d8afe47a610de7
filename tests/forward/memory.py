"""A journal and a committer in memory with the interface a route uses, and a crash: what is not durable is gone.

The real ones are used in test_forwarder_journal.py; here a test decides what a commit is and when power goes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.event import LANES, Event, Lane, encode, stamp
from gateway.journal.retention import Cursor, missed


class Stored(msgspec.Struct, frozen=True):
    """One record."""

    sequence: int
    raw: bytes


class MemoryReader:
    """Reads one lane; `old` makes every read one that must leave the loop's thread."""

    def __init__(self, log: MemoryLog, lane: Lane) -> None:
        self._log = log
        self._lane = lane

    def in_memory(self, after: int) -> bool:
        """Say what the test wants to be said."""
        return not self._log.old

    def read(self, after: int, limit: int, bytes_max: int) -> list[Stored]:
        """Return durable records of the lane behind `after`."""
        found: list[Stored] = []
        size = 0
        for lane, record in self._log.records[after : self._log.durable_sequence]:
            if lane is self._lane and record.sequence not in self._log.given_up:
                found.append(record)
                size += len(record.raw)
                if len(found) == limit or size >= bytes_max:
                    break
        return found


class MemoryLog:
    """Records and tables, a durable part and an open batch."""

    log_id = "0123456789ab"

    def __init__(self) -> None:
        self.records: list[tuple[Lane, Stored]] = []
        self.tables: dict[str, dict[str, Any]] = {}
        self.durable_tables: dict[str, dict[str, Any]] = {}
        self.durable_sequence = 0
        self.batch = 1
        self.dirty = False
        self.old = False
        self.epoch = 1
        self.given_up: set[int] = set()  # sequences that were evicted

    @property
    def last_sequence(self) -> int:
        """Return the greatest appended."""
        return len(self.records)

    def append(self, event: Event) -> bytes:
        """Stamp and keep."""
        sequence = len(self.records) + 1
        stamp(event, f"{self.log_id}-{self.epoch:x}-{sequence:x}", sequence)
        raw = encode(event)
        self.records.append((LANES[event.lane], Stored(sequence, raw)))
        self.dirty = True
        return raw

    def append_all(self, events: Sequence[Event]) -> list[bytes]:
        """Append several; there is one batch at a time anyway."""
        return [self.append(event) for event in events]

    def put(self, table: str, key: str, value: Any) -> None:
        """Set or delete."""
        self.dirty = True
        if value is None:
            self.tables.setdefault(table, {}).pop(key, None)
        else:
            self.tables.setdefault(table, {})[key] = value

    def get(self, table: str, key: str) -> Any:
        """Return a copy of the value."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(self.tables.get(table, {}).get(key)))

    def table(self, table: str) -> dict[str, Any]:
        """Return a table."""
        return dict(self.tables.get(table, {}))

    def reader(self, lane: Lane) -> MemoryReader:
        """Return a reader."""
        return MemoryReader(self, lane)

    def count(self, lane: Lane, after: int) -> int:
        """Count records behind a sequence."""
        return sum(1 for each, stored in self.records[after:] if each is lane and stored.sequence not in self.given_up)

    def commit(self) -> int:
        """Make everything durable; return the batch."""
        self.durable_sequence = len(self.records)
        self.durable_tables = msgspec.msgpack.decode(msgspec.msgpack.encode(self.tables))
        self.dirty = False
        self.batch += 1
        return self.batch - 1

    def crash(self) -> MemoryLog:
        """Return what a start after a power cut finds."""
        after = MemoryLog()
        after.records = self.records[: self.durable_sequence]
        after.durable_sequence = self.durable_sequence
        after.tables = msgspec.msgpack.decode(msgspec.msgpack.encode(self.durable_tables))
        after.durable_tables = self.durable_tables
        after.batch = self.batch
        after.epoch = self.epoch + 1
        after.given_up = set(self.given_up)
        return after

    def evict(self, count: int, lane: Lane = Lane.TELEMETRY) -> None:
        """Give up the oldest so many durable records of a lane, and count those that a durable cursor had not had."""
        live = (stored.sequence for each, stored in self.records[: self.durable_sequence] if each is lane)
        gone = list(itertools.islice((each for each in live if each not in self.given_up), count))
        self.given_up.update(gone)
        for key, row in self.durable_tables.get("cursors", {}).items():
            if key.endswith(f":{lane.name.lower()}"):
                cursor = Cursor.read(key, row)
                lost, first, last = missed(cursor, gone)
                if lost:
                    self.drop(key, lane, lost, first, last)

    def drop(self, cursor: str, lane: Lane, count: int, first: int = 1, last: int = 1) -> None:
        """Count what a cursor will not get, at once on the disk, as eviction does."""
        self.dirty = True
        key = f"{cursor}:evicted"
        row = {"cursor": cursor, "lane": lane.name.lower(), "reason": "evicted", "count": count}
        row |= {"first": first, "last": last, "first_ns": 1_700_000_000 * 10**9, "last_ns": 1_700_000_060 * 10**9}
        for tables in (self.tables, self.durable_tables):
            rows = tables.setdefault("gaps", {})
            before = rows.get(key, {"count": 0, "first": first})
            rows[key] = {**row, "count": before["count"] + count, "first": before["first"]}

    def letters(self) -> list[Event]:
        """Return the dead letters."""
        decode = msgspec.json.Decoder(Event).decode
        return [decode(record.raw) for lane, record in self.records if lane is Lane.DEAD_LETTER]

    def events(self, count: int, *, lane: str = "telemetry", devices: int = 10, start: int = 0) -> list[str]:
        """Append events n = start, start + 1, ... of devices in turn, commit, return their ids."""
        ids = []
        for n in range(start, start + count):
            event = Event(
                source="/gw/house",
                type="temperature_changed" if lane == "telemetry" else "door_opened",
                subject=f"house/test:{n % devices}",
                lane=lane,  # type: ignore[arg-type]
                data={"n": n},
            )
            self.append(event)
            ids.append(event.id)
        return ids


class MemoryCommitter:
    """Commits at the next turn of the loop when urgent, else `delay_s` later; counts."""

    def __init__(self, log: MemoryLog, *, delay_s: float = 0.002) -> None:
        self.log = log
        self.before_seal: list[Callable[[], None]] = []
        self.on_durable: list[Callable[[int], None]] = []
        self.commits = 0
        self.urgent = 0
        self.delay_s = delay_s
        self.stopped = False
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, urgent: bool = False) -> None:
        """Commit soon."""
        self.urgent += urgent
        if urgent and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(0 if urgent else self.delay_s, self.commit)

    def commit(self) -> None:
        """Commit now."""
        self._timer = None
        if self.stopped:
            return
        for hook in self.before_seal:
            hook()
        if self.log.dirty:
            self.commits += 1
            batch = self.log.commit()
            for listener in self.on_durable:
                listener(batch)


def judge(arrived: Sequence[bytes]) -> tuple[set[str], int, int]:
    """Return (ids, repeats, first arrivals out of order within device and lane)."""
    seen: set[str] = set()
    repeats = disorder = 0
    latest: dict[tuple[str, str], int] = {}
    for raw in arrived:
        event = msgspec.json.decode(raw)
        if event["id"] in seen:
            repeats += 1
            continue
        seen.add(event["id"])
        key = (event["subject"], event.get("lane", "telemetry"))
        n = event["data"]["n"]
        disorder += n < latest.get(key, -1)
        latest[key] = max(n, latest.get(key, -1))
    return seen, repeats, disorder
