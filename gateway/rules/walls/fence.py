"""The audit hook: what a rule may not do becomes a PermissionError on the author's line that says what to do instead.

Python raises an event before it opens a file or a socket, starts a process, calls C (docs.python.org, "Audit events
table"; PEP 578).  This is a fence that tells the author; the walls are the kernel's (`landlock.py`, `seccomp.py`): who
wants to climb it, by way of the interpreter's own insides, can.  A hook stays for the life of its process, so on a desk
it only works while rules do (`fenced`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gateway
from gateway.rules.walls.grants import NETWORK, PROCESSES, READ, THREADS, WRITE, C, Grants, of_file, paths

SHARED = ("/usr/lib", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")
"""What Python needs of a Linux system: libraries and timezones."""
_PARTS = ("lib", "lib64", "Lib", "DLLs")  # of an installation of Python, on Unix and on Windows
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_FORBIDDEN_MODULES = {"ctypes": C, "cffi": C, "multiprocessing": PROCESSES}
_NO_NETWORK = "a rule has no network: use ctx.notify or ctx.http"
_NO_PROCESS = "a rule starts no process"
_NO_FILES = "a rule changes no files: keep values in ctx.state, put out events with ctx.emit"
_NO_C = "a rule calls no C"
_NO_THREAD = "a rule starts no threads: use ctx.after"
_NO_SIGNAL = "a rule sends no signals"
_NO_INSIDES = "a rule leaves the interpreter alone"
_NO_INPUT = "nobody is there to answer input()"
_NO_TRACE = "a rule does not trace: try `edge-gateway rules debug`"

_REFUSED: dict[str, tuple[str, str]] = {}  # event -> what grants it, and what is said
for _names, _grant, _text in (
    (
        """socket.__new__ socket.connect socket.bind socket.getaddrinfo socket.gethostbyname socket.gethostbyaddr
        socket.sendto socket.sendmsg urllib.Request http.client.connect smtplib.connect ftplib.connect imaplib.open""",
        NETWORK,
        _NO_NETWORK,
    ),
    (
        """subprocess.Popen os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn os.startfile pty.spawn""",
        PROCESSES,
        _NO_PROCESS,
    ),
    ("_thread.start_new_thread _thread.start_joinable_thread", THREADS, _NO_THREAD),
    (
        """os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.truncate os.chmod os.chown os.utime os.setxattr
        os.removexattr os.chflags os.mknod os.mkfifo os.chdir os.fchdir shutil.rmtree""",
        WRITE,
        _NO_FILES,
    ),
    (
        """ctypes.dlopen ctypes.dlsym ctypes.dlsym/handle ctypes.string_at ctypes.wstring_at ctypes.memoryview_at
        ctypes.cdata ctypes.cdata/buffer ctypes.call_function ctypes.addressof""",
        C,
        _NO_C,
    ),
    ("os.kill os.killpg signal.pthread_kill", "", _NO_SIGNAL),
    ("sys.settrace sys.setprofile sys.monitoring.register_callback", "", _NO_TRACE),
    ("sys.addaudithook cpython.PyInterpreterState_New", "", _NO_INSIDES),
    ("builtins.input", "", _NO_INPUT),
):
    _REFUSED.update(dict.fromkeys(_names.split(), (_grant, _text)))

_BETWEEN = frozenset(
    {"<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>", "importlib", "ctypes", "fence.py"}
)
"""Parts of the names of files whose frames may lie between a rule and the hook."""
_CHANGES_A_PATH = frozenset(name for name, (grant, _) in _REFUSED.items() if grant == WRITE)


class Fence:
    """The hook's memory. `file` is the rule file whose code runs now, for what is granted to one file alone."""

    def __init__(self, folder: str, grants: Grants, *, active: bool = True, desk: bool = False) -> None:
        """Set up for the rule files in `folder`; on a desk, where people debug, tracing and typing are no fault."""
        self._grants = grants
        self._free = frozenset((_NO_TRACE, _NO_INPUT)) if desk else frozenset[str]()
        self._found: dict[str, tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]] = {}
        self._folder = ""
        self.enter(folder)
        self.active = active
        self.file = ""

    def enter(self, folder: str) -> None:
        """Take note of the folder whose rules run now."""
        if self._folder != _with_end(folder):
            self._folder = _with_end(folder)
            self._readable = tuple(_with_end(path) for path in readable(folder))
            self._found.clear()

    def hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        """Return the function for sys.addaudithook. Most events it is called for are none of it."""
        refused, changes = _REFUSED, _CHANGES_A_PATH

        def look(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                if self.active:
                    self._open(*arguments[:3])
            elif event in refused and self.active:
                grant, text = refused[event]
                words, _, writable = self._allowed()
                if grant in words or text in self._free or (grant == C and not self._by_rule()):
                    return
                if event in changes and _beneath(arguments[0] if arguments else "", writable):
                    return
                raise PermissionError(_said(text, grant, arguments))
            elif event == "import" and self.active:
                self._import(str(arguments[0]))

        return look

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        writes = (isinstance(mode, str) and not set(mode).isdisjoint("wax+")) or bool((flags or 0) & _WRITING)
        words, reads, writable = self._allowed()
        if isinstance(path, int):
            if writes and not words:
                raise PermissionError(_NO_FILES)
        elif writes:
            if not _beneath(path, writable):
                raise PermissionError(_said(_NO_FILES, WRITE, (path,)))
        elif not _beneath(path, reads):
            text = "a rule reads no files but those beside it: put what it needs there"
            raise PermissionError(_said(text, READ, (path,)))

    def _import(self, name: str) -> None:
        grant = _FORBIDDEN_MODULES.get(name)
        if grant is None or grant in self._allowed()[0]:
            return
        if self._by_rule():
            raise PermissionError(_said(f"a rule does not import {name}", grant, ()))

    def _by_rule(self) -> bool:
        """Return whether a file of rules asks for it itself, not a package it uses: those try C and go without."""
        frame = sys._getframe(1)
        while frame.f_back is not None and not _BETWEEN.isdisjoint(Path(frame.f_code.co_filename).parts):
            frame = frame.f_back
        return frame.f_code.co_filename.startswith(self._folder)

    def _allowed(self) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
        """Return what the file at hand was granted: words, paths to read and paths to write."""
        found = self._found.get(self.file)
        if found is None:
            words = of_file(self._grants, self.file)
            writable = tuple(_with_end(path) for path in paths(words, WRITE))
            more = tuple(_with_end(path) for path in paths(words, READ))
            found = self._found[self.file] = (words, (*self._readable, *more, *writable), writable)
        return found


def readable(folder: str) -> list[str]:
    """Return the paths a rule may read: Python's own, what it needs of the system, and where the rules are."""
    named = {str(Path(os.__file__).parent)}
    named |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    named |= {str(Path(prefix, part)) for prefix in (sys.prefix, sys.base_prefix) for part in _PARTS}
    ours = str(Path(gateway.__file__).absolute().parent)
    found = {os.path.realpath(path) for path in named} | named | {ours, folder, os.path.realpath(folder)}
    return [*sorted(path for path in found if path != os.sep), *SHARED, *DEVICES]


def _beneath(path: Any, folders: tuple[str, ...]) -> bool:
    """Return whether a path is one of the folders or lies in one; links are the kernel's business."""
    try:
        text = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links are not followed, ".." is taken away
    except (TypeError, ValueError):
        return False
    return _with_end(text).startswith(folders)


def _with_end(path: str) -> str:
    return path if path.endswith(os.sep) else path + os.sep


def _said(text: str, grant: str, arguments: Sequence[Any]) -> str:
    about = arguments[0] if grant and arguments and isinstance(arguments[0], (str, os.PathLike)) else ""
    about = ascii(os.fspath(about))[1:-1] if about else ""
    text = f"{text} ({about})" if about else text
    if not grant:
        return text
    word = f"{grant}:{Path(about).absolute().parent if about else '/path'}" if grant in (READ, WRITE) else grant
    return f'{text}; the installation can grant it: [rules] grant = ["{word}"]'


_installed: list[Fence] = []  # at most one: a hook can't be taken away
_granted: dict[str, Sequence[str]] = {}  # on this desk


def install(fence: Fence) -> Fence:
    """Put up a fence in this process, for its whole life."""
    _installed.append(fence)
    sys.addaudithook(fence.hook())
    return fence


def grant(grants: Grants) -> None:
    """Let the fence on this desk open what the installation grants; before it is put up."""
    _granted.update(grants)


def _on_desk(folder: Path) -> Fence:
    """Return this process's fence; a new one is open, and lets people trace and type."""
    if not _installed:
        install(Fence(str(folder.absolute()), _granted, active=False, desk=True))
    return _installed[0]


@contextmanager
def fenced(folder: Path) -> Iterator[None]:
    """Keep rules behind the fence in this process for a while: on the desk of who tests them."""
    fence = _on_desk(folder)
    before, fence.active = fence.active, True
    fence.enter(str(folder.absolute()))
    try:
        yield
    finally:
        fence.active = before


class FencedCalls:
    """Stands for the blame slot on a desk: nobody ends a call, but while it runs the fence is shut."""

    def __init__(self, folder: Path) -> None:
        self._fence = _on_desk(folder)
        self._before = self._fence.active  # shut for good in the gateway's own processes
        self._folder = str(folder.absolute())

    def call(self, rule: int, sequence: int, ordinal: int) -> None:  # noqa: ARG002 - as the blame slot has it
        """Shut the fence."""
        self._fence.enter(self._folder)
        self._fence.active = True

    def done(self) -> None:
        """Open it again."""
        self._fence.active = self._before
