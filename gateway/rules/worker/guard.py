"""The engine's watch in the worker process: says what runs, counts what it costs, looks what it left behind.

Before a call the blame slot is written and the fence told whose file it is.  After it, its time is looked at; while
memory grows, too, what it took.  Behind each batch with calls in it, and behind each call while nobody knows why a
worker ended, the fingerprint of what all rules share is compared.  Who changed that, or has leaked most of the memory
there is, ends the worker in his own name: `CHANGED` and `LEAKED` are its exit statuses, the why lies with the stack.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from gateway.rules.engine.call import LimitReached
from gateway.rules.walls.fence import Fence
from gateway.rules.walls.integrity import Fingerprint
from gateway.rules.worker.blame import CHANGED, LEAKED, WHY

BUSY_S_MAX, BUSY_WINDOW_S = 30.0, 60.0  # of calls of one rule that are each slower than
SLOW_CALL_S = 0.1
GROWTH_BYTES = 8 * 1024 * 1024  # of data in one batch, from which on each call is weighed
LEAK_SHARE = 0.7  # of the memory there is: then whoever took most of it has to go
_NS = 1_000_000_000
_STATM_DATA = 5  # field of /proc/self/statm (proc(5)): data and stack, in pages
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class Slot(Protocol):
    """The blame slot."""

    def call(self, rule: int, sequence: int, ordinal: int) -> None:
        """Say that a rule's function is called now."""
        ...

    def load(self, file: str) -> None:
        """Say that a file's top level is run now."""
        ...

    def test(self, file: str, name: str) -> None:
        """Say that a file's own test is run now."""
        ...

    def done(self) -> None:
        """Say that nothing of a user's is running."""
        ...


class Guard:
    """Watches calls. Costs two looks at a clock a call, and a look at memory and fingerprint a batch."""

    def __init__(
        self,
        slot: Slot,
        fence: Fence,
        descriptors: Sequence[int],
        tell: Callable[[str], None],
        step: Callable[[int, int, int, str], None],
        clock: Callable[[], int],
        *,
        memory_bytes_max: int,
        statm: int = -1,
    ) -> None:
        """Set up.

        descriptors  that have to stay open
        tell     takes the reason before the process is ended
        step     announces a file to the gateway, and calls while nobody knows why the last worker ended
        clock    in ns, monotonic
        statm    descriptor of /proc/self/statm, or -1
        """
        self._slot, self._fence, self._descriptors = slot, fence, descriptors
        self._fingerprint: Fingerprint | None = None
        self._tell, self._step, self._clock = tell, step, clock
        self._memory_max, self._statm = memory_bytes_max, statm
        self._files: Sequence[str] = ()
        self.careful_upto = 0  # sequence up to which one looks behind each call
        self._careful = False
        self._upto = 0  # sequence of the last record of the batch
        self.rule = -1  # whose call runs, or ran last
        self._began_ns = 0
        self._calls = 0  # of this batch
        self._at_load = ""
        self._slow: dict[int, deque[tuple[int, int]]] = {}  # rule -> (when, ns) of its slow calls
        self._stopped: dict[int, str] = {}  # rule -> why its next call ends the worker
        self._data = self._start = self._data_bytes()
        self._weighs = False
        self._before = 0
        self._taken: dict[int, int] = {}  # rule -> bytes its calls took
        self._ran: set[int] = set()

    def ready(self, files: Sequence[str]) -> None:
        """Take note of the files of the rules by their index, where files are told apart; the engine may begin."""
        self._files = files
        self._data = self._start = self._data_bytes()

    # ---- what the loader and the engine say ----------------------------------------------------------

    def load(self, file: str) -> None:
        """Say that a file's top level is run now; the one before it has ended."""
        self._look_behind_load()
        if self._fingerprint is None:
            self._fingerprint = Fingerprint(self._descriptors)
        self._at_load = self._fence.file = file
        self._slot.load(file)
        self._step(0, 0, 0, file)

    def test(self, file: str, name: str) -> None:
        """Say that a file's own test is run now."""
        self._look_behind_load()
        self._fence.file = file
        self._slot.test(file, name)

    def loaded(self) -> None:
        """Say that no file or test is run any more."""
        self._look_behind_load()
        self._slot.done()

    def _look_behind_load(self) -> None:
        if self._at_load:
            self._compare()
        self._at_load = ""

    def call(self, rule: int, sequence: int, ordinal: int) -> None:
        """Say that a function of a rule is called now. LimitReached if it may not be."""
        self._slot.call(rule, sequence, ordinal)
        self.rule = rule
        self._calls += 1
        self._fence.active = True  # whatever the rule before did to it
        if self._files:
            self._fence.file = self._files[rule] if rule < len(self._files) else ""
        if self._stopped and rule in self._stopped:
            self._end(LEAKED, self._stopped[rule])
        if self._slow and rule in self._slow:
            self._refuse_busy(rule)
        if self._weighs:
            self._before = self._data_bytes()
        if self._careful:
            self._step(rule, sequence, ordinal, "")
        self._began_ns = self._clock()

    def done(self) -> None:
        """Say that it returned or raised."""
        took_ns = self._clock() - self._began_ns
        if took_ns > SLOW_CALL_S * _NS:
            self._slow.setdefault(self.rule, deque(maxlen=round(BUSY_S_MAX / SLOW_CALL_S) + 1)).append(
                (self._began_ns, took_ns)
            )
        if self._weighs:
            self._weigh()
        else:
            self._ran.add(self.rule)
        if self._careful:
            self._compare()
        self._slot.done()

    def begin(self, upto: int) -> None:
        """Begin a batch that ends with this sequence."""
        self._careful = self._upto < self.careful_upto
        self._upto = upto

    def batch_done(self) -> None:
        """Look behind a batch, before its outcome is sent."""
        if not self._calls:
            return
        self._calls = 0
        if not self._careful:
            changed = self._changed()
            if changed:  # nobody knows by whom: the next worker looks behind each call
                self._end(CHANGED, f"{changed} was changed")
        if not self._weighs:
            now = self._data_bytes()
            if now - self._data > GROWTH_BYTES or now - self._start > self._memory_max / 4:
                self._weighs = True
                for rule in self._ran:
                    self._taken[rule] = (now - self._data) // len(self._ran)
            self._data = now
            self._ran.clear()

    # ---- limits --------------------------------------------------------------------------------------

    def _refuse_busy(self, rule: int) -> None:
        calls, since_ns = self._slow[rule], self._clock() - round(BUSY_WINDOW_S * _NS)
        while calls and calls[0][0] < since_ns:
            calls.popleft()
        busy_s = sum(took_ns for _, took_ns in calls) / _NS
        if busy_s > BUSY_S_MAX:
            self._began_ns = self._clock()
            raise LimitReached(f"kept all rules waiting for {busy_s:.0f} s in {BUSY_WINDOW_S:g} s")
        if not calls:
            del self._slow[rule]

    def _weigh(self) -> None:
        """Count what the call took; mark who took most when there is little left."""
        now = self._data_bytes()
        taken = self._taken
        taken[self.rule] = taken.get(self.rule, 0) + now - self._before
        if now > LEAK_SHARE * self._memory_max and not self._stopped:
            rule = max(taken, key=taken.__getitem__)
            why = (
                f"has taken {taken[rule] / 1e6:.0f} MB of the {self._memory_max / 1e6:.0f} MB there are, and kept them"
            )
            if rule == self.rule:
                self._end(LEAKED, why)
            self._stopped[rule] = why

    def _data_bytes(self) -> int:
        try:
            return int(os.pread(self._statm, 128, 0).split()[_STATM_DATA]) * _PAGE_BYTES if self._statm >= 0 else 0
        except OSError:
            return 0  # a rule closed it: the fingerprint sees that

    def _compare(self) -> None:
        changed = self._changed()
        if changed:
            self._end(CHANGED, f"changed {changed}, which all rules share")

    def _changed(self) -> str:
        return self._fingerprint.changed() if self._fingerprint is not None else ""

    def _end(self, status: int, why: str) -> NoReturn:
        """End the process in the name of what the slot says."""
        self._tell(f"{WHY}{why}\n")
        os._exit(status)
