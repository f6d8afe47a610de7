"""The stack of a worker that is to be ended: it names the line, on a busy machine, too."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from gateway.rules.worker.process import STACK_WAIT_S, WorkerProcess

LATE_S = STACK_WAIT_S / 3


def takes_the_signal(pid: int) -> bool:
    """Return whether a process has somebody who answers SIGUSR1 (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)


def test_a_worker_that_gets_its_turn_late_still_says_where_it_is() -> None:
    """The stack is waited for while the machine has others to run; of one that never comes nothing is said."""

    async def scene() -> None:
        process = WorkerProcess(lambda _: None, lambda: None)
        try:
            async with asyncio.timeout(60):
                while not takes_the_signal(process.pid):
                    await asyncio.sleep(0.01)
            os.kill(process.pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(LATE_S, os.kill, process.pid, signal.SIGCONT)
            assert "most recent call first" in await process.stack()
            os.kill(process.pid, signal.SIGSTOP)
            assert await process.stack() == ""
        finally:
            await process.kill()
            process.close()

    asyncio.run(scene())
