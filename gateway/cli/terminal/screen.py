"""A few lines that renew themselves on a terminal, and plain lines now and then elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable

from gateway.cli.terminal.printing import movable, paint, printable

PLAIN_EVERY_S = 2.0  # between two lines where nothing can be redrawn
_UP = "\x1b[{}A"
_REST_OF_LINE, _REST_OF_SCREEN = "\x1b[K", "\x1b[J"  # line by line: no flicker, no old frames in a scrollback


class Screen:
    """Shows lines on standard output; nothing when `quiet` (standard output belongs to a program then)."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = movable(sys.stdout)
        self._height = 0
        self._said_at = 0.0

    def show(self, lines: Iterable[str]) -> None:
        """Replace what is shown."""
        if self._quiet:
            return
        texts = [printable(line) for line in lines]
        if not self._live:
            if time.monotonic() - self._said_at >= PLAIN_EVERY_S:
                self._said_at = time.monotonic()
                print("; ".join(" ".join(text.split()) for text in texts), flush=True)
            return
        width, height = shutil.get_terminal_size()
        texts = [_cut(text, width) for text in texts[: max(height - 1, 1)]]  # a line that wraps can't be redrawn
        if self._height:
            sys.stdout.write(_UP.format(self._height))
        for number, text in enumerate(texts):
            print(
                paint(text, "bold" if number == 0 else "yellow" if text.startswith("alert") else None),
                end=_REST_OF_LINE + "\n",
            )
        sys.stdout.write(_REST_OF_SCREEN)
        sys.stdout.flush()
        self._height = len(texts)

    def leave(self) -> None:
        """Leave what is shown as it is; what follows stands below it."""
        self._height = 0


def _cut(text: str, width: int) -> str:
    return text if len(text) < width else text[: max(width - 2, 0)] + "…"
