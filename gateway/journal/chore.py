"""A chore: blocking work of the journal that is no commit, done by the worker between two of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.journal.eviction import GivenUp


class Chore(msgspec.Struct, gc=False):
    """Call it on the worker's thread, then `Journal.finish` it on the loop's."""

    work: Callable[[], GivenUp | bool]
    result: GivenUp | None = None
    pressing: bool = False  # the next segment depends on it

    def __call__(self) -> None:
        """Do it. Blocking. Raises DiskRefused or OSError."""
        done = self.work()
        self.result = done if isinstance(done, GivenUp) else None
