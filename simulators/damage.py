"""`python -m simulators.damage --count N --seed S --json`: damage to a journal's files, and what the start makes of it.

Each case builds a journal of a few segments, stops it (cleanly or by a power cut), hurts it in one to three ways (a
flipped bit, zeroed bytes, a zeroed block, a truncated, deleted, swapped or copied segment, an empty checkpoint, sectors
that cannot be read), and starts it. In every fourth case it is hurt while it is open, read by its readers, and in some
of those its ring is turned, so that eviction goes over the damage. What must hold:

* the start is not refused, and the journal takes and keeps new records;
* no record is there with other bytes than were written, and none that was not written;
* a record that is missing lay in a block that was hurt;
* the journal counts exactly the records that are missing; but after an unclean stop, of hurt blocks at the very end of
  the log nobody can say whether they had been there, and when no checkpoint at all is left, nobody knows of segments
  that vanished. What is hurt while it is open is counted exactly.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence

import msgspec

from gateway.errors import GatewayError
from gateway.event import Event, Lane
from gateway.journal.cipher import keys_of
from gateway.journal.compression import Codec
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from gateway.journal.record import decode
from gateway.journal.segment import Entry, Found, Walk
from simulators.disk import PAGE, SECTOR, SimDisk
from simulators.journal import FOLDER, LANES, PIECE, SimClock
from simulators.keys import keyed

OPTIONS = JournalOptions(bytes_max=40 * 16 * 1024, segment_bytes=16 * 1024, preallocate=False)
FAILED_SHOWN_MAX = 20
OPEN = 0.25  # share of cases that are hurt while the journal is open
TURNED = 0.2  # share of those in which the ring is turned afterwards
UNREADABLE = 0.15  # share of cases with bad sectors, and nothing else
TURN_COMMITS = 400


class Extent(msgspec.Struct):
    """One block on the disk and the events in it."""

    name: str
    start: int
    end: int
    sequences: list[int]
    number: int  # of the block in the log; -1 for survivors


class Case:
    """One journal, hurt once."""

    def __init__(self, seed: int, ways: Sequence[str] = ()) -> None:
        """`ways`: hurt it so, in this order; else by chance."""
        self.seed = seed
        self.ways = ways
        self.random = random.Random(seed)
        self.disk = SimDisk(seed)
        self.clock = SimClock()
        self.written: dict[int, bytes] = {}
        self.faults: list[str] = []
        self.lost = 0
        self.clean = False
        self.what: list[str] = []

    def run(self) -> list[str]:
        """Build, stop, hurt, start, check; returns what is wrong."""
        self._build()
        extents = self._extents()
        try:
            if self.random.random() < OPEN:
                self._check_open(extents)
            else:
                self._check(extents, self._hurt(extents))
        except Exception as error:  # noqa: BLE001 - any error at a start is what is looked for
            self.faults.append(f"start refused: {type(error).__name__}: {error}")
        return self.faults

    def _open(self) -> Journal:
        self.options = keyed(OPTIONS, self.seed, self.random)
        return Journal.open(FOLDER, self.options, self.clock, self.disk, random=self.random.randbytes)

    def _build(self) -> None:
        chance = self.random
        for _ in range(chance.randrange(1, 4)):
            journal = self._open()
            for number in range(chance.randrange(5, 60)):
                for _ in range(chance.choice((1, 2, 8))):
                    pad = chance.randbytes(chance.choice((10, 60, 300))).hex()
                    lane = chance.choice(LANES)
                    event = Event(source="/gw/sim", type="x_changed", lane=lane, data={"pad": pad})  # type: ignore[arg-type]
                    raw = journal.append(event)
                    self.written[journal.last_sequence] = raw
                journal.put("values", "device", {"n": number})
                journal.commit()
            self.clean = chance.random() < 0.5
            if self.clean:
                journal.close()
                self.disk.kill()
            else:
                self.disk.crash()
        self.disk.kill()

    def _extents(self) -> list[Extent]:
        """Say where each block lies, by reading the sound journal's live segments."""
        probe = SimDisk(0)
        for name in self.disk.names(FOLDER):
            probe.add(FOLDER / name, self.disk.image(FOLDER / name))
        journal = Journal.open(FOLDER, self.options, self.clock, probe, random=self.random.randbytes)
        extents = [extent for entry in journal.store.view.segments for extent in self._blocks(entry, journal)]
        held = {sequence for extent in extents for sequence in extent.sequences}
        self.written = {sequence: raw for sequence, raw in self.written.items() if sequence in held}
        return extents

    def _blocks(self, entry: Entry, journal: Journal) -> list[Extent]:
        image = self.disk.image(FOLDER / entry.name)
        walk = Walk(
            lambda length, at: image[at : at + length],
            bytes.fromhex(journal.log_id),
            entry.life,
            entry.end,
            align=OPTIONS.align,
            codec=Codec(keys=keys_of(self.options)),
        )
        found = [part for part in walk if isinstance(part, Found)]
        return [
            Extent(entry.name, part.offset, part.end, _sequences(part), -1 if entry.survivors else part.header.number)
            for part in found
        ]

    def _hurt(self, extents: list[Extent], *, stopped: bool = True) -> list[Extent]:
        """Do some damage; returns the blocks that it touched. Files change places only while it is `stopped`."""
        ways: list[Callable[[list[Extent]], list[Extent]]] = [
            self._flip, self._flip, self._flip, self._zero, self._zero_block, self._zero_block,
            self._truncate, self._cut_short, self._delete, self._empty_checkpoint, self._newest_checkpoint,
        ]  # fmt: skip
        if stopped:
            ways += [self._swap, self._copy]
        if self.random.random() < UNREADABLE:
            ways = [self._unreadable]
        hurt: list[Extent] = []
        by_chance = [self.random.choice(ways) for _ in range(self.random.choice((1, 1, 1, 2, 3)))]
        for way in [getattr(self, f"_{name}") for name in self.ways] or by_chance:
            self.what.append(way.__name__.removeprefix("_"))
            hurt += way(extents)
        self.disk.rotted()
        return hurt

    def _file(self, extents: list[Extent]) -> str | None:
        names = sorted({extent.name for extent in extents} & set(self.disk.names(FOLDER)))
        return self.random.choice(names) if names else None

    def _spoil(self, extents: list[Extent], start: int, length: int, name: str, flip: int | None) -> list[Extent]:
        data = self.disk.contents(FOLDER / name)
        for at in range(start, min(start + length, len(data))):
            data[at] = data[at] ^ flip if flip is not None else 0
        return [each for each in extents if each.name == name and each.start < start + length and each.end > start]

    def _flip(self, extents: list[Extent]) -> list[Extent]:
        extent = self.random.choice(extents)
        if extent.name not in self.disk.names(FOLDER):
            return []
        at = self.random.randrange(extent.start, extent.end)
        return self._spoil(extents, at, 1, extent.name, 1 << self.random.randrange(8))

    def _zero(self, extents: list[Extent]) -> list[Extent]:
        name = self._file(extents)
        if name is None:
            return []
        start = self.random.randrange(OPTIONS.segment_size)
        return self._spoil(extents, start, self.random.choice((1, SECTOR, 4096)), name, None)

    def _zero_block(self, extents: list[Extent]) -> list[Extent]:
        extent = self.random.choice(extents)
        if extent.name not in self.disk.names(FOLDER):
            return []
        return self._spoil(extents, extent.start, extent.end - extent.start, extent.name, None)

    def _unreadable(self, extents: list[Extent]) -> list[Extent]:
        extent = self.random.choice(extents)
        page = self.random.randrange(extent.start, extent.end) // PAGE
        self.disk.spoil(FOLDER / extent.name, page)
        here = [each for each in extents if each.name == extent.name]
        return [each for each in here if each.start < (page + 1) * PAGE and each.end > page * PAGE]

    def _empty_checkpoint(self, extents: list[Extent]) -> list[Extent]:
        heads = self._heads(extents)
        return self._without_checkpoint(extents, self.random.choice(heads)) if heads else []

    def _newest_checkpoint(self, extents: list[Extent]) -> list[Extent]:
        """Empty the one that a start wants: it has to go back to the one before, over what else is hurt."""
        heads = self._heads(extents)
        return self._without_checkpoint(extents, max(heads, key=lambda head: head.number)) if heads else []

    def _heads(self, extents: list[Extent]) -> list[Extent]:
        return [extent for extent in extents if extent.start == 0 and extent.name in self.disk.names(FOLDER)]

    def _without_checkpoint(self, extents: list[Extent], head: Extent) -> list[Extent]:
        return self._spoil(extents, 160, head.end - 160, head.name, None)

    def _truncate(self, extents: list[Extent]) -> list[Extent]:
        name = self._file(extents)
        if name is None:
            return []
        data = self.disk.contents(FOLDER / name)
        length = self.random.randrange(len(data) + 1)
        del data[length:]
        return [each for each in extents if each.name == name and each.end > length]

    def _cut_short(self, extents: list[Extent]) -> list[Extent]:
        """Truncate where a block ends, or in the zeros behind one."""
        name = self._file(extents)
        if name is None:
            return []
        data = self.disk.contents(FOLDER / name)
        ends = [extent.end for extent in extents if extent.name == name and extent.end <= len(data)] or [0]
        length = max(0, self.random.choice(ends) - self.random.choice((0, 0, 1, 100)))
        del data[length:]
        return [each for each in extents if each.name == name and each.end > length]

    def _whole(self, extents: list[Extent]) -> list[Extent]:
        """Zero a file from end to end, but for its first header."""
        name = self._file(extents)
        return self._spoil(extents, 160, OPTIONS.segment_size, name, None) if name is not None else []

    def _delete(self, extents: list[Extent]) -> list[Extent]:
        name = self._file(extents)
        if name is None:
            return []
        self.disk.remove(FOLDER / name)
        return [each for each in extents if each.name == name]

    def _swap(self, extents: list[Extent]) -> list[Extent]:
        """Swap two files' contents: nothing is lost by it. Their extents follow."""
        one, other = self._file(extents), self._file(extents)
        if one is None or other is None or one == other:
            return []
        first, second = self.disk.contents(FOLDER / one), self.disk.contents(FOLDER / other)
        first[:], second[:] = bytes(second), bytes(first)
        for extent in extents:
            extent.name = {one: other, other: one}.get(extent.name, extent.name)
        return []

    def _copy(self, extents: list[Extent]) -> list[Extent]:
        """Copy a segment under another name: nothing is lost by it."""
        name = self._file(extents)
        if name is not None:
            copy = FOLDER / f"{self.random.choice((0, 90000000)) + self.random.randrange(1000):08d}.segment"
            if str(copy) not in map(str, (FOLDER / each for each in self.disk.names(FOLDER))):
                self.disk.add(copy, bytes(self.disk.contents(FOLDER / name)))
        return []

    def _check_open(self, extents: list[Extent]) -> None:
        """Hurt it while it is open: readers go over it, and sometimes eviction."""
        journal = self._open()
        journal.commit()
        self.what.append("while open")
        hurt = self._hurt(extents, stopped=False)
        missing = self._compare(_shown(journal), hurt)
        journal.append(Event(source="/gw/sim", type="x_changed", data={"after": "damage"}))
        journal.commit()
        counted = sum(row["records"] for row in journal.table("damage").values())
        if counted != len(missing):
            self.faults.append(f"{counted} counted as lost while it was open, {len(missing)} are")
        if self.random.random() < TURNED:
            self._turn(journal)
        before = _shown(journal).keys()
        journal.close()
        self.disk.crash()
        if _shown(self._open()).keys() < before:
            self.faults.append("what was there before a stop is not there after the next start")

    def _turn(self, journal: Journal) -> None:
        """Fill the ring: what is hurt is given up, alarms that are written meanwhile are kept."""
        self.what.append("turned")
        alarms = []
        for lane in ("alarm", "telemetry"):
            journal.put("cursors", f"route:cloud:{lane}", {"after": journal.durable_sequence, "done": []})
        for number in range(TURN_COMMITS):
            journal.append(Event(source="/gw/sim", type="x_changed", lane="alarm", data={"n": number}))
            alarms.append(journal.last_sequence)
            data = {"pad": self.random.randbytes(1500).hex()}
            journal.append(Event(source="/gw/sim", type="x_changed", data=data))
            journal.commit()
        gone = set(alarms) - _shown(journal).keys()
        if gone:
            self.faults.append(f"{len(gone)} alarms were lost when the ring turned")

    def _compare(self, shown: dict[int, bytes], hurt: list[Extent]) -> set[int]:
        """See that nothing was changed, and that only what was hurt is missing; returns that."""
        allowed = {sequence for extent in hurt for sequence in extent.sequences}
        for sequence, raw in shown.items():
            if self.written.get(sequence) != raw:
                self.faults.append(f"{sequence} is there and was not written so")
        missing = self.written.keys() - shown.keys()
        self.lost = len(missing)
        if missing - allowed:
            self.faults.append(f"lost more than the damaged blocks: {sorted(missing - allowed)[:5]}")
        return missing

    def _check(self, extents: list[Extent], hurt: list[Extent]) -> None:
        journal = self._open()
        shown = _shown(journal)
        tail = set() if self.clean else _end(extents, hurt)
        missing = self._compare(shown, hurt)
        journal.append(Event(source="/gw/sim", type="x_changed", data={"after": "damage"}))
        journal.commit()
        counted = sum(row["records"] for row in journal.table("damage").values()) + journal.recovery.missing_records
        at_least = 0 if journal.recovery.rebuilt else len(missing - tail)
        if not at_least <= counted <= len(missing | tail):
            self.faults.append(
                f"{counted} counted as lost, {len(missing)} are, {len(tail)} of them at the end of the log"
            )
        last = journal.last_sequence
        journal.close()
        self.disk.crash()
        again = self._open()
        if again.recovery.unclean or _shown(again).keys() != shown.keys() | {last}:
            self.faults.append("what was there after the start is not there after the next")


def _end(extents: list[Extent], hurt: list[Extent]) -> set[int]:
    """Return the records in hurt blocks behind which no sound one is."""
    numbers = {extent.number for extent in hurt}
    sequences: set[int] = set()
    for extent in sorted(extents, key=lambda each: -each.number):
        if extent.number not in numbers:
            break
        sequences.update(extent.sequences)
    return sequences


def _sequences(part: Found) -> list[int]:
    assert part.payload is not None
    header = part.header
    survivors = bool(header.flags & 4)
    records = decode(part.payload, header.first, header.events, survivors=survivors) if header.events else None
    return [records.sequence(place) for place in range(header.events)] if records else []


def _shown(journal: Journal) -> dict[int, bytes]:
    shown: dict[int, bytes] = {}
    for lane in Lane:
        reader = journal.reader(lane)
        for each in reader.read(0, PIECE, PIECE):
            if each.sequence in shown:
                raise GatewayError(f"{each.sequence} is there twice")
            shown[each.sequence] = each.raw
        reader.close()
    return shown


def damage(count: int, seed: int) -> dict[str, object]:
    """Run `count` cases; returns what was counted."""
    lost = records = 0
    failed: list[str] = []
    for number in range(seed, seed + count):
        case = Case(number)
        failed += [f"seed {number} ({', '.join(case.what)}): {fault}" for fault in case.run()]
        lost += case.lost
        records += len(case.written)
        if sys.stderr.isatty():
            print(f"\r{number - seed + 1}/{count} cases, {len(failed)} wrong  ", end="", file=sys.stderr, flush=True)
    return {
        "cases": count,
        "records": records,
        "lost_to_damage": lost,
        "wrong": failed[:FAILED_SHOWN_MAX],
        "seed": seed,
    }


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="simulators.damage", description="Damage to a journal's files, by seed.")
    parser.add_argument("--count", type=int, default=1000, help="journals to hurt (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first (default 1)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    words = parser.parse_args(arguments)
    result = damage(words.count, words.seed)
    print(json.dumps(result) if words.json else "\n".join(f"{name:16} {value}" for name, value in result.items()))
    return int(bool(result["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
