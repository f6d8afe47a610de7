"""The worker process: reads frames, runs the engine, answers. Started by `process.py`, never by hand.

Before any rule is loaded it lowers its priority, limits its memory, gives up starting processes and core dumps, and
asks the kernel to be ended with its parent.  Arguments: descriptors of the socket, of the blame slot and of
the file for stacks, and the parent's process id.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.rules.blame import BlameSlot
from gateway.rules.call import Site
from gateway.rules.definition import Timer
from gateway.rules.engine import Engine
from gateway.rules.house import House
from gateway.rules.loader import Loaded, load, tests_in
from gateway.rules.protocol import (
    FRAME_BYTES_MAX,
    LENGTH,
    Ask,
    Batch,
    Inventory,
    Load,
    Outcome,
    Ready,
    RuleFault,
    Start,
    ToWorker,
    Tried,
    Try,
    decode_to_worker,
    frame,
)
from gateway.rules.replies import reply
from gateway.rules.seen import decode
from gateway.rules.tables import Tables
from gateway.rules.trace import Trace

NO_PROCESSES = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"}
)
"""Audit events of starting a process (docs.python.org/3/library/audit_events.html). A fence, not a wall."""
NICE = 10
NAME = b"edge-rules"  # in ps and top
RECEIVE_BYTES = 256 * 1024
FAULTS_MAX = 100  # told of one load or one run of tests
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def main(arguments: list[str]) -> None:
    """Run until the gateway closes the socket."""
    connection, slot_fd, stack_fd, parent = map(int, arguments)
    _settle_in(parent)
    sys.modules.setdefault("gateway.rules.worker", sys.modules["__main__"])
    stacks = os.fdopen(stack_fd, "w")
    faulthandler.enable(stacks)
    faulthandler.register(signal.SIGUSR1, stacks)
    slot = BlameSlot(slot_fd)
    with socket.socket(fileno=connection) as gateway:
        messages = _messages(gateway)
        files = next(messages, None)
        if not isinstance(files, Load):
            return
        resource.setrlimit(resource.RLIMIT_DATA, (files.memory_bytes_max, files.memory_bytes_max))
        sys.addaudithook(_refuse_processes)
        loaded = load_rules(files, slot)
        gateway.sendall(frame(_ready(loaded)))
        message = next(messages, None)
        if isinstance(message, Try):
            gateway.sendall(frame(tried(files, message, loaded, slot)))
        elif isinstance(message, Start):
            engine = make_engine(message, loaded, slot)
            gc.freeze()  # what is there now stays; collections look at what rules make
            run(engine, messages, gateway)


def run(engine: Engine, messages: Iterator[ToWorker], gateway: socket.socket) -> None:
    """Answer batches until the gateway closes the socket."""
    for message in messages:
        if isinstance(message, Batch):
            for outcome in outcomes(engine, message):
                gateway.sendall(frame(outcome))
        elif isinstance(message, Inventory):
            engine.install(message.devices)
        elif isinstance(message, Ask):
            gateway.sendall(frame(reply(engine, message)))


def outcomes(engine: Engine, batch: Batch) -> Iterator[Outcome]:
    """Yield the outcome of a batch, in parts if rules put out more than one may hold."""
    raws = batch.raws
    while raws:
        outcome = engine.step(raws, batch.upto, batch.now_ns, batch.live_after)
        yield outcome
        raws = [] if outcome.upto == batch.upto else [raw for raw in raws if int(decode(raw).sequence) > outcome.upto]


def load_rules(message: Load, slot: BlameSlot) -> Loaded:
    """Run the top levels of the files."""
    loaded = load(
        Path(message.folder),
        source=message.files,
        house=House(message.devices, {}),
        modes=message.modes,
        excluded=message.excluded,
        last=message.last,
        before=slot.load,
        located=message.located,
    )
    slot.done()
    return loaded


def make_engine(start: Start, loaded: Loaded, slot: BlameSlot) -> Engine:
    """Build an engine over the tables the gateway sent."""
    house = House(start.devices, start.tables.get("values", {}))
    timers = {definition.run: definition.name for definition in loaded.definitions if isinstance(definition, Timer)}
    zone = UTC if start.timezone == "UTC" else ZoneInfo(start.timezone)
    site = Site(house, Tables(start.tables), start.log_id, start.gateway, start.modes, zone, timers, start.location)
    complete = start.complete and not loaded.faults
    trace = Trace(len(loaded.definitions), time.perf_counter_ns)
    return Engine(
        loaded.definitions, site, slot, late_s=start.late_s, complete=complete, blamed=start.blamed, trace=trace
    )


def tried(message: Load, wanted: Try, loaded: Loaded, slot: BlameSlot) -> Tried:
    """Run the tests of files, each in a house of its own."""
    from gateway.rules.trials import Suite  # only a candidate needs it: the simulated house and what is in it

    count, faults = 0, []
    devices = [device for device in message.devices if device.name]  # as `rules test` has them
    for name in wanted.files:
        suite = Suite(Path(message.folder) / name, devices, message.modes, loaded)
        for test in suite.tests:
            slot.test(str(suite.file), test)
            trial = suite.trial(test)
            slot.done()
            count += 1
            if not trial.ok:
                faults.append(trial.fault)
    return Tried(count, faults[:FAULTS_MAX])


def _ready(loaded: Loaded) -> Ready:
    faults = [RuleFault("", str(f.file), f.line or 0, f.what, f.hint or "") for f in loaded.faults]
    fields = None if loaded.fields is None else sorted(loaded.fields)
    uses = {name: sorted(used) for name, used in loaded.uses.items()}
    tested = [Path(path).name for path, module in loaded.modules.items() if tests_in(module)]
    return Ready(loaded.rules, faults[:FAULTS_MAX], sorted(loaded.types), fields, loaded.hash, uses, tested)


def _messages(gateway: socket.socket) -> Iterator[ToWorker]:
    """Yield messages until the gateway closes its end. A frame that is none ends the worker."""
    buffer = bytearray()
    while received := gateway.recv(RECEIVE_BYTES):
        buffer += received
        while len(buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer)
            assert length <= FRAME_BYTES_MAX
            end = LENGTH.size + length
            if len(buffer) < end:
                break
            message = decode_to_worker(bytes(buffer[LENGTH.size : end]))
            del buffer[:end]
            yield message


def _refuse_processes(event: str, arguments: tuple[object, ...]) -> None:  # noqa: ARG001 - the hook's signature
    """Refuse what would start a process: a copy of the worker would answer twice."""
    if event in NO_PROCESSES:
        raise PermissionError("a rule starts no process")


def _settle_in(parent: int) -> None:
    """Be a low-priority process that can't outlive its parent, start others or leave a core behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)  # it ended before we asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the gateway's
    with contextlib.suppress(OSError):  # a sandbox may forbid setpriority
        os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
