"""What verbs that run rules on the desk have in common: their words, Ctrl-C.

All run a candidate in this process, on the side: nothing is executed, nothing of the gateway is written to.
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gateway.cli.times import seconds

CALL_S_MAX: Final = 5.0  # for a call, when nothing else is said


def add_words(parser: argparse.ArgumentParser, *, several: bool) -> None:
    """Declare which rules, where they are, and what a call may take."""
    parser.add_argument(
        "files" if several else "file",
        nargs="*" if several else None,
        type=Path,
        metavar="FILE",
        help="rule files of one folder; default: all" if several else "the rule file",
    )
    parser.add_argument("--rules", type=Path, metavar="FOLDER", help="default: as the config says")


def call_limit(parser: argparse.ArgumentParser) -> None:
    """Declare the limit of a call."""
    parser.add_argument(
        "--call-limit",
        type=seconds,
        default=CALL_S_MAX,
        metavar="TIME",
        help=f"interrupt a call of a rule that takes longer (default: {CALL_S_MAX:g}s; 0s: never)",
    )


class Stop:
    """Ctrl-C once: end at the next good place. Twice: at once."""

    def __init__(self) -> None:
        self.wanted = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Listen for Ctrl-C inside."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._asked)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _asked(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal's signature
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


def names_of(entries: Sequence[Any]) -> dict[str, str]:
    """Return the names of devices by their ids."""
    return {entry.id: entry.name for entry in entries if entry.name}
