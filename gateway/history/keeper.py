"""Keeps the history index: follows what is durable, on a thread of its own, behind everything else.

Nothing waits for it. It reads records while they are in memory, a slice at a time, and lets go of the interpreter
between two slices; what it did not get round to, queries read from the journal. A lost index is made again from the
journal in the same way, in the background.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.codes.disk import HISTORY_OFF
from gateway.errors import DiskRefused
from gateway.history.file import HistoryFile
from gateway.history.index import STRETCH_RECORDS, Gathering, Index
from gateway.journal.reader import Store
from gateway.journal.sweep import Sweep
from gateway.logs.about import about

log = logging.getLogger(__name__)

TICK_S: Final = 0.5  # how far the index is behind; 50,000 events a second leave memory in less than a second
SLICE_RECORDS: Final = 512  # looked at before the interpreter is let go of: a quarter of a millisecond
REST_S: Final = 0.001  # between two slices
STOP_S_MAX: Final = 5.0
RENEW_STRETCHES: Final = 64  # given up by the journal before pairs that are in none any more are sorted out


class HistoryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The index behind `events`, `explain` and `replay`: which stretch of the journal has which devices and types."""

    enabled: bool = True  # without it these read the journal itself, which takes longer; nothing else changes
    bytes_max: int = 4 * 1024 * 1024  # in memory, and twice that on the disk; at the limit it gets coarser

    def __post_init__(self) -> None:
        """Refuse what cannot work (ValueError)."""
        if self.bytes_max < BYTES_MIN:
            raise ValueError(f"history.bytes_max must be at least {BYTES_MIN}")


BYTES_MIN: Final = 64 * 1024


class Keeper:
    """The index of a running gateway."""

    def __init__(
        self, store: Store, log_id: str, path: Path, options: HistoryOptions, durable: Callable[[], int]
    ) -> None:
        self.index: Index | None = None  # until it is loaded, or while it is switched off
        self.seconds = 0.0  # processor time spent
        self._store = store
        self._options = options
        self._durable = durable
        self._file = HistoryFile(path, log_id)
        self._writable = True
        self._stop = threading.Event()
        self._reached = 0
        self._forgotten = 0  # stretches, since pairs were last sorted out
        self._gathering: Gathering | None = None

    @property
    def reached(self) -> int:
        """Return the sequence up to which it has looked."""
        return self._reached

    async def run(self) -> None:
        """Keep the index until cancelled."""
        thread = threading.Thread(target=self._run, name="gateway.history", daemon=True)
        if self._options.enabled:
            thread.start()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._stop.set()
            if thread.ident is not None:
                await asyncio.to_thread(thread.join, STOP_S_MAX)

    def _run(self) -> None:
        try:
            self.load()
            while not self._stop.is_set():
                with suppress(DiskRefused):  # gone for now: it goes on where it was
                    self.follow()
                self._stop.wait(TICK_S)
        except Exception:  # whatever is wrong with an index that may be lost must not cost an event
            log.exception(
                "the history index is given up until the next start: queries read the journal instead",
                extra=about(HISTORY_OFF),
            )
            self.index = None

    def load(self) -> None:
        """Take up the file, if there is one that fits."""
        self.index = self._file.load(self._options.bytes_max, self._durable())
        self._gathering = Gathering(self.index)
        self._reached = self.index.through

    def follow(self) -> None:
        """Take in what has become durable since the last time."""
        assert self.index is not None, "load before follow"
        assert self._gathering is not None
        sweep = Sweep(self._store)
        try:
            for run in sweep.runs(self._reached, self._durable()):
                for begin in range(run.begin, run.end, SLICE_RECORDS):
                    end = min(begin + SLICE_RECORDS, run.end)
                    started = time.thread_time()
                    self._gathering.take(run.raws[begin:end], run.lanes[begin:end])
                    self.seconds += time.thread_time() - started
                    if self._stop.wait(REST_S):
                        return
                self._reached = run.sequence(run.end - 1)
                if self._gathering.records >= STRETCH_RECORDS:
                    self._close(self.index, self._gathering)
        finally:
            sweep.close()

    def _close(self, index: Index, gathering: Gathering) -> None:
        """End a stretch at a block's end and begin the next."""
        index.add(gathering.stretch(self._reached))
        segments = self._store.view.segments
        self._forgotten += index.forget(min((entry.first for entry in segments), default=0))
        renew = index.crowded and self._forgotten >= RENEW_STRETCHES
        if renew:
            self._forgotten = 0
            index = self.index = index.renewed()
        self._gathering = Gathering(index)
        if self._writable and index.stretches:
            try:
                (self._file.rewrite if renew else self._file.append)(index)
            except OSError as error:
                self._writable = False
                log.warning("the history index is kept in memory only: %s", error, extra=about(HISTORY_OFF))
