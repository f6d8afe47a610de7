"""Records on their way to the worker: order, limits, reading back, taking back."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gateway.rules.worker.backlog import Backlog, Record


def records(*sequences: int) -> list[Record]:
    """Return records of ten bytes."""
    return [(sequence, b"x" * 10) for sequence in sequences]


def numbers(taken: Sequence[Record]) -> list[int]:
    """Return the sequences."""
    return [sequence for sequence, _ in taken]


def test_given_out_in_order_and_once() -> None:
    """What was added comes out in lists of about the limit, and is done when its outcome is."""
    backlog = Backlog(0, 0, 100, 10_000)
    backlog.add(records(1, 2))
    backlog.add(records(4, 7))
    backlog.add(records(9))
    backlog.offered = 9
    assert numbers(backlog.take(3)) == [1, 2, 4, 7]
    assert numbers(backlog.take(3)) == [9]
    assert (backlog.in_flight, backlog.take(3)) == (2, [])
    backlog.done(7)
    assert (backlog.committed, backlog.idle) == (7, False)
    backlog.done(9)
    assert (backlog.committed, backlog.idle) == (9, True)


def test_what_nobody_looks_at_counts_as_done_when_idle() -> None:
    """Records that were offered and of no interest move the cursor, but never past one that is on its way."""
    backlog = Backlog(0, 0, 100, 10_000)
    backlog.offered = 50
    assert backlog.settle() == 50
    backlog.add(records(51))
    backlog.offered = 60
    assert backlog.settle() == 50
    backlog.take(10)
    backlog.done(51)
    assert backlog.settle() == 60


def test_the_oldest_are_forgotten_and_read_back() -> None:
    """Above its limits it keeps the newest, says that it is behind, and joins the journal's records to its own."""
    for limits in ((4, 10_000), (100, 40)):
        backlog = Backlog(0, 0, *limits)
        for first in range(1, 11, 2):
            backlog.add(records(first, first + 1))
        assert (len(backlog), backlog.behind, backlog.position) == (4, True, 0)
        backlog.read(records(1, 2, 3, 4), 4)
        assert backlog.behind
        backlog.read(records(5, 6), 6)
        assert (backlog.behind, numbers(backlog.take(100))) == (False, [7, 8, 9, 10])


def test_reading_back_more_than_was_forgotten() -> None:
    """What the journal gave already is not given out again from memory, also from within a list."""
    backlog = Backlog(0, 5, 100, 10_000)
    backlog.add(records(6, 7, 8, 9))
    backlog.read(records(2, 4, 6, 7), 7)
    assert numbers(backlog.take(100)) == [8, 9]


def test_an_empty_stretch_of_the_journal_is_passed() -> None:
    """Where nothing was to be read, the position moves all the same, and the cursor with it."""
    backlog = Backlog(0, 40, 100, 10_000)
    backlog.read([], 40)
    assert (backlog.behind, backlog.settle()) == (False, 40)


def test_part_of_a_batch_may_be_done() -> None:
    """An outcome that covers the first records of a batch leaves the rest in flight."""
    backlog = Backlog(0, 0, 100, 10_000)
    backlog.add(records(1, 2, 3))
    backlog.take(10)
    backlog.done(2)
    assert (backlog.in_flight, backlog.committed) == (1, 2)
    backlog.rewind()
    assert numbers(backlog.take(10)) == [3]


def test_any_history_gives_every_record_once() -> None:
    """2,000 seeded histories of feeding, slowness, deaths and reading back: each record once, in order."""
    for seed in range(2000):
        _history(random.Random(seed))


def _history(chance: random.Random) -> None:
    journal: list[Record] = []
    done: list[int] = []
    backlog = Backlog(0, 0, chance.choice((3, 8, 1000)), chance.choice((25, 100, 100_000)))
    flying: list[list[int]] = []
    sequence = 0
    for step in range(60):
        what = chance.random()
        if what < 0.4 and step < 40:
            fed = records(*range(sequence + 1, sequence + 1 + chance.randrange(1, 5)))
            sequence = fed[-1][0]
            journal += fed
            backlog.add(fed)
            backlog.offered = sequence
        elif what < 0.7:
            if backlog.behind:
                found = [r for r in journal if r[0] > backlog.position][: chance.randrange(1, 6)]
                backlog.read(found, found[-1][0] if found else sequence)
                flying += [numbers(found)] if found else []
            elif taken := backlog.take(chance.randrange(1, 6)):
                flying.append(numbers(taken))
        elif what < 0.95 and flying:
            batch = flying.pop(0)
            done += batch
            backlog.done(batch[-1])
        elif what >= 0.95:
            flying.clear()
            backlog.rewind()
    while not backlog.idle:
        if backlog.behind:
            found = [r for r in journal if r[0] > backlog.position][:5]
            backlog.read(found, found[-1][0])
            flying.append(numbers(found))
        elif taken := backlog.take(5):
            flying.append(numbers(taken))
        for batch in flying:
            done += batch
            backlog.done(batch[-1])
        flying.clear()
    assert done == [number for number, _ in journal]
    assert backlog.committed == sequence
