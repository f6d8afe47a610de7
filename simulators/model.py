"""What must be true of a journal: a dictionary, some sets, and what a run counted. See simulators/journal.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.event import Lane
from gateway.journal.limits import LIMITED
from gateway.journal.limits import read as read_limits
from gateway.journal.retention import LETTERS, Cursor, cursors_of

Tables = dict[str, dict[str, Any]]


class Findings(msgspec.Struct):
    """What a run counted."""

    cuts: int = 0
    starts: int = 0
    acknowledged: int = 0
    evicted: int = 0  # given up for some cursor that had not had it, for whatever reason
    lost: int = 0
    ghosts: int = 0
    changed_ids: int = 0
    refused_starts: int = 0
    broken: list[str] = []
    dropped: dict[str, int] = {}  # reason -> that of `evicted`

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.ghosts or self.changed_ids or self.refused_starts or self.broken)


class Flight(msgspec.Struct):
    """A sealed block whose fate is open: its records, and the tables as they are once it is durable."""

    records: dict[int, bytes]
    tables: Tables


class Model:
    """What must be on the disk: a dictionary and two sets."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.acked: dict[int, bytes] = {}  # sequence -> bytes, evicted and delivered ones included
        self.lanes: dict[int, Lane] = {}
        self.tables: Tables = {}  # as of the last durable block
        self.gone: set[int] = set()  # acknowledged, and shown to be there no more
        self.missed: dict[str, set[int]] = {}  # cursor -> what it will never have
        self.over: dict[Lane, set[int]] = {}  # given up for routes, there or not

    def durable(self, flight: Flight) -> None:
        """Take note that a block was acknowledged."""
        self.acked |= flight.records
        self.tables = flight.tables
        self.findings.acknowledged += len(flight.records)

    def compare(self, shown: dict[int, bytes], tables: Tables, flights: list[Flight]) -> None:
        """Compare what a start shows with what may be; from here on it is so."""
        there = shown.keys() & {sequence for flight in flights for sequence in flight.records}
        whole = [flight for flight in flights if flight.records.keys() == there]
        if there and not whole:
            self.findings.broken.append(f"a block in part: {len(there)} records")
        for flight in whole:
            if there or _rows(tables) == _rows(flight.tables):
                self.durable(flight)
                break
        for sequence, raw in shown.items():
            if self.acked.get(sequence) is None or sequence in self.gone:
                self.findings.ghosts += 1
            elif self.acked[sequence] != raw:
                self.findings.changed_ids += 1
        if _rows(tables) != _rows(self.tables):
            self.findings.broken.append("tables are not those of the last block")
        self.check(shown.keys(), tables)

    def check(self, there: Iterable[int], tables: Tables) -> None:
        """See that what is not there, or given up, is over for every cursor, or counted as a gap of that cursor."""
        absent = self.acked.keys() - set(there) - self.gone
        given_up = self._given_up(tables)
        self.gone |= absent
        letters = Cursor(LETTERS, frozenset({Lane.DEAD_LETTER}), 0)
        uncounted: set[int] = set()
        for cursor in [*cursors_of(tables.get("cursors", {})), letters]:
            limited = next((lane for lane in LIMITED if _limits(lane, cursor)), None)
            lost = absent if limited is None else (absent - self.over.get(limited, set())) | given_up[limited]
            due = {sequence for sequence in lost if self._due(cursor, sequence)}
            mine = self.missed.setdefault(cursor.key, set())
            mine |= due
            rows = [row for row in tables.get("gaps", {}).values() if row["cursor"] == cursor.key]
            if sum(row["count"] for row in rows) != len(mine):
                uncounted |= due
                counted = sum(row["count"] for row in rows)
                self.findings.broken.append(f"{cursor.key}: {counted} counted as dropped, {len(mine)} are")
            if any(row["first"] < min(mine, default=0) or row["last"] > max(mine, default=0) for row in rows):
                self.findings.broken.append(f"{cursor.key}: a gap row names records that are there")
        self.findings.dropped = {}
        for row in tables.get("gaps", {}).values():
            self.findings.dropped[row["reason"]] = self.findings.dropped.get(row["reason"], 0) + row["count"]
        for lane, fresh in given_up.items():
            self.over.setdefault(lane, set()).update(fresh)
        self.findings.lost += len(uncounted)
        self.findings.evicted = sum(map(len, self.missed.values()))

    def _given_up(self, tables: Tables) -> dict[Lane, set[int]]:
        """Return what table "limits" gives up and did not before; what it does not name any more is forgotten."""
        fresh: dict[Lane, set[int]] = {}
        for lane, limit in read_limits(tables.get("limits", {})).items():
            mine = [sequence for sequence in self.acked.keys() - self.gone if self.lanes[sequence] is lane]
            now = {sequence for first, last in limit.over for sequence in mine if first <= sequence <= last}
            known = self.over.get(lane, set())
            fresh[lane] = now - known
            self.over[lane] = known & (now | self.gone)
        return fresh

    def _due(self, cursor: Cursor, sequence: int) -> bool:
        return self.lanes[sequence] in cursor.lanes and not cursor.over(sequence)


def _limits(lane: Lane, cursor: Cursor) -> bool:
    """Return whether the limit of a lane is about what this cursor has not had."""
    return cursor.routes(lane) or (cursor.key == LETTERS and lane is Lane.DEAD_LETTER)


def _rows(tables: Tables) -> Tables:
    """Return the rows that a workload puts; the journal keeps others of its own."""
    return {name: dict(tables.get(name, {})) for name in ("values", "cursors")}
