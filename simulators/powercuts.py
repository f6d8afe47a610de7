"""`python -m simulators.powercuts --count N --seed S --json`: the power goes while a real ext4 is written to.

The journal runs as a process (journal_process.py) on an ext4 on a card (card.py) that keeps every write and flush.
It is killed and started again a few times meanwhile. Afterwards, for each cut, the card is put together as it would be
if the power had gone at some write: what was flushed before it is there, of what was written since

    all      everything has reached the medium
    none     nothing has
    prefix   the first writes have
    some     each write has or has not, whatever came first
    torn     each sector of 512 bytes has or has not

Then it is mounted (ext4 goes through its own log), the journal starts on it, and what it shows is compared with what
had been promised at that moment. It must also take one more record, and show it after the next start.

Cut n of seed S takes the same point and kind each time, relative to a recording; the recording itself has the timing
of the kernel in it. A card on which something was wrong is kept; its place is said.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.event import Event
from gateway.journal.journal import Journal
from simulators.card import SECTOR, CannotMount, Card, Entry, mounted, new_ext4, private_mounts
from simulators.journal_process import cursor, options, shown

PROGRAM: Final = "simulators.journal_process"
CARD_BYTES: Final = 32 * 1024 * 1024
CUTS_PER_RECORDING: Final = 100
LIVES: Final = 4  # of the process in one recording
COMMITS_MAX: Final = 120  # in one life
KINDS: Final = ("all", "none", "prefix", "some", "some", "torn", "torn")
SUPERBLOCK_BYTES: Final = 4096  # ext4 gives up a card whose superblock is torn inside: written whole or not
WRONG: Final = ("lost", "ghosts", "changed_ids", "refused_starts", "broken")
SHOWN_MAX: Final = 20
UNUSABLE: Final = 2

Mark = tuple[str, int]
"""A record's event id and the CRC of its bytes."""


class Moment(msgspec.Struct):
    """What the process said, and how much had reached the card by then."""

    at: int  # length of the card's log
    what: str  # start | try | ok
    records: dict[int, Mark] = {}
    seen: frozenset[int] = frozenset()  # at a start
    cursor: int = 0


class Recording(msgspec.Struct):
    """One card's history, and what was promised in it."""

    begin: bytes  # the empty file system
    log: list[Entry]
    moments: list[Moment]
    align: int


class Found(msgspec.Struct):
    """What the cuts showed."""

    cuts: int = 0
    acknowledged: int = 0  # records promised before a cut and not delivered, summed over all cuts
    lost: int = 0
    ghosts: int = 0
    changed_ids: int = 0
    refused_starts: int = 0
    broken: list[str] = []


def record(seed: int, place: Path, program: str = PROGRAM) -> Recording:
    """Let the journal work on a card for some lives."""
    chance = random.Random(seed)
    align = chance.choice((512, 512, 4096))
    card = Card(CARD_BYTES)
    begin = new_ext4(CARD_BYTES, place)
    card.load(begin)
    moments: list[Moment] = []
    with card.attached(place) as device, mounted(device, place / "mnt") as at:
        for life in range(LIVES):
            commits = chance.randrange(COMMITS_MAX // 4, COMMITS_MAX)
            how = chance.choice(("stop", "kill", "kill while it writes"))
            words = [program, str(at / "journal"), str(seed * LIVES + life), str(align)]
            _live(words, card, moments, commits, how)
        log = list(card.log)
    return Recording(begin, log, moments, align)


def _live(words: list[str], card: Card, moments: list[Moment], commits: int, how: str) -> None:
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            moments.append(_moment(line, len(card.log)))
            commits -= moments[-1].what == "ok"
            if commits <= 0 and how != "stop":
                if how != "kill" and moments[-1].what == "try":
                    process.stdin.write("go\n")
                    process.stdin.flush()
                if how == "kill" or moments[-1].what == "try":
                    process.kill()
                    return
            process.stdin.write("go\n" if commits > 0 or how != "stop" else "stop\n")
            process.stdin.flush()
    if process.returncode:
        raise GatewayError(f"the journal's process ended with {process.returncode}")


def _moment(line: str, at: int) -> Moment:
    what, _, rest = line.rstrip("\n").partition(" ")
    if what == "start":
        return Moment(at, what, seen=frozenset(json.loads(rest)))
    if what == "try":
        marks, _, after = rest.rpartition(" ")
        records = {sequence: (name, crc) for sequence, name, crc in json.loads(marks)}
        return Moment(at, what, records, cursor=int(after))
    return Moment(at, what)


class Promised(msgspec.Struct):
    """What holds at a moment."""

    kept: dict[int, Mark] = {}  # acknowledged
    tried: dict[int, Mark] = {}
    dead: set[int] = set()  # a start showed that they are not there
    cursor: int = 0  # acknowledged
    cursors: set[int] = set()  # ever put


def promised(moments: list[Moment], at: int) -> Promised:
    """Return what had been promised when the card's log had this length."""
    now = Promised()
    trial = Moment(0, "")
    for moment in moments:
        if moment.at > at:
            break
        if moment.what == "try":
            trial = moment
            now.tried |= moment.records
            now.cursors.add(moment.cursor)
        elif moment.what == "ok":
            now.kept |= trial.records
            now.cursor = trial.cursor
        else:
            now.dead |= now.tried.keys() - now.kept.keys() - moment.seen
            now.kept |= {sequence: mark for sequence, mark in now.tried.items() if sequence in moment.seen}
    return now


def cards(recording: Recording, points: list[tuple[int, str]], chance: random.Random) -> Iterator[bytearray]:
    """Yield the card as each cut leaves it; points (entries before the cut, kind) in order."""
    medium = bytearray(recording.begin)
    since: list[Entry] = []
    done = 0
    for at, kind in points:
        for entry in recording.log[done:at]:
            if entry.data is not None:
                since.append(entry)
                continue
            for each in since:
                _put(medium, each)
            since.clear()
        done = at
        card = bytearray(medium)
        for each in _survivors(since, kind, chance):
            _put(card, each)
        yield card


def _survivors(since: list[Entry], kind: str, chance: random.Random) -> Iterator[Entry]:
    if kind == "prefix":
        yield from since[: chance.randrange(len(since) + 1)]
    elif kind == "torn":
        for entry in since:
            data = entry.data or b""
            step = SECTOR if entry.offset >= SUPERBLOCK_BYTES else len(data)
            for at in range(0, len(data), step):
                if chance.random() < 0.5:
                    yield Entry(entry.offset + at, data[at : at + step])
    elif kind != "none":
        yield from (entry for entry in since if kind == "all" or chance.random() < 0.5)


def _put(medium: bytearray, entry: Entry) -> None:
    assert entry.data is not None
    medium[entry.offset : entry.offset + len(entry.data)] = entry.data


def judge(folder: Path, align: int, now: Promised, found: Found) -> str:
    """Start the journal as the cut left it and compare; returns what is wrong, in words."""
    try:
        journal = Journal.open(folder, options(align), SystemClock())
    except (GatewayError, OSError) as error:
        found.refused_starts += 1
        return f"start refused: {error}"
    there, after = shown(journal), cursor(journal)
    lost = [sequence for sequence in now.kept if sequence > after and sequence not in there]
    ghosts = [sequence for sequence in there if sequence not in now.tried or sequence in now.dead]
    changed = [sequence for sequence, mark in there.items() if now.tried.get(sequence, mark) != mark]
    found.acknowledged += sum(sequence > after for sequence in now.kept)
    found.lost += len(lost)
    found.ghosts += len(ghosts)
    found.changed_ids += len(changed)
    wrong = [f"{name} {some[:5]}" for name, some in (("lost", lost), ("ghosts", ghosts), ("changed", changed)) if some]
    if after < now.cursor or after not in now.cursors | {0}:
        wrong.append(f"the cursor is at {after}, and {now.cursor} was promised")
    if journal.table("gaps") or journal.recovery.damaged_blocks or journal.recovery.missing_records:
        wrong.append(f"counted as lost: {dict(journal.table('gaps'))} {list(journal.recovery.lines())}")
    journal.append(Event(source="/gw/card", type="x_changed", data={"after": "cut"}))
    journal.commit()
    last = journal.last_sequence
    journal.close()
    again = Journal.open(folder, options(align), SystemClock())
    if again.recovery.unclean or not {each for each in there if each > after} | {last} <= shown(again).keys():
        wrong.append("what was there after the start is not there after the next")
    again.close()
    return "; ".join(wrong)


def cut(recording: Recording, count: int, seed: int, place: Path, found: Found) -> None:
    """Cut the power `count` times in one recording."""
    chance = random.Random(seed)
    first = next(moment.at for moment in recording.moments if moment.what == "ok")
    said = [moment.at for moment in recording.moments if moment.at >= first]
    places = [chance.choice((chance.choice(said), chance.randint(first, len(recording.log)))) for _ in range(count)]
    points = sorted((at, chance.choice(KINDS)) for at in places)
    image = place / "cut"
    for (at, kind), card in zip(points, cards(recording, points, chance), strict=True):
        _write_sparse(image, card)
        found.cuts += 1
        where = f"seed {seed}, write {at} of {len(recording.log)} ({kind})"
        try:
            with mounted(image, place / "mnt") as mount:
                wrong = judge(mount / "journal", recording.align, promised(recording.moments, at), found)
        except CannotMount as error:
            wrong = f"ext4 gave the card up: {error}"
        if wrong:
            _write_sparse(image, card)
            kept = Path(tempfile.mkdtemp(prefix="powercut-")) / f"seed-{seed}-write-{at}.ext4"
            image.rename(kept)
            found.broken.append(f"{where}: {wrong} (kept: {kept})")
        if sys.stderr.isatty():
            print(f"\r{found.cuts} power cuts, {len(found.broken)} wrong  ", end="", file=sys.stderr, flush=True)


def _write_sparse(path: Path, data: bytearray) -> None:
    """Write an image without its empty pages."""
    empty = bytes(1 << 16)
    with path.open("wb") as file:
        for at in range(0, len(data), len(empty)):
            piece = data[at : at + len(empty)]
            if piece != empty:
                file.seek(at)
                file.write(piece)
        file.truncate(len(data))


def powercuts(count: int, seed: int, program: str = PROGRAM) -> dict[str, object]:
    """Record and cut until there are enough. Raises CannotMount."""
    private_mounts()
    found = Found()
    number = seed
    while found.cuts < count:
        with tempfile.TemporaryDirectory(prefix="powercuts-") as folder:
            recording = record(number, Path(folder), program)
            cut(recording, min(CUTS_PER_RECORDING, count - found.cuts), number, Path(folder), found)
        number += 1
    return {**msgspec.to_builtins(found), "broken": found.broken[:SHOWN_MAX], "seed": seed}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(
        prog="simulators.powercuts", description="Power cuts under a real ext4. Needs root."
    )
    parser.add_argument("--count", type=int, default=200, help="power cuts in all (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first recording (default 1)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument(
        "--program", default=PROGRAM, metavar="MODULE", help=f"what runs on the card (default {PROGRAM})"
    )
    words = parser.parse_args(arguments)
    try:
        result = powercuts(words.count, words.seed, words.program)
    except CannotMount as error:
        print(f"powercuts: {error}", file=sys.stderr)
        return UNUSABLE
    print(json.dumps(result) if words.json else "\n".join(f"{name:16} {value}" for name, value in result.items()))
    return int(any(result[name] for name in WRONG))


if __name__ == "__main__":
    sys.exit(main())
