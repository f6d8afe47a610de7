"""The worker process: reads frames, runs the engine, answers. Started by `process.py`, never by hand.

Before any rule is loaded it lowers its priority, asks the kernel to be ended with its parent and puts up the walls
around rules (`sandbox.py`).  Arguments: descriptors of the socket, of the blame slot and of the pipe for stacks, and
the parent's process id.
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
import traceback
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.rules.engine.call import Site
from gateway.rules.engine.engine import Engine
from gateway.rules.engine.seen import decode
from gateway.rules.engine.tables import Tables
from gateway.rules.engine.trace import Trace
from gateway.rules.files.loader import Loaded, load, tests_in
from gateway.rules.language.acting import AS_USUAL
from gateway.rules.language.definition import Timer
from gateway.rules.language.house import House
from gateway.rules.language.recipients import Recipients
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
    Step,
    ToWorker,
    Tried,
    Try,
    decode_to_worker,
    frame,
)
from gateway.rules.walls.enforced import Enforced
from gateway.rules.walls.sandbox import STATM, enter
from gateway.rules.worker.blame import BlameSlot
from gateway.rules.worker.guard import Guard
from gateway.rules.worker.prints import Prints
from gateway.rules.worker.replies import reply

NICE = 10
NAME = b"edge-rules"  # in ps and top
RECEIVE_BYTES = 256 * 1024
FAULTS_MAX = 100  # told of one load or one run of tests
BROKEN = 70  # exit status: the worker itself raised, and the stack says what
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def main(arguments: list[str]) -> None:
    """Run until the gateway closes the socket."""
    connection, slot_fd, stack_fd, parent = map(int, arguments)
    _settle_in(parent)
    sys.modules.setdefault("gateway.rules.worker", sys.modules["__main__"])
    faulthandler.enable(stack_fd)
    faulthandler.register(signal.SIGUSR1, stack_fd)
    with socket.socket(fileno=connection) as gateway:
        try:
            serve(gateway, BlameSlot(slot_fd), stack_fd)
        except BaseException:  # noqa: BLE001 - whatever it is, the gateway shall read it
            os.write(stack_fd, traceback.format_exc().encode(errors="replace"))
            os._exit(BROKEN)


def serve(gateway: socket.socket, slot: BlameSlot, stack_fd: int) -> None:
    """Load files; then try their tests, or run them until the gateway closes the socket."""
    messages = _messages(gateway)
    files = next(messages, None)
    if not isinstance(files, Load):
        return
    prints = Prints()
    if files.packages:
        sys.path.append(files.packages)  # behind ours, and before the walls: they leave open what is on the path
    guard, enforced = fenced_in(files, slot, prints, gateway, stack_fd)
    loaded = load_rules(files, guard)
    gateway.sendall(frame(_ready(loaded, enforced)))
    message = next(messages, None)
    if isinstance(message, Try):
        gateway.sendall(frame(tried(files, message, loaded, guard)))
    elif isinstance(message, Start):
        engine = make_engine(message, loaded, guard)
        names = [definition.name for definition in loaded.definitions]
        guard.ready([definition.file for definition in loaded.definitions] if files.grants else ())
        guard.careful_upto = message.careful_upto
        prints.who = lambda: names[guard.rule] if 0 <= guard.rule < len(names) else "rules"
        gc.freeze()  # what is there now stays; collections look at what rules make
        run(engine, messages, gateway, guard, prints)


def fenced_in(
    files: Load, slot: BlameSlot, prints: Prints, gateway: socket.socket, stack_fd: int
) -> tuple[Guard, Enforced]:
    """Put up the walls, and have somebody watch what rules do inside them."""
    statm = os.open(STATM, os.O_RDONLY) if Path(STATM).exists() else -1
    null = os.open(os.devnull, os.O_RDWR)
    enforced, fence = enter(files.folder, files.memory_bytes_max, files.grants)
    sys.stdout = sys.stderr = prints
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)

    def step(rule: int, sequence: int, ordinal: int, file: str) -> None:
        gateway.sendall(frame(Step(rule, sequence, ordinal, file)))

    def tell(why: str) -> None:
        os.write(stack_fd, why.encode())

    descriptors = (gateway.fileno(), stack_fd, statm) if statm >= 0 else (gateway.fileno(), stack_fd)
    memory, clock = files.memory_bytes_max, time.perf_counter_ns
    guard = Guard(slot, fence, descriptors, tell, step, clock, memory_bytes_max=memory, statm=statm)
    return guard, enforced


def run(engine: Engine, messages: Iterator[ToWorker], gateway: socket.socket, guard: Guard, prints: Prints) -> None:
    """Answer batches until the gateway closes the socket."""
    for message in messages:
        if isinstance(message, Batch):
            guard.begin(message.upto)
            for outcome in outcomes(engine, message):
                guard.batch_done()
                outcome.logs += prints.taken()
                gateway.sendall(frame(outcome))
        elif isinstance(message, Inventory):
            engine.site.acting = message.acting or engine.site.acting
            engine.site.house.forget(message.gone)
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


def load_rules(message: Load, guard: Guard) -> Loaded:
    """Run the top levels of the files."""
    loaded = load(
        Path(message.folder),
        source=message.files,
        house=House(message.devices, {}),
        modes=message.modes,
        recipients=Recipients(message.recipients),
        excluded=message.excluded,
        last=message.last,
        before=guard.load,
        located=message.located,
        acting=message.acting,
    )
    guard.loaded()
    return loaded


def make_engine(start: Start, loaded: Loaded, guard: Guard) -> Engine:
    """Build an engine over the tables the gateway sent."""
    house = House(start.devices, start.tables.get("values", {}))
    timers = {definition.run: definition.name for definition in loaded.definitions if isinstance(definition, Timer)}
    zone = UTC if start.timezone == "UTC" else ZoneInfo(start.timezone)
    site = Site(
        house, Tables(start.tables), start.log_id, start.gateway, start.modes, zone, timers,
        start.location, recipients=loaded.recipients, acting=loaded.acting or AS_USUAL,
    )  # fmt: skip
    complete = start.complete and not loaded.faults
    trace = Trace(len(loaded.definitions), time.perf_counter_ns)
    return Engine(
        loaded.definitions, site, guard,
        late_s=start.late_s, complete=complete, blamed=start.blamed, trace=trace, kept_s=start.kept_s,
    )  # fmt: skip


def tried(message: Load, wanted: Try, loaded: Loaded, guard: Guard) -> Tried:
    """Run the tests of files, each in a house of its own."""
    from gateway.rules.desk.trials import Suite  # only a candidate needs it: the simulated house and what is in it

    count, faults = 0, []
    devices = [device for device in message.devices if device.name]  # as `rules test` has them
    for name in wanted.files:
        suite = Suite(Path(message.folder) / name, devices, message.modes, loaded)
        for test in suite.tests:
            guard.test(str(suite.file), test)
            trial = suite.trial(test)
            guard.loaded()
            count += 1
            if not trial.ok:
                faults.append(trial.fault)
    return Tried(count, faults[:FAULTS_MAX])


def _ready(loaded: Loaded, enforced: Enforced) -> Ready:
    faults = [RuleFault("", str(f.file), f.line or 0, f.what, f.hint or "") for f in loaded.faults]
    fields = None if loaded.fields is None else sorted(loaded.fields)
    uses = {name: sorted(used) for name, used in loaded.uses.items()}
    tested = [Path(path).name for path, module in loaded.modules.items() if tests_in(module)]
    return Ready(
        loaded.rules,
        faults[:FAULTS_MAX],
        sorted(loaded.types),
        fields,
        loaded.hash,
        uses,
        tested,
        enforced,
        loaded.gates,
    )


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
