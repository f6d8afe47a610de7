"""One worker process as the gateway holds it: start, frames, what it is doing, its end.

Started as ``python -m gateway.rules.worker`` (a fresh interpreter: nothing of the gateway's memory, threads or
descriptors; 40-60 ms to its first instruction, measured in docs/decisions/0005).  It gets one end of a
socketpair, the blame slot and a pipe for stacks, and an environment without the gateway's secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from gateway.rules.protocol import (
    FROM_WORKER_BYTES_MAX,
    LENGTH,
    Answer,
    FromWorker,
    Outcome,
    Ready,
    Step,
    ToWorker,
    decode_from_worker,
    frame,
)
from gateway.rules.worker.blame import Activity, Blame, BlameSlot, shared_memory
from gateway.rules.worker.questions import Questions

STACK_WAIT_S = 1.0  # at most, for faulthandler to write the stack before the kill; looked for each
STACK_LOOK_S = 0.02
STACK_BYTES_MAX = 8192
PIPE_BYTES = 64 * 1024  # pipe(7)
ENGINE_S_MAX = 10.0  # between two calls, or behind the last one
LOOK_S_MAX = 0.2  # of the time between two looks that counts: if it is longer, the machine stood still or was too busy
STARVED_SHARE = 5  # a call that had less than this part of its limit of the processor, and wants more,
STARVED_FACTOR = 10  # may take this many limits of wall time
WAITS_FOR_THE_MACHINE = frozenset("RD")  # proc(5): for the processor, or for pages from the disk
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class WorkerProcess(asyncio.Protocol):
    """A running worker. `ended` when its socket is closed; then `kill` it and ask `blame`.

    `on_message` and `on_end` may be given to somebody else: to whoever loads it, then to whoever feeds it.
    """

    def __init__(self, on_message: Callable[[FromWorker], None], on_end: Callable[[], None]) -> None:
        self.on_message = on_message
        self.on_end = on_end
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.ended = False
        self.questions = Questions(self.send, self._busy_with)
        self.names: Sequence[str] = ()  # of its rules, when it has loaded them
        self.broken = ""  # why its frames can't be read
        self._slot_fd = shared_memory("edge-gateway-blame")
        self._stack_fd, stacks = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)  # holds 64 KB; who writes more, writes nothing
        self._stack = b""
        self._step: Step | None = None  # the call that was announced last
        self._slot = BlameSlot(self._slot_fd)
        ours, theirs = socket.socketpair()
        self._socket = ours
        fds = (theirs.fileno(), self._slot_fd, stacks)
        command = [sys.executable, "-m", "gateway.rules.worker", *map(str, fds), str(os.getpid())]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                command, pass_fds=fds, env=_environment(), stdin=subprocess.DEVNULL, stdout=sys.__stderr__
            )
        except OSError:  # no memory, or too many processes
            ours.close()
            self.close()
            raise
        finally:
            theirs.close()
            os.close(stacks)
        self.pid = self._process.pid
        self._looked_at, self._watched_s = time.monotonic(), 0.0  # last, and how long it was watched
        self._at: tuple[object, float, float] = (None, 0.0, 0.0)  # what, since (watched), processor seconds then

    async def connect(self) -> None:
        """Attach to the event loop."""
        self._socket.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=self._socket)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take apart what came and pass whole messages on (asyncio)."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer)
            if length > FROM_WORKER_BYTES_MAX:
                self.give_up(f"a frame of {length} bytes")
                return
            end = LENGTH.size + length
            if len(buffer) < end:
                return
            body = bytes(buffer[LENGTH.size : end])
            del buffer[:end]
            try:
                message = decode_from_worker(body)
            except msgspec.MsgspecError as error:
                self.give_up(str(error))
                return
            if isinstance(message, Answer):
                self.questions.answered(message)
            elif isinstance(message, Step):
                self._step = message
            else:
                self.on_message(message)
                if isinstance(message, (Outcome, Ready)) and not self.broken:
                    self._step = None  # what was announced went well

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Note the end (asyncio)."""
        self.ended = True
        self.questions.lost()
        self.on_end()

    def give_up(self, why: str) -> None:
        """Take nothing more from it: it ends, and `blame` is for whoever was announced last."""
        self.broken = f"sent what it has no business to send: {why}"
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()

    def send(self, message: ToWorker) -> None:
        """Queue a message; what a dead worker does not read is lost, and fed again to the next one."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(message))

    def blame(self) -> Blame:
        """Read what the worker was doing last; when its word is worth nothing, what it had announced."""
        blame, step = self._slot.read(), self._step
        if not self.broken and blame.activity is not Activity.FORGED:
            return blame
        if step is None:
            return Blame(blame.calls, 0, 0, 0, Activity.FORGED, "")
        if step.file:
            return Blame(blame.calls, 0, 0, 0, Activity.LOAD, step.file)
        return Blame(blame.calls, step.sequence, step.ordinal, step.rule, Activity.CALL, "")

    def _busy_with(self) -> str:
        """Say what the worker is at, for a person."""
        blame = self.blame()
        if blame.activity is Activity.CALL:
            return f"in a call of rule {self.names[blame.rule]}" if blame.rule < len(self.names) else "in a rule's call"
        return "loading the rules" if blame.activity is Activity.LOAD else "catching up"

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def overdue(self, limit_s: float, load_s: float, since_s: float | None = None) -> Blame | None:
        """Return what the worker has been at for longer than its limit; call this a few times a limit.

        With `since_s`, when it was sent something, being at nothing has a limit, too: it owes an answer.
        """
        blame, now = self._slot.read(), time.monotonic()
        self._watched_s += min(now - self._looked_at, LOOK_S_MAX)
        self._looked_at = now
        if blame.activity is Activity.FORGED:
            return blame
        idle = blame.activity is Activity.ENGINE
        what, (before, since, cpu_then) = (blame.calls, since_s if idle else None), self._at
        if what != before or (idle and since_s is None):
            self._at = (what, self._watched_s, self._cpu_s()[1])
            return None
        took_s = self._watched_s - since
        limit = ENGINE_S_MAX if idle else limit_s if blame.activity is Activity.CALL else load_s
        if took_s < limit:
            return None
        waits, cpu_s = self._cpu_s()
        starved = waits and cpu_s - cpu_then < limit / STARVED_SHARE and took_s < limit * STARVED_FACTOR
        return None if starved else blame

    def _cpu_s(self) -> tuple[bool, float]:
        """Return whether the process waits for the machine, and how much of the processor it had (proc(5))."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return False, 0.0
        return fields[0] in WAITS_FOR_THE_MACHINE, (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    async def stack(self) -> str:
        """Make the worker write its stack and return it; works while Python code hangs, once it gets its turn."""
        self.written_stack()
        self._stack = b""  # what was there before is not the stack of now
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        found, until = b"", time.monotonic() + STACK_WAIT_S
        while time.monotonic() < until:
            await asyncio.sleep(STACK_LOOK_S)
            piece = b""
            with contextlib.suppress(BlockingIOError):
                piece = os.read(self._stack_fd, PIPE_BYTES)
            if found and not piece:  # all of it
                break
            found += piece
        self._stack = found[-STACK_BYTES_MAX:]
        return self.written_stack()

    def written_stack(self) -> str:
        """Return the stack a fatal signal or `stack` left behind."""
        with contextlib.suppress(BlockingIOError):
            self._stack = os.read(self._stack_fd, PIPE_BYTES)[-STACK_BYTES_MAX:] or self._stack
        return self._stack.decode(errors="replace")

    async def kill(self) -> int:
        """End the process, whatever it does, and return its exit status (negative: a signal)."""
        self._process.kill()
        status = await asyncio.to_thread(self._process.wait)
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()
        return status

    def close(self) -> None:
        """Give the shared memory back; after `kill`."""
        self._slot.close()
        os.close(self._slot_fd)
        os.close(self._stack_fd)


def _environment() -> dict[str, str]:
    """Return what the worker may know: where Python's packages are, and nothing else."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path) or str(Path(__file__).parents[3]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",  # sets iterate in the same order each time: a backtest repeats byte for byte
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
    }
