"""The live view, on pseudo-terminals of several sizes."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

LINES = ["a title that is longer than a narrow terminal has columns", "two", "three"]
SHOW = f"""
from gateway.cli.terminal import screen
screen.PLAIN_EVERY_S = 3600.0  # all frames are in it, however long the machine takes
screen = screen.Screen()
for _ in range(3):
    screen.show({LINES!r})
"""


def shown(columns: int, rows: int, **environment: str) -> str:
    """Return what three frames write to a terminal of that size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "TERM")}
    process = subprocess.Popen([sys.executable, "-c", SHOW], stdout=theirs, env={**clean, **environment})
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:  # EIO: the other end is closed
        pass
    assert process.wait() == 0
    os.close(ours)
    return said.decode()


def test_a_narrow_terminal_gets_lines_that_fit() -> None:
    """A line is cut to the width, so that moving up as many lines as were written is right."""
    said = shown(30, 24, TERM="xterm", NO_COLOR="1")
    assert said.count("\x1b[3A") == 2, "three lines up, before the second and the third frame"
    assert "a title that is longer than \N{HORIZONTAL ELLIPSIS}" in said
    assert all(len(line) < 40 for line in said.split("\r\n"))


def test_a_low_terminal_gets_as_many_lines_as_it_has() -> None:
    """What does not fit below is left out; nothing scrolls."""
    said = shown(80, 3, TERM="xterm")
    assert "\x1b[2A" in said
    assert "three" not in said


def test_a_terminal_that_cannot_move_gets_plain_lines() -> None:
    """With TERM=dumb, or none, there is not one escape character."""
    for environment in ({"TERM": "dumb"}, {}):
        said = shown(60, 24, **environment)
        assert "\x1b" not in said
        assert said.count("two") == 1, "a line now and then, not every frame"


def test_without_colour_it_is_still_live() -> None:
    """NO_COLOR takes the colours away, not the view."""
    said = shown(80, 24, TERM="xterm", NO_COLOR="1")
    assert "\x1b[3A" in said
    assert "\x1b[1m" not in said
