"""What the verbs that run rules at the desk show, and how they are ended."""

from __future__ import annotations

import io
import os
import signal
import time

import pytest

from gateway.cli.rules.desk import Stop
from gateway.cli.terminal.progress import DRAW_S, Progress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_a_bar_on_a_terminal_and_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line that renews itself, goes away for other output, and is not in a file."""
    monkeypatch.setenv("TERM", "xterm")
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(stream)
        progress.draw(0.5, "1,000 records")
        time.sleep(2 * DRAW_S)
        progress.draw(1.0, "2,000 records")
        progress.clear()
        progress.clear()
    half, full = "#" * 15 + "." * 15, "#" * 30
    assert terminal.getvalue() == f"\r[{half}]  50%  1,000 records\x1b[K\r[{full}] 100%  2,000 records\x1b[K\r\x1b[K"
    assert file.getvalue() == ""


def test_ctrl_c_once_is_a_wish_twice_an_order() -> None:
    """The first is taken note of, the second interrupts; afterwards it is as before."""
    before, stop = signal.getsignal(signal.SIGINT), Stop()
    with stop.armed():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        assert stop.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
