"""The bar of what takes its time."""

from __future__ import annotations

import io
import time

import pytest

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
