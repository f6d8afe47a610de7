"""A worker process that loads rule files for the gateway, tests them, and waits to be started with the tables.

The interpreter starts when the candidate is made, so it can warm up while somebody still saves.  What hangs, exits or
crashes in it costs this process and is told with file, line and stack; whatever runs live goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from gateway.rules.options import RuleOptions
from gateway.rules.protocol import FromWorker, Load, Ready, RuleFault, Tried, Try
from gateway.rules.worker.blame import Activity, Blame
from gateway.rules.worker.process import WorkerProcess
from gateway.rules.worker.verdicts import ending, line_in

WATCH_S = 0.1  # how often a file that is running is looked at
ANSWER_S_MAX = 60.0  # for all files together, nobody's code being to blame


NOBODY = Blame(0, 0, 0, 0, Activity.ENGINE, "")


class CandidateFailed(Exception):
    """The process ended or had to be ended."""

    def __init__(self, blame: Blame, reason: str, stack: str) -> None:
        self.blame = blame
        self.reason = reason
        self.stack = stack
        super().__init__(reason)

    @property
    def fault(self) -> RuleFault | None:
        """Whose fault it was; None when nothing of a user's was running."""
        if self.blame.activity not in (Activity.LOAD, Activity.TEST):
            return None
        doing = f"its test {self.blame.test}" if self.blame.test else "loading it"
        line = line_in(self.stack, self.blame.file) or 1
        return RuleFault("", self.blame.file, line, f"{doing} {self.reason}", stack=self.stack)


class Candidate:
    """One process; `close` it, unless `process` was given to whoever feeds it. CandidateFailed when none can start."""

    def __init__(self, options: RuleOptions) -> None:
        self._options = options
        self._stir = asyncio.Event()
        self._answer: FromWorker | None = None
        self._wanted: type[Ready] | type[Tried] = Ready
        self._connected = False
        self.owned = True
        try:
            self.process = WorkerProcess(self._take, self._stir.set)
        except OSError as error:
            raise CandidateFailed(NOBODY, f"could not be started: {error}", "") from None

    def _take(self, message: FromWorker) -> None:
        if isinstance(message, self._wanted):
            self._answer = message
        else:
            self.process.give_up(f"{type(message).__name__}, which nobody asked for")
        self._stir.set()

    async def load(self, message: Load) -> Ready:
        """Load files. CandidateFailed when one of them ends the process or does not end."""
        answer = await self._ask(message, Ready)
        assert isinstance(answer, Ready)
        return answer

    async def run_tests(self, files: list[str]) -> Tried:
        """Run the tests of loaded files. CandidateFailed as for `load`."""
        answer = await self._ask(Try(files), Tried)
        assert isinstance(answer, Tried)
        return answer

    async def _ask(self, message: Load | Try, wanted: type[Ready] | type[Tried]) -> FromWorker:
        process, self._wanted = self.process, wanted
        if not self._connected:
            self._connected = True
            await process.connect()
        self._answer = None
        process.send(message)
        asked_at = time.monotonic()
        while self._answer is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._stir.wait()
            self._stir.clear()
            if self._answer is not None:
                break
            if process.ended:
                reason = ending(await process.kill(), process.written_stack())
                raise CandidateFailed(process.blame(), process.broken or reason, process.written_stack())
            overdue = process.overdue(self._options.call_s_max, self._options.load_s_max)
            if overdue is not None:
                reason = f"did not return within {self._options.load_s_max:g} s"
                raise CandidateFailed(overdue, reason, await process.stack())
            if time.monotonic() - asked_at > ANSWER_S_MAX:
                raise CandidateFailed(process.blame(), f"no answer within {ANSWER_S_MAX:g} s", await process.stack())
        return self._answer

    async def close(self) -> None:
        """End the process."""
        await asyncio.shield(end(self.process))


async def end(process: WorkerProcess) -> None:
    """End a worker process and give back what it used."""
    await process.kill()
    process.close()
