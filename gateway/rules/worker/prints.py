"""What rules print: a few lines in the gateway's log, in the rule's name, and not a flood on its standard output."""

from __future__ import annotations

import io
from collections.abc import Callable

LINES_MAX = 20  # of one batch
CHARS_MAX = 500  # of a line


class Prints(io.TextIOBase):
    """Stands for sys.stdout and sys.stderr in the worker. `who` says whose call runs."""

    def __init__(self) -> None:
        self.who: Callable[[], str] = lambda: "rules"
        self._lines: list[tuple[str, str]] = []
        self._begun = ""

    def writable(self) -> bool:
        """Return True (io)."""
        return True

    def write(self, text: str) -> int:
        """Keep lines while there is room; the rest is dropped."""
        if len(self._lines) < LINES_MAX:
            *lines, begun = (self._begun + text[: CHARS_MAX * LINES_MAX]).split("\n")
            self._begun = begun[:CHARS_MAX]
            who = self.who()
            room = LINES_MAX - len(self._lines)
            self._lines += [
                (who, line[:CHARS_MAX].encode(errors="replace").decode()) for line in lines[:room] if line.strip()
            ]
        return len(text)

    def taken(self) -> list[tuple[str, str]]:
        """Return the lines since the last time: rule and text."""
        lines, self._lines = self._lines, []
        return lines
