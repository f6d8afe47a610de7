"""The journal: one append-only log for everything that must survive, and the only way to acknowledge.

    append, put --open batch--> seal --Block--> write (worker thread: compress, write, fdatasync) --> settle
                                                                                                       |
    readers <--view, tail-- durable_sequence moves, batch number is durable <--------------------------+

All methods are called on one thread, the event loop's, except `write` and a chore, which block and belong
to one worker, and `Reader.read`, which may live anywhere. At most one block is between `seal` and `settle`.
What is appended or put is visible to `get` at once and to readers when it is durable.

Formats: block.py (a block), record.py (its payload), segment.py (files), checkpoint.py (state). Start: recovery.py.
What is given up, for room or by the lanes' limits: retention.py, limits.py, thinning.py, eviction.py.

Identity: event id ``<log id>-<epoch hex>-<counter hex>``; the log id is made with the journal, the epoch is one more
at each start and is in the first block of that start. Sequences are dense; a start after an unclean stop leaves out
2^20 of them, so that no number that anybody may have seen is given to another event.

The journal's own rows in the tables "starts", "damage" and "gaps": ledger.py.

Bounds: an event EVENT_BYTES_MAX, a batch a quarter of a segment, all tables half a segment, the tail in memory
`tail_bytes_max`, all files `bytes_max`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.clock import Clock
from gateway.errors import DiskRefused, GatewayError, JournalError
from gateway.event import EVENT_BYTES_MAX, LANES, Event, Lane, encode, stamp
from gateway.journal import block as blocks
from gateway.journal import ledger, limits
from gateway.journal.batch import Batch, Block, Placed
from gateway.journal.checkpoint import SEGMENTS
from gateway.journal.chore import Chore, Chores
from gateway.journal.cipher import keys_of
from gateway.journal.disk import Disk, OsDisk
from gateway.journal.folder import Folder
from gateway.journal.gaps import catch_up
from gateway.journal.home import Home
from gateway.journal.lock import LOG_ID_BYTES, Hint, Lock
from gateway.journal.options import SEQUENCE_SKIP, JournalOptions
from gateway.journal.reader import Reader, Store, View
from gateway.journal.recovery import Recovered, Recoverer, Recovery
from gateway.journal.segment import Entry
from gateway.journal.tables import Tables
from gateway.journal.tail import Tail
from gateway.journal.timeline import TABLE as CLOCK
from gateway.journal.timeline import Timeline
from gateway.journal.writer import Position, Writer

BATCH_SHARE: Final = 4  # a batch is at most this part of a segment, so that block and checkpoint fit in one


class Journal:
    """See the head of this module."""

    def __init__(
        self, disk: Disk, folder: Path, options: JournalOptions, clock: Clock, lock: Lock, home: Home, found: Recovered
    ) -> None:
        self.options = options
        self._clock = clock
        self._lock = lock
        self.recovery: Recovery = found.report
        self.log_id = found.log_id.hex()
        self.epoch = epoch = found.epoch + 1
        self._prefix = f"{self.log_id}-{epoch:x}-"
        self._counter, self.stamp = 0, stamp  # `stamp_unsynced` while the clock is not believed
        self._event_bytes_max = min(EVENT_BYTES_MAX, options.segment_size // BATCH_SHARE)
        skipped = found.report.skipped_sequences = SEQUENCE_SKIP if found.report.unclean else 0
        self.last_sequence = self.durable_sequence = found.next_sequence - 1 + skipped
        self.batch = 1
        self.before_seal: list[Callable[[], None]] = []
        self._writer = Writer(
            disk, folder, options, home, log_id=found.log_id, epoch=epoch, image=found.image, link=found.link,
            position=Position(found.entry, found.limit, found.entry_link) if found.entry else None, free=found.free,
            spares=found.spares, names_taken=found.names_taken, next_life=found.next_life, keys=found.keys,
        )  # fmt: skip
        self.limit = self._writer.limit  # of lanes, while it runs
        self._segments: dict[int, Entry] = dict(found.image.segments)
        self._active = found.entry
        self.batch_bytes_max = options.segment_size // BATCH_SHARE
        self.flight: Block | None = None  # sealed and not settled
        self._open, self._sealing = Batch(blocks.START), False
        self._closed: list[Block] = []  # batches closed because they were full, oldest first
        self._chores = Chores(self._writer, options, clock)
        self._tables = Tables(found.image.values())
        self._over = limits.over(self._tables.of(limits.TABLE))
        tail = Tail(options.tail_bytes_max, self.durable_sequence)
        self.store = Store(disk, folder, found.log_id, options.align, self._view(), tail, home.answers, found.keys)
        self._writer.readback.report = self.store.damaged
        ledger.note_start(self, clock, epoch, first=self.last_sequence + 1, found=found.report, keep=options.starts_max)
        self.timeline = self.store.timeline = Timeline(self.table(CLOCK), options.stretches_max)
        ledger.note_clock(self, clock, epoch, first=self.last_sequence + 1, entries=self.store.view.segments)
        if found.changed:
            self._open.changes[SEGMENTS] = {str(life): entry for life, entry in found.changed.items()}
        for damage in found.damages:
            ledger.note_damage(self, damage, clock.wall_ns())
        self._leave_hint()

    @classmethod
    def open(
        cls,
        folder: Path,
        options: JournalOptions,
        clock: Clock,
        disk: Disk | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Journal:
        """Recover a journal, or make one. Writes nothing that matters: the first commit does.

        Raises JournalError when another process holds it or a newer version wrote it, WrongKey, DiskRefused when the
        folder cannot be used at all. Damage never keeps it from opening: see `recovery`.
        """
        disk, keys = disk or OsDisk(), keys_of(options, random)
        lock = Lock.acquire(disk, folder)
        try:
            home = Home(disk, folder, lock, options.align)
            files = Folder(disk, folder, align=options.align, write=True, answers=home.answers, keys=keys)
            found = Recoverer(files, options.segment_size, lock.hint(files.log_id)).run()
            found.log_id = found.log_id or random(LOG_ID_BYTES)
            return cls(disk, folder, options, clock, lock, home, found)
        except OSError as error:
            lock.release()
            raise DiskRefused(f"{folder}: {error.strerror or error}") from error
        except GatewayError:
            lock.release()
            raise

    # -- appending --------------------------------------------------------------------------------------

    def append(self, event: Event) -> bytes:
        """Give an event its id and sequence, add it to the open batch; returns its bytes.

        Raises JournalError when it is larger than a record may be; it is then not in the journal.
        """
        self._counter += 1
        sequence = self.last_sequence + 1
        self.stamp(event, f"{self._prefix}{self._counter:x}", sequence)
        raw = encode(event)
        size = len(raw)
        if size > self._event_bytes_max:
            raise JournalError(f"an event of {size} bytes; {self._event_bytes_max} is the limit")
        if self._open.size + size > self.batch_bytes_max:
            self._close_batch()
            assert sequence == self.last_sequence + 1, "before_seal puts rows, it does not append"
        batch = self._open
        batch.raws.append(raw)
        batch.lanes.append(LANES[event.lane])
        batch.size += size
        self.last_sequence = sequence
        return raw

    def append_all(self, events: Sequence[Event]) -> list[bytes]:
        """Append events that belong together to one batch: after a crash there are all of them or none.

        What is put right behind them (a cursor, the state a rule made with them) is in that batch, too. Raises
        JournalError when one is larger than a record may be, or all are more than a batch holds: none is kept.
        """
        sequence, counter, prefix, stamp = self.last_sequence, self._counter, self._prefix, self.stamp
        raws: list[bytes] = []
        size = 0
        for event in events:
            sequence += 1
            counter += 1
            stamp(event, f"{prefix}{counter:x}", sequence)
            raw = encode(event)
            if len(raw) > self._event_bytes_max:
                raise JournalError(f"an event of {len(raw)} bytes; {self._event_bytes_max} is the limit")
            size += len(raw)
            raws.append(raw)
        if self._open.size + size > self.batch_bytes_max:
            if size > self.batch_bytes_max:
                raise JournalError(f"{len(raws)} events of {size} bytes in all; a batch holds {self.batch_bytes_max}")
            self._close_batch()  # calls before_seal: what belongs to the events before goes with them
            assert sequence == self.last_sequence + len(raws), "before_seal puts rows, it does not append"
        batch = self._open
        batch.raws += raws
        for event in events:
            batch.lanes.append(LANES[event.lane])
        batch.size += size
        self.last_sequence, self._counter = sequence, counter
        return raws

    def make_room(self, size: int) -> None:
        """Close the open batch if it can't take about `size` more bytes, so that what comes now shares one."""
        if self._open.size and self._open.size + size > self.batch_bytes_max * 3 // 4:  # it may be more than thought
            self._close_batch()

    def put(self, table: str, key: str, value: Any | None) -> None:
        """Set a row of a durable table (None deletes it) with the open batch; the last put of a key in it wins.

        The value is stored as it is when the batch is sealed: do not change it afterwards without another put.
        Raises JournalError for a new key when all tables together are larger than `options.rows_bytes_max`.
        """
        full = self._writer.image.tables_bytes > self.options.rows_bytes_max(table)
        if full and value is not None and self.get(table, key) is None:
            raise JournalError(f"the journal's tables are full; last: {table!r}")
        self._tables.set(table, key, value)
        self._open.put(table, key, value)

    def get(self, table: str, key: str) -> Any | None:
        """Return a row of a durable table, or None."""
        return self._tables.get(table, key)

    def table(self, table: str) -> Mapping[str, Any]:
        """Return a durable table as a read-only view that follows later puts."""
        return self._tables.view(table)

    @property
    def open_records(self) -> int:
        """How many events are in batches that are not sealed yet."""
        return len(self._open.raws) + sum(len(block.raws) for block in self._closed)

    @property
    def open_changes(self) -> bool:
        """Whether rows were put since the last seal."""
        return bool(self._open.changes)

    @property
    def open_bytes(self) -> int:
        """How large the open batch is: bytes of its events."""
        return self._open.size

    # -- committing -------------------------------------------------------------------------------------

    def seal(self) -> Block | None:
        """Close the open batch for writing; None when nothing was appended or put since the last one."""
        assert self.flight is None, "one commit in flight"
        ledger.take_damages(self, self.store, self._clock.wall_ns())
        if not self._closed:
            self._close_batch()
        self.flight = self._closed.pop(0) if self._closed else None
        return self.flight

    def write(self, block: Block) -> None:
        """Make a block durable. BLOCKING, on the worker's thread. Raises DiskRefused: call it again later."""
        if block.placed is None:  # else it is: somebody was cancelled between write and settle
            self._writer.write(block)

    def settle(self, block: Block) -> None:
        """Take note that a block is durable: readers see it, its batch may be acknowledged."""
        placed = block.placed
        assert placed is not None, "settle before write"
        assert block is self.flight, "settle what was sealed"
        self.flight = None
        self._placed(placed)
        self._chores.futile = False
        block.table_changes, block.changes = {}, b""
        if block.raws:
            self.durable_sequence = block.last
            self.store.tail.add(block)
        self.store.view = self._view()

    def reopen(self, block: Block) -> bool:
        """Put a block that the disk refused back in front of the open batch, so that what came since joins it.

        Ids and sequences stay. False, and nothing done, when both together are too large for one block.
        """
        assert block is self.flight, "reopen what was sealed"
        self._chores.futile = False
        if self._closed or block.size + self._open.size > self.batch_bytes_max:
            block.make_way(self._open.lanes, *(each.lanes for each in self._closed))
            return False
        self.flight = None
        self._open.prepend(block)
        return True

    def commit(self) -> None:
        """Make everything so far durable, here and now, pressing chores included: for tools and tests.

        Raises DiskRefused; what was refused is then still in flight, and the next commit tries it again.
        """
        self._chores.futile = False
        block = self.flight or self.seal()
        while block is not None:
            self._press()
            self.write(block)
            self.settle(block)
            block = self.seal() if self._closed or self._open.raws else None
        self._press()

    def _press(self) -> None:
        """Do the chores that the next segment depends on."""
        while (chore := self.chore()) is not None:
            try:
                if not chore.pressing:
                    return
                chore()
            finally:
                self.finish(chore)

    def close(self) -> None:
        """Commit what is open, mark the stop as clean, release the lock.

        Raises DiskRefused when the disk took it not; the journal is closed all the same.
        """
        try:
            self.commit()
            self._open.flags |= blocks.CLEAN
            self._close_batch(force=True)
            self.flight = self._closed.pop(0)
            self.write(self.flight)
            self.settle(self.flight)
            self._leave_hint(durable=True)
        finally:
            self._writer.close()
            self._lock.release()

    @property
    def read_only(self) -> bool:
        """Whether the disk refused two segments in a row and has taken nothing since."""
        return self._writer.read_only

    def reader(self, lane: Lane, *, given_up: bool = False) -> Reader:
        """Return a reader of one lane; it may be used on another thread.

        `given_up`: it also reads what routes shall not have any more (limits.py) and what is still there.
        """
        return Reader(self.store, lane, given_up=given_up)

    def count(self, lane: Lane, after: int) -> int:
        """Return how many durable records of a lane lie behind a sequence: exact, from the index."""
        reader = self.reader(lane)
        try:
            return reader.count(after)
        finally:
            reader.close()

    def usage(self) -> dict[str, int]:
        """Return what `status` shows: bytes and segments in use, free, allowed."""
        return {
            "bytes_max": self.options.bytes_max,
            "segment_bytes": self.options.segment_size,
            "segments_max": self.options.segments_max,
            "segments_live": len(self._segments) + (self._active is not None),
            "segments_free": self._writer.pool.available,
            "written_bytes": self._writer.written + self._writer.pool.written,
            **self._writer.readback.counts(),
        }

    def chore(self) -> Chore | None:
        """Return the next blocking work between commits, or None. One at a time, and not while a block is written."""
        return self._chores.next()

    def finish(self, chore: Chore) -> None:
        """Take note of a chore that was run (or failed: `result` is None)."""
        done = self._chores.finish(chore)
        if done.placed is not None:
            for victim in done.victims:
                self._segments.pop(victim.life, None)
                self.store.tail.forget(victim.last)
            self._segments.update({survivors.life: survivors for survivors in done.survivors})
            if done.limits:
                for lane, row in done.limits.items():
                    self._tables.set(limits.TABLE, lane, row)
                self._over = limits.over(self._tables.of(limits.TABLE))
            self._placed(done.placed)
            self.store.view = self._view()
        waiting = [*([self.flight] if self.flight else []), *self._closed]
        catch_up(done.gaps, self._tables.of("gaps"), self._open, waiting)
        for damage in done.damages:
            ledger.note_damage(self, damage, self._clock.wall_ns())

    def _placed(self, placed: Placed) -> None:
        """Take note of where a block went."""
        for entry in placed.sealed:
            self._segments[entry.life] = entry
        self._chores.sealed += len(placed.sealed)
        began = self._active is None or self._active.life != placed.active.life
        self._active = placed.active
        if began:
            self._leave_hint()

    def _leave_hint(self, *, durable: bool = False) -> None:
        life, records = (self._active.life, self._active.records_next) if self._active else (0, 0)
        hint = Hint(bytes.fromhex(self.log_id), self.epoch, life, records, self.durable_sequence)
        self._lock.leave_hint(hint, durable=durable)

    def _view(self) -> View:
        live = sorted(self._segments.values(), key=lambda entry: (entry.first, entry.life))
        return View((*live, *([self._active] if self._active else [])), self.durable_sequence, self._over)

    def _close_batch(self, *, force: bool = False) -> None:
        """Turn the open batch into a block, unless there is nothing in it."""
        if self._sealing:
            return  # a callback appended: it stays with the batch that is being closed
        self._sealing = True
        try:
            for prepare in self.before_seal:
                prepare()
        finally:
            self._sealing = False
        if self._open or force:
            self._closed.append(self._open.block(self.batch, self.last_sequence, self._clock))
            self._open = Batch()
            self.batch += 1
