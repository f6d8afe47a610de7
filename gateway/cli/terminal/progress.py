"""How far something is: a bar on a terminal's last line."""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

from gateway.cli.terminal.printing import movable, printable

DRAW_S: Final = 0.1
BAR_CHARS: Final = 30


class Progress:
    """A bar on a terminal's last line, on standard error; nothing elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = movable(self._stream)
        self._drawn_at = 0.0
        self._drawn = False

    def draw(self, share: float, text: str) -> None:
        """Show how much is done; now and then, however often it is called."""
        now = time.monotonic()
        if not self._live or now - self._drawn_at < DRAW_S:
            return
        self._drawn_at, self._drawn = now, True
        full = round(min(1.0, max(0.0, share)) * BAR_CHARS)
        self._stream.write(f"\r[{'#' * full}{'.' * (BAR_CHARS - full)}] {min(share, 1):4.0%}  {printable(text)}\x1b[K")
        self._stream.flush()

    def clear(self) -> None:
        """Take it away: something else is printed."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False
