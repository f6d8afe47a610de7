"""Running tasks by name, which can be added, replaced and ended one by one while the others go on.

A stage runs until it is ended: one that returns, or raises, by itself is a bug, and ends the program (`watch`). So a
reload can end a source and add another in its place, and a crash of any stage is never a silent one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator
from functools import partial
from typing import Any

log = logging.getLogger(__name__)

Work = Coroutine[Any, Any, None]


class Stages:
    """The running tasks. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}
        self._outer: set[str] = set()
        self._broken = asyncio.Event()
        self._error: BaseException | None = None

    def add(self, name: str, work: Work, *, outer: bool = False) -> None:
        """Run something from now on; `outer`: it takes in from outside, and is ended before what is inside.

        Raises ValueError when there is a stage of this name.
        """
        if name in self._running:
            work.close()
            raise ValueError(f"there is a stage {name!r} already")
        task = asyncio.create_task(work, name=f"gateway.{name}")
        self._running[name] = task
        if outer:
            self._outer.add(name)
        task.add_done_callback(partial(self._done, name))

    async def end(self, *names: str, first: Awaitable[object] | None = None) -> None:
        """End some of the stages at once and wait for them; one that does not run is not waited for.

        `first` is awaited before they are ended; from now on they may end by themselves.
        """
        tasks = [self._running.pop(name) for name in names if name in self._running]
        self._outer.difference_update(names)
        try:
            if first is not None:
                await first
        finally:  # interrupted, too: nobody else knows of them any more
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception):
                    log.error("while stopping: %s", outcome, exc_info=outcome)

    async def replace(self, name: str, work: Work) -> None:
        """End a stage, and run something else under its name."""
        outer = name in self._outer
        await self.end(name)
        self.add(name, work, outer=outer)

    def names(self, *, outer: bool | None = None) -> list[str]:
        """Return the stages that run, oldest first: all, or the outer ones, or those inside."""
        return [name for name in self._running if outer is None or (name in self._outer) == outer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: str) -> bool:
        return name in self._running

    async def watch(self, stop: asyncio.Event) -> None:
        """Return when told to stop. Raises what ended a stage; RuntimeError when one just returned."""
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self._broken)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        if self._error is not None and not (stop.is_set() and isinstance(self._error, _EndedByItself)):
            raise self._error

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        """Take note of a stage that ended and was not told to."""
        error = None if task.cancelled() else task.exception()
        if self._running.get(name) is task:
            del self._running[name]
            self._error = self._error or error or _EndedByItself(f"{task.get_name()} ended by itself")
            self._broken.set()


class _EndedByItself(RuntimeError):
    """A stage returned."""
