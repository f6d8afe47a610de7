"""Rules that do harm, each as the body of a function: for the tests, and for `simulators.hostile` in a real gateway.

A harm *ends* the worker (what else could stop it), or it is *refused* in its call and the worker goes on.  `quiet` ones
end in no fault: what they do is bounded or without effect.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

Kind = Literal["ends", "refused", "quiet"]
EVENT = "reading_taken"


@dataclass(frozen=True)
class Harm:
    """One kind of harm; `body` is run with `event` and `ctx`, after `top` at the file's top level."""

    name: str
    kind: Kind
    body: str
    top: str = ""
    repeats: int = 1  # events it takes to show
    says: str = ""  # part of what the gateway says of it
    alike: bool = False  # another one of the table is stopped in the same way: tests leave it out

    @property
    def rule(self) -> str:
        """The rule's name."""
        return "harm_" + self.name.replace(" ", "_").replace("-", "_")

    @property
    def device(self) -> str:
        """The device whose events it waits for: topic ``load/meter/<device>``."""
        return "harm-" + self.name.replace(" ", "-")

    @property
    def file(self) -> str:
        """The text of its rule file."""
        top = textwrap.dedent(self.top).strip()
        body = textwrap.indent(textwrap.dedent(self.body).strip(), "    ")
        return (
            f'"""{self.name}."""\n\nfrom gateway.rules import rule, timer\n\n{top}\n\n'
            f'@rule("{EVENT}", device="house/load:{self.device}")\ndef {self.rule}(event, ctx):\n{body}\n'
        )


SCRIBBLE = """
import sys
frame = sys._getframe()
while frame is not None:
    watch = getattr(frame.f_locals.get("self"), "_watch", None)
    if watch is not None:
        watch._slot._memory[0:512] = b"\\xff" * 512
    frame = frame.f_back
"""
EACH_DESCRIPTOR = """
import os
for fd in range(3, 4096):  # whatever number it has
    try: {what}
    except OSError: pass
"""

HARMS = (
    # ---- what only ends with the worker -------------------------------------------------------------
    Harm("loops", "ends", "while True: pass", says="did not return within", alike=True),
    Harm("loops and catches everything", "ends", """
        while True:
            try: [0 for _ in iter(int, 1)]
            except BaseException: pass
        """),
    Harm("sleeps", "ends", "import time; time.sleep(3600)", alike=True),
    Harm("waits for a lock", "ends", "import threading as t; k = t.Lock(); k.acquire(); k.acquire()", alike=True),
    Harm("is slow in C", "ends", "sum(range(10**12))", alike=True),
    Harm("backtracks", "ends", "import re; re.match(r'(a+)+$', 'a' * 40 + 'b')"),
    Harm("huge numbers", "ends", "n = 7 ** (10 ** 8)", alike=True),
    Harm("floods the output", "ends", "while True: print('x' * 1000)", alike=True),
    Harm("floods descriptor 1", "ends", "import os\nwhile True: os.write(1, b'x' * 4096)", alike=True),
    Harm("exits at once", "ends", "import os; os._exit(0)"),
    Harm("aborts", "ends", "import os; os.abort()", alike=True),
    Harm("crashes in C", "ends", "import faulthandler; faulthandler._sigsegv()"),
    Harm("raises KeyboardInterrupt", "ends", "raise KeyboardInterrupt", alike=True),
    Harm("replaces builtins", "ends", "import builtins; builtins.len = lambda _: 0", says="changed builtins.len"),
    Harm("replaces the context", "ends", "type(ctx).alert = lambda *_, **__: None", says="Context.alert", alike=True),
    Harm("switches collection off", "ends", "import gc; gc.disable()", says="garbage collector", alike=True),
    Harm("recurses without limit", "ends", "import sys; sys.setrecursionlimit(10**9)\nf = lambda: f()\nf()"),
    Harm("leaves an alarm clock", "ends", "import signal; signal.setitimer(signal.ITIMER_REAL, 3600)", alike=True),
    Harm("leaves a signal handler", "ends", "import signal; signal.signal(signal.SIGTERM, print)", alike=True),
    Harm("closes descriptors", "ends", EACH_DESCRIPTOR.format(what="os.close(fd)")),
    Harm("forges answers", "ends", EACH_DESCRIPTOR.format(what="os.write(fd, bytes(100))")),
    Harm("forges the blame", "ends", SCRIBBLE + "while True: pass"),
    Harm("leaks", "ends", "kept.append(bytearray(60_000_000))", top="kept = []", repeats=4, says="has taken"),
    # ---- what ends with the call --------------------------------------------------------------------
    Harm("calls exit", "refused", "exit()", says="called exit()"),
    Harm("raises what is no text", "refused", "raise ValueError('\\udcff')", says="ValueError"),
    Harm("puts out what is no text", "refused", "ctx.emit('noise_made', {'n': '\\udcff'})"),
    Harm("alerts what is no text", "refused", "ctx.alert('\\udcff')"),
    Harm("keeps what is no text", "refused", "ctx.state['\\udcff'] = 1"),
    Harm("raises an alert known by no text", "refused", "ctx.alert('x', key='\\udcff')"),
    Harm("recurses", "refused", "f = lambda: f()\nf()"),
    Harm("eats memory", "refused", "data = bytearray(10**12)", says="MemoryError"),
    Harm("eats memory slowly", "refused", "data = []\nwhile True: data.append(bytearray(10**7))", says="MemoryError"),
    Harm("maps memory", "refused", "import mmap\nmaps = []\nwhile True: maps.append(mmap.mmap(-1, 10**8))"),
    Harm("forks", "refused", "import os; os.fork()", says="starts no process"),
    Harm("forks without the hook", "refused", """
        import os
        frame = __import__("sys")._getframe()
        while frame is not None:
            watch = getattr(frame.f_locals.get("self"), "_watch", None)
            if watch is not None: watch._fence.active = False
            frame = frame.f_back
        while True: os.fork()
        """, says="Operation not permitted"),
    Harm("starts a program", "refused", "import subprocess; subprocess.run(['true'])", says="starts no process"),
    Harm("starts a thread", "refused", """
        import threading
        threading.Thread(target=lambda: iter(int, 1), daemon=True).start()
        """, says="thread"),
    Harm("connects", "refused", "import socket; socket.create_connection(('127.0.0.1', 1883))", says="ctx.http"),
    Harm("opens an abstract socket", "refused", "import socket; socket.socket(socket.AF_UNIX)", says="no network"),
    Harm("calls C", "refused", "import ctypes; ctypes.string_at(0)", says="ctypes"),
    Harm("kills the gateway", "refused", "import os; os.kill(os.getppid(), 9)", says="no signals"),
    Harm("kills everybody", "refused", "import os; os.kill(-1, 9)", says="no signals"),
    Harm("reads secrets", "refused", "open('/etc/shadow').read()", says="reads no files"),
    Harm("reads the gateway", "refused", "import os; open(f'/proc/{os.getppid()}/environ')", says="reads no files"),
    Harm("deletes files", "refused", "import os; os.remove(__file__)", says="ctx.state"),
    Harm("writes its own file", "refused", "open(__file__, 'a').write('#')", says="ctx.state"),
    Harm("raises its limits", "refused", """
        import resource
        resource.setrlimit(resource.RLIMIT_DATA, (2**40, 2**40))
        """),
    Harm("traces", "refused", "import sys; sys.settrace(lambda *_: None)", says="rules debug"),
    Harm("shrinks shared memory", "refused", "import os; [os.ftruncate(fd, 0) for fd in range(3, 4096)]"),
    Harm("asks at the terminal", "refused", "input('your password? ')"),
    Harm("puts out too much", "refused", "[ctx.emit('noise_made') for _ in range(10**6)]", says="200 outputs"),
    Harm("puts out something huge", "refused", "ctx.emit('noise_made', {'text': 'x' * 10**7})", says="65536"),
    Harm("puts out without end", "refused", "ctx.emit('noise_made', {'n': iter(int, 1)})"),
    Harm("puts out what is no JSON", "refused", "ctx.emit('noise_made', {'what': object()})"),
    Harm("keeps too much", "refused", "ctx.state['all'] = 'x' * 10**6"),
    Harm("sets too many timers", "refused", "[ctx.after('1h', later) for _ in range(10**5)]", top="""
        @timer
        def later(ctx): pass
        """, says="timers"),
    # ---- what is bounded ----------------------------------------------------------------------------
    Harm("stays at exit", "quiet", "import atexit; atexit.register(lambda: [0 for _ in iter(int, 1)])"),
    Harm("logs what is no text", "quiet", "ctx.log('\\udcff'); print('\\udcff')"),
    Harm("clears an alert that is no text", "quiet", "ctx.clear('\\udcff')"),
    Harm("fills the log", "quiet", "for _ in range(10**5): ctx.log('x' * 10**4)"),
)  # fmt: skip
