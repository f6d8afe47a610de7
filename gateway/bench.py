"""Fault switches of a unit on a bench: a stage hangs on purpose, to see that the watchdog ends it and nothing is lost.

::

    [gateway]
    faults = ["commit"]            # loop, commit, acknowledge, forward
    faults_after_s = 10

`check` and `status` warn while there are any. Nothing here runs without them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.daemon import Daemon

log = logging.getLogger(__name__)


async def hang(daemon: Daemon, stage: str, after_s: float) -> None:
    """Let a stage hang for good after a while. Never returns."""
    never = asyncio.Event()
    await asyncio.sleep(after_s)
    log.warning("[gateway] faults: %s hangs from now on", stage)
    if stage == "loop":
        threading.Event().wait()
    elif stage == "commit":
        _replace(daemon.journal, "write", _never_returns)
    elif stage == "acknowledge":
        _replace(daemon.pipeline, "durable", _does_nothing)
    elif stage == "forward":
        for target in daemon.targets.values():
            _replace(target, "send", _never_comes_back)
    await never.wait()


def _replace(owner: Any, name: str, by: Any) -> None:
    setattr(owner, name, by)


def _never_returns(*_: object) -> None:
    threading.Event().wait()


def _does_nothing(*_: object) -> None:
    """Tell nobody."""


async def _never_comes_back(*_: object) -> None:
    await asyncio.Event().wait()
