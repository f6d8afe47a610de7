"""Any order of appends, puts, commits, cursor moves, refusals, stops, kills and cuts keeps the promise. Budget: 20 s.

hypothesis chooses the order and shrinks what fails; the model is the one of `simulators/journal.py`.
"""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.journal.journal import Journal
from simulators.disk import PowerCut
from simulators.journal import Run

ACTIONS = ("append", "burst", "put", "cursor", "commit", "refuse", "accept", "cut soon", "stop", "kill", "cut", "time")


class Acting(Run):
    """A run whose next action comes from outside."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.laziness = 0.0
        self.now: Journal | None = None

    def act(self, action: str, seed: int) -> None:
        """Do one thing, by chance of its own seed, starting the journal if need be."""
        self.random = self.disk.random = random.Random(seed)
        try:
            if self.now is None:
                self.now = self._start()
            if self.now is not None:
                self._do(self.now, action)
        except PowerCut:
            self.findings.cuts += 1
            self.disk.crash()
            self.disk.refuse = lambda _call: None
            self.now = None

    def _do(self, journal: Journal, action: str) -> None:
        if action == "append":
            self._append(journal)
        elif action == "burst":
            for _ in range(25):
                self._append(journal)
            self._commit(journal)
        elif action == "put":
            journal.put("values", f"device{self.random.randrange(3)}", {"seen": journal.last_sequence})
        elif action == "cursor":
            self._move_cursor(journal)
        elif action == "commit":
            self._commit(journal)
        elif action == "refuse":
            self.disk.refuse = self._fault(0.3)
        elif action == "time":
            self._pass_time()
        elif action == "accept":
            self.disk.refuse = lambda _call: None
        elif action == "cut soon":
            self.disk.cut_in = self.random.randrange(1, 30)
        elif action == "cut":
            raise PowerCut
        else:
            self.disk.refuse = lambda _call: None
            if action == "stop":
                self._close(journal)
            self.disk.kill()
            self.now = None


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 50),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1 << 16)), min_size=10, max_size=150),
)
def test_any_order_of_actions_keeps_the_promise(seed: int, actions: list[tuple[str, int]]) -> None:
    """Nothing acknowledged is lost, nothing comes back, no start is refused, evictions are counted."""
    run = Acting(seed)
    for action, chance in [*actions, ("kill", 0), ("append", 1)]:
        run.act(action, chance)
        assert run.findings.sound, run.findings
