"""One journal's life on a disk that fails, against a plain model of what must be true. One seed, one history.

The workload appends to all lanes, puts rows, moves cursors, commits, reads, is refused, runs into its byte budget and
the limits of its lanes (with each policy, while time passes and the clock is believed or not), is stopped, killed, cut
off. After each start everything the journal shows is compared with the model:

* lost: an acknowledged record is not there, or given up, although some cursor has not had it and no gap row counts it;
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
from functools import partial
from pathlib import Path
from typing import Any

from gateway.clock import rfc3339
from gateway.errors import DiskRefused, JournalError
from gateway.event import Event, Lane
from gateway.journal.batch import Block
from gateway.journal.cipher import keys_of
from gateway.journal.compression import Codec
from gateway.journal.journal import Journal
from gateway.journal.limits import LIMITED
from gateway.journal.limits import read as read_limits
from gateway.journal.options import AlarmLimits, DeadLetterLimits, JournalOptions, TelemetryLimits
from gateway.journal.record import decode
from gateway.journal.segment import Found, Link, Walk
from simulators.disk import CHANGES, REFUSALS, PowerCut, SimDisk
from simulators.keys import keyed
from simulators.model import Findings, Flight, Model, Tables

FOLDER = Path("/sim/journal")
LANES = ("telemetry",) * 12 + ("alarm", "alarm", "command", "timer", "dead_letter")
CURSORS = ("route:cloud:telemetry", "route:cloud:alarm", "route:lan:telemetry", "rules", "commands")
KILLED_INSTEAD = 0.15  # share of interruptions that end the process only: memory keeps what was written
PIECE = 1 << 20  # records and bytes read at a time


START_NS = 1_795_000_000_000_000_000


class SimClock:
    """A clock that moves a little with each look."""

    def __init__(self) -> None:
        self._ns = START_NS
        self.wrong_ns = 0
        """How far the wall clock is off; it is not synced then."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self._ns += int(seconds * 1e9)

    def wall_ns(self) -> int:
        """See `gateway.clock.Clock`."""
        self._ns += 1_000_000
        return self._ns + self.wrong_ns

    def boot_ns(self) -> int:
        """See `gateway.clock.Clock`."""
        self._ns += 1_000_000
        return self._ns - START_NS

    def boot_id(self) -> str:
        """See `gateway.clock.Clock`."""
        return "simulated"

    def synced(self) -> bool:
        """See `gateway.clock.Clock`."""
        return not self.wrong_ns


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
        self.options = self._options(segment, align)
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

    def _options(self, segment: int, align: int) -> JournalOptions:
        chance = self.random
        size = segment * chance.randrange(8, 14)
        limits: tuple[int | None, ...] = (None, None, segment, size // 3)
        ages = (None, None, 0.1, 30.0)
        return JournalOptions(
            bytes_max=size,
            segment_bytes=segment,
            tail_bytes_max=chance.choice((0, 4096, 1 << 20)),
            align=align,
            telemetry=TelemetryLimits(
                policy=chance.choice(("thin", "oldest", "newest")),
                bytes_max=chance.choice(limits),
                age_max_s=chance.choice(ages),
            ),
            alarm=AlarmLimits(bytes_max=chance.choice(limits), age_max_s=chance.choice(ages)),
            dead_letters=DeadLetterLimits(
                bytes_max=chance.choice((None, 2000, segment)), age_max_s=chance.choice(ages)
            ),
        )

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
        lane, given_up = self.random.choice(list(Lane)), self.random.random() < 0.5
        reader = journal.reader(lane, given_up=given_up)
        mine = {each.sequence: each.raw for each in reader.read(0, PIECE, PIECE)}
        count = reader.count(0)
        reader.close()
        over = () if given_up else read_limits(journal.table("limits"))[lane].over if lane in LIMITED else ()
        due = {sequence for sequence in shown if self.model.lanes[sequence] is lane}
        due -= {sequence for sequence in due if any(first <= sequence <= last for first, last in over)}
        if mine != {sequence: shown[sequence] for sequence in due} or count != len(due):
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
        elif what < 0.68:
            self._pass_time()
        elif what < 0.72:
            self.disk.refuse = self._fault(0.2) if chance.random() < 0.5 else lambda _call: None
        else:
            self._commit(journal)

    def _append(self, journal: Journal) -> None:
        self.count += 1
        lane = self.random.choice(LANES)
        pad = self.random.randbytes(self.random.choice((4, 30, 60, 400))).hex()
        event = Event(
            source="/gw/sim",
            type="temperature_changed",
            subject=f"house/{self.random.randrange(4)}",
            time=rfc3339(self.clock.wall_ns()),
            lane=lane,  # type: ignore[arg-type]
            data={"n": self.count, "pad": pad},
        )
        journal.append(event)

    def _pass_time(self) -> None:
        """Let some time pass; now and then the clock is wrong from then on, or right again."""
        self.clock.pass_time(self.random.choice((0.1, 5.0, 100.0)))
        if self.random.random() < 0.3:
            self.clock.wrong_ns = 0 if self.clock.wrong_ns else self.random.choice((-START_NS, -(10**11), 10**11))

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
            if chore.result is not None:
                self._look(journal)
            if not chore.pressing:
                return

    def _look(self, journal: Journal) -> None:
        """After something was given up: what is gone must be over or counted, by what is durable."""
        cut_in, self.disk.cut_in = self.disk.cut_in, -1
        refuse, self.disk.refuse = self.disk.refuse, lambda _call: None
        tables = {"cursors": self.model.tables.get("cursors", {}), "gaps": dict(journal.table("gaps"))}
        tables["limits"] = dict(journal.table("limits"))
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
    return {name: dict(journal.table(name)) for name in ("values", "cursors", "gaps", "limits")}
