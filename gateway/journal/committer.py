"""The committer: group commit, the asyncio shell around the journal.

One worker thread, one commit in flight. What is appended while a commit is on its way joins the next one, alarms
included. When the next one begins depends on what waits:

    an alarm or command (`wake(urgent=True)`)     now
    events                                        at most `max_delay_ms` after the first (pace.py says when), or at
                                                  `block_bytes` or ENOUGH_RECORDS
    only table changes (cursors, dedup rows)      `cursor_delay_s` after the first: never a commit of their own
                                                  when something else comes along

`on_durable(batch)` is called on the loop after fdatasync has returned; nothing may be acknowledged before.

When the disk refuses, nothing of the block is durable and nothing was acknowledged. The committer tries again with
backoff (RETRY_MIN_S doubling to RETRY_MAX_S), each time in a new segment, and lets what has come since join the
block, so that an alarm does not wait behind telemetry that the disk refused. `state` says how it stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Final

from gateway.codes.disk import DISK_REFUSES, NO_SEGMENT
from gateway.errors import DiskRefused, JournalError
from gateway.journal.batch import Block
from gateway.journal.chore import Chore
from gateway.journal.journal import Journal
from gateway.journal.pace import Pace
from gateway.logs.about import about
from gateway.progress import Mark

log = logging.getLogger(__name__)

RETRY_MIN_S: Final = 0.1
RETRY_MAX_S: Final = 10.0
ENOUGH_RECORDS: Final = 250  # in one commit: waiting for more would save no wear worth it, and senders wait, too
FILL_PAUSE_S: Final = 0.05  # between two pieces of zeros written ahead: 5 MB/s, so that commits come first


class State(Enum):
    """How the disk takes it."""

    OK = "ok"
    REFUSED = "refused"  # the last attempt failed; acknowledgements are withheld
    READ_ONLY = "read-only"  # segment after segment failed


class Committer:
    """Commits what is appended. `wake` after appending; `run` in a task."""

    def __init__(self, journal: Journal, on_durable: Callable[[int], None]) -> None:
        self._journal = journal
        self._on_durable = on_durable
        self.before_seal = journal.before_seal
        """Called just before a batch is closed: put what belongs to it (values, dedup rows, cursors)."""
        self.state = State.OK
        self.reason = ""
        self.commits = 0
        self.refusals = 0
        self._working = False  # on the disk, on the worker's thread
        self._resting = False  # before the next try of what was refused
        self._works = 0  # pieces of work on the disk that are over, well or not
        self._pace = Pace(journal.options.max_delay_ms / 1000)
        self._cursor_delay_s = journal.options.cursor_delay_s
        self._block_bytes = journal.options.block_bytes
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._gathering = False  # the timer is for events, not for rows alone
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._worker = ThreadPoolExecutor(1, "gateway.journal")

    def wake(self, urgent: bool = False) -> None:
        """Say that something was appended or put; `urgent`: commit now. Cheap; call it once per batch of appends."""
        journal = self._journal
        if urgent or journal.open_records >= ENOUGH_RECORDS or journal.open_bytes >= self._block_bytes:
            self._due.set()
            return
        if self._due.is_set():
            return
        gathering = journal.open_records > 0
        if self._timer is None or (gathering and not self._gathering):
            self._stop_timer()
            self._gathering = gathering
            loop = asyncio.get_running_loop()
            now = loop.time()
            at = self._pace.begin(now) if gathering else now + self._cursor_delay_s
            self._timer = loop.call_at(at, self._look)

    def mark(self) -> Mark:
        """Return how it gets on. A disk that refuses is asked again, which is getting on; one that hangs is not."""
        work = self._working or (self._journal.open_records > 0 and not self._resting)
        what = f"{self._journal.open_records} records wait" + (", the disk does not answer" if self._working else "")
        return Mark(work, self.commits + self._works, what)

    async def flush(self) -> None:
        """Return when everything appended so far is durable. Needs `run` to be running."""
        done = asyncio.get_running_loop().create_future()
        self._flushes.append((self._journal.batch, done))
        self._due.set()
        await done

    async def run(self) -> None:
        """Commit for ever. Cancel to stop: the commit in flight is finished first, what is open stays open."""
        self._due.set()  # the first block carries the new epoch
        try:
            while True:
                await self._wait()
                wanted = self._journal.batch  # a seal may give an older one, closed because it was full
                while (block := self._journal.seal()) is not None:
                    committed = await self._commit(block)
                    if self._due.is_set():  # somebody asked during the commit
                        self._due.clear()
                        wanted = self._journal.batch
                    if committed >= wanted:
                        break
                else:
                    self._announce(self._journal.batch)  # nothing is open: all that was appended is durable
        finally:
            self._stop_timer()
            for _, done in self._flushes:
                if not done.done():
                    done.set_exception(JournalError("the committer has stopped"))
            self._flushes.clear()

    async def close(self) -> None:
        """Make everything durable, mark the stop as clean, close the journal. After `run` was cancelled."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._journal.close)
        finally:
            self._worker.shutdown(wait=True)

    # -- inside -----------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        """Wait until a commit is due; use the time for housekeeping."""
        while not self._due.is_set():
            chore = self._journal.chore()
            if chore is None:
                break
            if await self._run_chore(chore) and chore.pressing:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FILL_PAUSE_S):  # not wait_for: before 3.12 it may swallow a cancellation
                    await self._due.wait()
        await self._due.wait()
        self._due.clear()
        self._stop_timer()

    def _look(self) -> None:
        """Commit, or look again later: the timer has run out."""
        self._timer = None
        loop = asyncio.get_running_loop()
        again = self._pace.look(loop.time(), self._journal.open_records) if self._gathering else None
        if again is None:
            self._due.set()
        else:
            self._timer = loop.call_at(again, self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _commit(self, block: Block) -> int:
        """Write one block, however often it takes, and say so. Returns the number of its batch."""
        delay = RETRY_MIN_S
        journal = self._journal
        while True:
            await self._press()
            try:
                await self._work(journal.write, block)
                break
            except DiskRefused as error:
                self._refused(error)
            self._resting = True
            await asyncio.sleep(delay)
            self._resting = False
            delay = min(delay * 2, RETRY_MAX_S)
            if journal.reopen(block):
                again = journal.seal()
                assert again is not None
                block = again
        if self.state is not State.OK:
            log.info("the journal's disk takes writes again")
            self.state, self.reason = State.OK, ""
        journal.settle(block)
        self.commits += 1
        self._pace.committed(asyncio.get_running_loop().time())
        self._announce(block.batch)
        await self._press()
        return block.batch

    async def _press(self) -> None:
        """Do the chores that the next segment depends on."""
        while (chore := self._journal.chore()) is not None:
            if not chore.pressing:
                self._journal.finish(chore)  # it is asked for again when there is time
                return
            if not await self._run_chore(chore):
                return

    async def _work(self, work: Callable[..., object], *arguments: object) -> object:
        """Run on the worker; a cancellation waits for it, because the block would be in limbo."""
        future = asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
        self._working = True
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
        finally:
            self._working = False
            self._works += 1

    async def _run_chore(self, chore: Chore) -> bool:
        """Do housekeeping; False when the disk refused it."""
        try:
            await self._work(chore)
            return True
        except DiskRefused as error:
            self._refused(error)
        except OSError as error:  # zeros ahead of use: the next attempt shows whether it matters
            log.warning("no segment could be prepared: %s", error.strerror or error, extra=about(NO_SEGMENT))
        finally:
            self._journal.finish(chore)
        return False

    def _refused(self, error: DiskRefused) -> None:
        self.refusals += 1
        state = State.READ_ONLY if self._journal.read_only else State.REFUSED
        if state is not self.state or str(error) != self.reason:
            why = about(DISK_REFUSES)
            log.error("the disk refuses the journal (%s): acknowledgements wait: %s", state.value, error, extra=why)
        self.state, self.reason = state, str(error)

    def _announce(self, batch: int) -> None:
        """Tell everybody who waits that batches up to this one are durable."""
        self._on_durable(batch)
        if self._flushes:
            waiting = self._flushes
            self._flushes = [each for each in waiting if each[0] > batch]
            for number, done in waiting:
                if number <= batch and not done.done():
                    done.set_result(None)
