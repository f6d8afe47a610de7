"""One journal's life on a disk that fails, against a plain model of what must be true. One seed, one history.

The workload appends to all lanes, puts rows, moves cursors, commits, reads, is refused, runs into its byte budget,
is stopped, killed, cut off. After each start everything the journal shows is compared with the model:

* lost: an acknowledged record is not there, although some cursor has not had it and no gap row counts it;
* ghosts: a record is there that was never appended, or that an earlier start or a commit had shown to be gone;
* changed ids: a record is there with other bytes than were acknowledged (its id and number are among them);
* refused starts: `Journal.open` raised although the disk refused nothing;
* broken: a block in part (events without their rows, or half the events), rows that no commit ever left, a gap row
  that counts wrongly. Each is a sentence.

What was in flight when the power went may be there or not, whole; from the next start on it is one or the other.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import DiskRefused, JournalError
from gateway.event import Event, Lane
from gateway.journal.batch import Block
from gateway.journal.cipher import keys_of
from gateway.journal.compression import Codec
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.journal.record import decode
from gateway.journal.retention import Cursor, cursors_of
from gateway.journal.segment import Found, Link, Walk
from simulators.disk import CHANGES, REFUSALS, PowerCut, SimDisk
from simulators.keys import keyed

FOLDER = Path("/sim/journal")
LANES = ("telemetry",) * 12 + ("alarm", "alarm", "command", "timer", "dead_letter")
CURSORS = ("route:cloud:telemetry", "route:cloud:alarm", "route:lan:telemetry", "rules", "commands")
KILLED_INSTEAD = 0.15  # share of interruptions that end the process only: memory keeps what was written
PIECE = 1 << 20  # records and bytes read at a time

Tables = dict[str, dict[str, Any]]


class SimClock:
    """A clock that moves a little with each look."""

    def __init__(self) -> None:
        self._ns = 1_795_000_000_000_000_000

    def wall_ns(self) -> int:
        """See `gateway.clock.Clock`."""
        self._ns += 1_000_000
        return self._ns

    def boot_ns(self) -> int:
        """See `gateway.clock.Clock`."""
        return self.wall_ns() - 1_795_000_000_000_000_000

    def boot_id(self) -> str:
        """See `gateway.clock.Clock`."""
        return "simulated"

    def synced(self) -> bool:
        """See `gateway.clock.Clock`."""
        return True


class Findings(msgspec.Struct):
    """What a run counted."""

    cuts: int = 0
    starts: int = 0
    acknowledged: int = 0
    evicted: int = 0
    lost: int = 0
    ghosts: int = 0
    changed_ids: int = 0
    refused_starts: int = 0
    broken: list[str] = []

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
        """See that what is not there is over for every cursor, or counted as a gap of that cursor."""
        absent = self.acked.keys() - set(there) - self.gone
        self.gone |= absent
        cursors = cursors_of(tables.get("cursors", {}))
        uncounted: set[int] = set()
        for cursor in cursors:
            due = {sequence for sequence in absent if self._due(cursor, sequence)}
            mine = self.missed.setdefault(cursor.key, set())
            mine |= due
            rows = [row for row in tables.get("gaps", {}).values() if row["cursor"] == cursor.key]
            if sum(row["count"] for row in rows) != len(mine):
                uncounted |= due
                counted = sum(row["count"] for row in rows)
                self.findings.broken.append(f"{cursor.key}: {counted} counted as evicted, {len(mine)} are")
            if any(row["first"] < min(mine, default=0) or row["last"] > max(mine, default=0) for row in rows):
                self.findings.broken.append(f"{cursor.key}: a gap row names records that are there")
        self.findings.lost += len(uncounted)
        self.findings.evicted = sum(map(len, self.missed.values()))

    def _due(self, cursor: Cursor, sequence: int) -> bool:
        return self.lanes[sequence] in cursor.lanes and not cursor.over(sequence)


def _rows(tables: Tables) -> Tables:
    """Return the rows that a workload puts; the journal keeps others of its own."""
    return {name: dict(tables.get(name, {})) for name in ("values", "cursors")}


class Run:
    """Drives one journal through `cuts` power cuts."""

    def __init__(self, seed: int, disk: SimDisk | None = None) -> None:
        self.random = random.Random(seed)
        self.disk = disk or SimDisk(seed)
        self.clock = SimClock()
        self.findings = Findings()
        self.model = Model(self.findings)
        align = self.random.choice((512, 512, 512, 4096))
        segment = self.random.choice((16, 16, 32) if align == 512 else (64,)) * 1024
        self.options = JournalOptions(
            bytes_max=segment * self.random.randrange(8, 14),
            segment_bytes=segment,
            tail_bytes_max=self.random.choice((0, 4096, 1 << 20)),
            align=align,
        )
        self.laziness = self.random.choice((0.0, 0.5, 0.95, 1.0))  # how seldom cursors move
        self.flights: list[Flight] = []  # what was tried since the last commit: one of them may be on the disk
        self.count = 0
        self.seed = seed
        self.codec = Codec(keys=keys_of(keyed(self.options, seed, self.random)))

    def run(self, cuts: int) -> Findings:
        """Live through `cuts` power cuts; stops early when something is wrong."""
        while self.findings.cuts < cuts and self.findings.sound:
            try:
                self._live()
            except PowerCut:
                if self.random.random() < KILLED_INSTEAD:
                    self.disk.kill()
                    continue
                self.findings.cuts += 1
                self.disk.crash()
            except Exception as error:  # noqa: BLE001 - a bug that shows under faults is what is looked for
                where = traceback.extract_tb(error.__traceback__)[-1]
                self.findings.broken.append(f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
        return self.findings

    # -- one life ---------------------------------------------------------------------------------------

    def _live(self) -> None:
        """Start, check, work, and stop in one way or another. PowerCut may come out of any of it."""
        chance = self.random
        self.disk.refuse = lambda _call: None
        self.disk.cut_in = chance.randrange(1, 40) if chance.random() < 0.2 else -1
        journal = self._start()
        if journal is None:
            return
        self.disk.cut_in = chance.randrange(1, 160) if chance.random() < 0.9 else -1
        for _ in range(chance.randrange(1, 40)):
            self._step(journal)
        how = chance.random()
        self.disk.refuse = lambda _call: None
        if how < 0.25:
            self._close(journal)
        elif how < 0.5:
            self.disk.kill()
        else:
            raise PowerCut

    def _start(self) -> Journal | None:
        faulty = self.random.random() < 0.1
        if faulty:
            self.disk.refuse = self._fault(0.05)
        self.options = keyed(self.options, self.seed, self.random)
        try:
            journal = Journal.open(FOLDER, self.options, self.clock, self.disk, random=self.random.randbytes)
        except DiskRefused:
            self.findings.refused_starts += not faulty
            self.disk.kill()
            return None
        except JournalError as error:
            self.findings.refused_starts += 1
            self.findings.broken.append(f"{type(error).__name__}: {error}")
            self.disk.kill()
            return None
        finally:
            self.disk.refuse = lambda _call: None
        self.findings.starts += 1
        cut_in, self.disk.cut_in = self.disk.cut_in, -1
        self.model.compare(self._shown(journal), _tables(journal), self.flights)
        self.flights = []
        self.disk.cut_in = cut_in
        return journal

    def _shown(self, journal: Journal) -> dict[int, bytes]:
        """Read every block of every live segment; and one lane, chosen by chance, as its readers do."""
        shown: dict[int, bytes] = {}
        log_id = bytes.fromhex(journal.log_id)
        for entry in journal.store.view.segments:
            read = partial(_piece, self.disk.image(FOLDER / entry.name))
            closing = (entry.number_next, entry.records_next)
            walk = Walk(
                read, log_id, entry.life, entry.end, align=self.options.align, codec=self.codec,
                link=Link.before(entry), closing=closing,
            )  # fmt: skip
            for part in walk:
                if isinstance(part, Found) and part.payload is not None and part.header.events:
                    records = decode(part.payload, part.header.first, part.header.events, survivors=entry.survivors)
                    for place, lane in enumerate(records.lanes):
                        self.model.lanes[records.sequence(place)] = Lane(lane)
                        shown[records.sequence(place)] = records.raws[place]
        lane = self.random.choice(list(Lane))
        reader = journal.reader(lane)
        mine = {each.sequence: each.raw for each in reader.read(0, PIECE, PIECE)}
        reader.close()
        if mine != {sequence: raw for sequence, raw in shown.items() if self.model.lanes[sequence] is lane}:
            self.findings.broken.append(f"a reader of {lane.name} does not see what is on the disk")
        return shown

    def _step(self, journal: Journal) -> None:
        chance = self.random
        what = chance.random()
        if what < 0.55:
            for _ in range(chance.choice((1, 1, 3, 12))):
                self._append(journal)
            if chance.random() < 0.5:
                journal.put("values", f"device{chance.randrange(5)}", {"seen": journal.last_sequence})
        elif what < 0.65:
            self._move_cursor(journal)
        elif what < 0.7:
            self.disk.refuse = self._fault(0.2) if chance.random() < 0.5 else lambda _call: None
        else:
            self._commit(journal)

    def _append(self, journal: Journal) -> None:
        self.count += 1
        lane = self.random.choice(LANES)
        pad = self.random.randbytes(self.random.choice((4, 30, 60, 400))).hex()
        event = Event(source="/gw/sim", type="temperature_changed", lane=lane, data={"n": self.count, "pad": pad})  # type: ignore[arg-type]
        journal.append(event)

    def _move_cursor(self, journal: Journal) -> None:
        if self.random.random() < self.laziness:
            return
        key = self.random.choice(CURSORS)
        row = journal.get("cursors", key) or {"after": 0, "done": []}
        after = self.random.randint(row["after"], journal.durable_sequence)
        done = []
        if self.random.random() < 0.3 and after + 10 < journal.durable_sequence:
            first = self.random.randint(after + 2, journal.durable_sequence)
            done = [[first, self.random.randint(first, journal.durable_sequence)]]
        journal.put("cursors", key, {"after": after, "done": done})

    def _commit(self, journal: Journal) -> None:
        """Commit as the committer does: seal, write, settle, the chores that press; ride out refusals for a while."""
        while journal.flight or journal.open_records or journal.open_changes:
            block = journal.flight or journal.seal()
            assert block is not None
            if not any(flight.records.keys() == set(range(block.first, block.last + 1)) for flight in self.flights):
                self.flights.append(self._flight(block))
            for _ in range(6):
                try:
                    self._chores(journal)
                    journal.write(block)
                    break
                except DiskRefused:
                    if self.random.random() < 0.3:
                        self.disk.refuse = lambda _call: None
                    if journal.reopen(block):
                        block = journal.seal()
                        assert block is not None
                        self.flights.append(self._flight(block))
            else:
                return  # withheld; the next commit tries again
            journal.settle(block)
            self.model.durable(self.flights[-1])
            self.flights = []
            self._chores(journal)

    def _chores(self, journal: Journal) -> None:
        while (chore := journal.chore()) is not None:
            try:
                if chore.pressing or self.random.random() < 0.3:
                    chore()
            except (DiskRefused, OSError):
                return
            finally:
                journal.finish(chore)
            if not chore.pressing:
                return
            self._look(journal)

    def _look(self, journal: Journal) -> None:
        """After something was given up: what is gone must be over or counted, by what is durable."""
        cut_in, self.disk.cut_in = self.disk.cut_in, -1
        refuse, self.disk.refuse = self.disk.refuse, lambda _call: None
        tables = {"cursors": self.model.tables.get("cursors", {}), "gaps": dict(journal.table("gaps"))}
        self.model.check(self._shown(journal), tables)
        self.disk.cut_in, self.disk.refuse = cut_in, refuse

    def _flight(self, block: Block) -> Flight:
        """Note what a block holds, before its fate is known."""
        records = {block.first + place: raw for place, raw in enumerate(block.raws)}
        for place, lane in enumerate(block.lanes):
            self.model.lanes[block.first + place] = Lane(lane)
        tables = {name: dict(rows) for name, rows in self.model.tables.items()}
        for name, rows in block.table_changes.items():
            for key, value in rows.items():
                tables.setdefault(name, {})
                if value is None:
                    tables[name].pop(key, None)
                else:
                    tables[name][key] = value
        return Flight(records, tables)

    def _close(self, journal: Journal) -> None:
        """Stop in an orderly way; what was open is durable after it."""
        self._commit(journal)
        if journal.flight or journal.open_records or journal.open_changes:
            self.findings.broken.append("withheld although the disk takes writes")
        else:
            journal.close()
        self.disk.kill()

    def _fault(self, probability: float) -> Any:
        def refuse(call: str) -> int | None:
            return self.random.choice(REFUSALS) if call in CHANGES and self.random.random() < probability else None

        return refuse


def _piece(image: bytes, length: int, offset: int) -> bytes:
    return image[offset : offset + length]


def _tables(journal: Journal) -> Tables:
    return {name: dict(journal.table(name)) for name in ("values", "cursors", "gaps")}
