"""The watchdog: once a second it pings the service manager, unless a stage is stuck; then it says which one.

The decision is progress.py's. What is stuck is in STATUS and in the log before systemd ends the program (SIGABRT,
which leaves the stacks of all threads in the log: `faulthandler`). A stage that gets on after all is pinged for again.

An event loop that hangs cannot say so itself: a thread looks after it, and names the line where it hangs.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.progress import Mark, Stuck, Watch
from gateway.service import Service

log = logging.getLogger(__name__)

WATCHDOG_S: Final = 30.0  # where no service manager waits for a ping, what is stuck is said all the same
LOOKS: Final = 10  # of the thread in a watchdog time, and
LOOK_S: Final = 1.0  # at least so often
STACK_FRAMES_MAX: Final = 12
EXTEND_S: Final = 30.0  # asked for at a time, while a start is busy
EXTEND_EVERY_S: Final = 5.0
BUSY_BYTES: Final = 256 * 1024  # read and written in that time: it gets on
START_S_MAX: Final = 3600.0  # after that a start is not excused any more
ROOT: Final = Path(__file__).parents[1]
STAGE_OF_ROOM: Final[Mapping[str, str]] = {  # what an event loop that hangs was at
    **dict.fromkeys(("sources", "pipeline", "mqtt"), "inbox"),
    **dict.fromkeys(("profiles", "importers", "framing", "polling"), "decode"),
    **dict.fromkeys(("forward", "targets"), "forward"),
    "journal": "commit",
    "rules": "rules",
}


class Watchdog:
    """Judges once a second (`beat`, on the event loop), and keeps the status line fresh."""

    def __init__(self, service: Service, marks: Callable[[], Mapping[str, Mark]], line: Callable[[], str]) -> None:
        """Wire it up: `marks` takes the marks of all stages, `line` says in one line how the gateway is."""
        self._service, self._marks, self._line = service, marks, line
        self._watch = Watch(service.watchdog_s or WATCHDOG_S)
        self._said = ""
        self.beats = 0
        self.stuck: list[Stuck] = []

    def beat(self) -> None:
        """Look at all stages: ping when each gets on, and say what does not. Call it once a second."""
        self.beats += 1
        before, self.stuck = {each.stage for each in self.stuck}, self._watch.look(time.monotonic(), self._marks())
        for each in self.stuck:
            if each.stage not in before:
                log.critical("%s: the watchdog is not fed any more", each)
        for stage in before.difference(each.stage for each in self.stuck):
            log.warning("stage %s gets on again", stage)
        if not self.stuck:
            self._service.alive()
        self.say()

    def say(self) -> None:
        """Refresh the line that `systemctl status` shows, when it has changed."""
        line = f"{self.stuck[0]}; to be restarted" if self.stuck else self._line()
        if line != self._said and self._service.status(line):
            self._said = line

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Look after this thread's event loop from another thread, for the length of a block."""
        over = threading.Event()
        loop = threading.get_ident()
        guard = threading.Thread(target=self._guard, args=(loop, over), name="gateway.watchdog", daemon=True)
        guard.start()
        try:
            yield
        finally:
            over.set()
            guard.join()

    def _guard(self, loop: int, over: threading.Event) -> None:
        """Name an event loop that hangs. It pings for nobody: without a beat nothing does."""
        watch, line, told = Watch(self._watch.watchdog_s), "", False
        while not over.wait(min(watch.watchdog_s / LOOKS, LOOK_S)):
            found = watch.look(time.monotonic(), {"tick": Mark(work=True, done=self.beats)})
            if found and not line:
                stack = stack_of(loop)
                stage, where = place_of(stack)
                line = f"stage {stage} is stuck: the event loop hangs in {where}; to be restarted"
                lines = "".join(traceback.format_list(stack[-STACK_FRAMES_MAX:]))
                log.critical("stage %s is stuck: the event loop hangs in %s\n%s", stage, where, lines)
                self._said, told = "", False  # the other line is to be said again when the loop goes on
            if not found:
                line = ""
            elif not told:
                told = self._service.status(line)


def stack_of(thread: int) -> traceback.StackSummary:
    """Return where a thread is, innermost last."""
    frame = sys._current_frames().get(thread)
    return traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()


def place_of(stack: traceback.StackSummary) -> tuple[str, str]:
    """Return the stage that a stack is in, and its innermost line of the gateway."""
    for frame in reversed(stack):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT):
            inner = path.relative_to(ROOT)
            room = inner.parts[0].removesuffix(".py")
            return STAGE_OF_ROOM.get(room, room), f"gateway/{inner}:{frame.lineno} ({frame.name})"
    return "tick", "code that is not the gateway's"


@contextlib.contextmanager
def patient(service: Service) -> Iterator[None]:
    """Ask for more time as long as a start reads or writes: a large journal takes a while to recover."""
    over = threading.Event()
    asking = threading.Thread(target=_extend, args=(service, over), name="gateway.start", daemon=True)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


def _extend(service: Service, over: threading.Event) -> None:
    until, before = time.monotonic() + START_S_MAX, 0
    while not over.wait(EXTEND_EVERY_S) and time.monotonic() < until:
        moved = bytes_moved()
        if moved - before >= BUSY_BYTES:
            service.extend(EXTEND_S)
            service.status("starting: recovering the journal")
        before = moved


def bytes_moved() -> int:
    """Return how many bytes this process has read and written (proc(5), io); 0 where nobody counts."""
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields["rchar"]) + int(fields["wchar"])
