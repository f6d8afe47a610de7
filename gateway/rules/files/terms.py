"""What rule files are tried under, and what comes of a trial: a process that waits to take over, or what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.errors import GatewayError
from gateway.rules.files.candidate import Candidate
from gateway.rules.files.plan import Plan
from gateway.rules.language.acting import AS_USUAL, Acting
from gateway.rules.options import RuleOptions
from gateway.rules.protocol import Ready, RuleFault
from gateway.rules.worker.process import WorkerProcess


class Terms(NamedTuple):
    """What the config says that rules go by."""

    options: RuleOptions
    recipients: tuple[str, ...] = ()
    acting: Acting = AS_USUAL


class RulesRefused(GatewayError):
    """Files that are not good, and why."""

    def __init__(self, faults: Sequence[RuleFault]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(map(str, faults)))


class Rehearsal(NamedTuple):
    """Other terms, and what is to run under them; without a process nothing has to be started for them."""

    terms: Terms
    plan: Plan | None = None
    candidate: Candidate | None = None
    ready: Ready | None = None

    async def drop(self) -> None:
        """End the process, unless it has taken over."""
        if self.candidate is not None and self.candidate.owned:
            await self.candidate.close()


@dataclass
class Succession:
    """Loaded and tested files, in a process that waits to be started."""

    candidate: Candidate
    ready: Ready
    files: dict[str, bytes]
    record: dict[str, Any]  # of the event `rules_changed`
    actor: str
    left_out: frozenset[str]  # files of the folder of which no version runs
    done: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more, or its process is gone."""
        return self.done.done() or not self.candidate.process.alive

    def taken(self, *, over: bool = False) -> WorkerProcess:
        """Give the process away, to whoever ends it from now on; `over`: it comes too late."""
        self.candidate.owned = self.candidate.owned and over
        if not self.done.done():
            self.done.set_result(not over)
        return self.candidate.process
