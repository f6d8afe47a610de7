"""Group commit on the event loop: what is acknowledged is on the disk, and refusals are ridden out. Budget: 10 s."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.clock import SystemClock
from gateway.event import Event, Lane
from gateway.journal.committer import ENOUGH_RECORDS, Committer, State
from gateway.journal.journal import Journal
from gateway.journal.options import JournalOptions
from simulators.disk import SimDisk

FOLDER = Path("/sim")
SMALL = JournalOptions(bytes_max=1024 * 1024, segment_bytes=64 * 1024, preallocate=False, cursor_delay_s=0.2)


def event(n: int, lane: str = "telemetry") -> Event:
    return Event(source="/gw/house", type="temperature_changed", lane=lane, data={"n": n})  # type: ignore[arg-type]


def committing(
    test: Callable[[Journal, Committer, list[int]], Awaitable[None]], disk: SimDisk, options: JournalOptions = SMALL
) -> Journal:
    """Run `test` beside a committer on a simulated disk; returns the closed journal."""

    async def session() -> Journal:
        journal = Journal.open(FOLDER, options, SystemClock(), disk)
        durable: list[int] = []
        committer = Committer(journal, durable.append)
        task = asyncio.create_task(committer.run())
        try:
            await asyncio.wait_for(test(journal, committer, durable), 30)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await committer.close()
        return journal

    return asyncio.run(session())


def on_medium(disk: SimDisk) -> list[int]:
    """Return the sequences that survive a power cut now (on a copy made by reopening)."""
    disk.crash()
    journal = Journal.open(FOLDER, SMALL, SystemClock(), disk)
    sequences = [each.sequence for lane in Lane for each in journal.reader(lane).read(0, 1 << 30, 1 << 30)]
    journal.close()
    return sorted(sequences)


def test_events_are_committed_without_being_asked_twice() -> None:
    """One wake is enough: the batch is durable after its delay, and its number is announced."""

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        journal.append(event(1))
        batch = journal.batch
        committer.wake()
        while not durable or durable[-1] < batch:
            await asyncio.sleep(0.005)
        assert journal.durable_sequence == 1

    committing(test, SimDisk(1))


def test_a_large_batch_does_not_wait_for_its_delay() -> None:
    """Once enough records wait, they are committed, however long the delay."""

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        await committer.flush()
        for n in range(ENOUGH_RECORDS):
            journal.append(event(n))
            committer.wake()
        while journal.durable_sequence < journal.last_sequence:
            await asyncio.sleep(0.01)

    committing(test, SimDisk(1), msgspec.structs.replace(SMALL, max_delay_ms=3_600_000))


def test_flush_returns_when_all_is_durable() -> None:
    """After flush a power cut loses nothing of what was appended before it."""
    disk = SimDisk(2)

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        for n in range(100):
            journal.append(event(n))
        await committer.flush()
        assert journal.durable_sequence == 100
        assert durable

    committing(test, disk)
    assert on_medium(disk) == list(range(1, 101))


def test_an_event_appended_during_a_commit_joins_the_next_one() -> None:
    """Batches are announced in order, each once, and nothing waits for a wake that was given during a commit."""

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        for n in range(300):
            journal.append(event(n, "alarm" if n % 10 == 0 else "telemetry"))
            committer.wake(urgent=n % 10 == 0)
            if n % 7 == 0:
                await asyncio.sleep(0)
        await committer.flush()
        assert durable == sorted(durable)
        assert journal.durable_sequence == 300
        assert committer.commits > 3

    committing(test, SimDisk(3))


def test_rows_put_just_before_the_seal_are_in_the_block() -> None:
    """A callback's rows go with the events of that batch; without events a batch of rows waits for company."""

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        await committer.flush()
        committer.before_seal.append(lambda: journal.put("values", "a", {"n": journal.last_sequence}))
        journal.append(event(1))
        committer.wake(urgent=True)
        await committer.flush()
        assert journal.get("values", "a") == {"n": 1}
        committer.before_seal.clear()
        before = committer.commits
        journal.put("cursors", "rules", {"after": 1})
        committer.wake()
        await asyncio.sleep(0.05)
        assert committer.commits == before
        while committer.commits == before:
            await asyncio.sleep(0.01)

    committing(test, SimDisk(4))


def test_a_disk_that_refuses_is_ridden_out() -> None:
    """While fdatasync fails nothing is announced; when it works again all of it is durable under the old ids."""
    disk = SimDisk(5)

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        journal.append(event(0))
        await committer.flush()
        failing = 5
        seen: list[State] = []

        def refuse(call: str) -> int | None:
            nonlocal failing
            if call == "fdatasync" and failing > 0:
                failing -= 1
                return errno.EIO
            return None

        disk.refuse = refuse
        raw = journal.append(event(1))
        announced = len(durable)
        committer.wake(urgent=True)
        while committer.refusals < 3:
            await asyncio.sleep(0.01)
            if committer.state is not State.OK:
                assert len(durable) == announced
        seen.append(committer.state)
        journal.append(event(2, "alarm"))
        committer.wake(urgent=True)
        await committer.flush()
        assert seen == [State.READ_ONLY]
        assert committer.state is State.OK
        assert journal.reader(Lane.TELEMETRY).read(1, 10, 1 << 20)[0].raw == raw

    committing(test, disk)
    assert on_medium(disk) == [1, 2, 3]


def test_a_cancelled_committer_leaves_no_commit_in_limbo() -> None:
    """Cancel in the middle of commits, close: everything appended is on the disk and the stop is clean."""
    disk = SimDisk(6)

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        for n in range(50):
            journal.append(event(n))
            committer.wake(urgent=True)
            await asyncio.sleep(0)

    committing(test, disk)
    assert on_medium(disk) == list(range(1, 51))


def test_the_budget_is_written_ahead_in_quiet_times() -> None:
    """With preallocation on, the whole budget becomes zeroed spare segments in the background."""
    disk = SimDisk(7)
    options = JournalOptions(bytes_max=8 * 64 * 1024, segment_bytes=64 * 1024)

    async def test(journal: Journal, committer: Committer, durable: list[int]) -> None:
        await committer.flush()
        while len(disk.names(FOLDER)) < 8 + 1:
            await asyncio.sleep(0.01)

    committing(test, disk, options)
    names = disk.names(FOLDER)
    assert sum(name.endswith(".spare") for name in names) == 7


def test_it_stops_whenever_it_is_told_to() -> None:
    """A cancellation at the moment at which a commit is asked for is not lost, housekeeping or not."""

    async def session() -> None:
        for ticks in range(8):
            journal = Journal.open(FOLDER, SMALL, SystemClock(), SimDisk(1))
            committer = Committer(journal, lambda _: None)
            task = asyncio.create_task(committer.run())
            await committer.flush()
            for _ in range(20):  # until it waits, between two chores
                await asyncio.sleep(0.001)
            journal.append(event(ticks))
            asked = asyncio.create_task(committer.flush())
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            _, running = await asyncio.wait({task}, timeout=10)
            assert not running, f"{ticks} ticks later"
            await asyncio.gather(asked, return_exceptions=True)
            await committer.close()

    asyncio.run(session())
