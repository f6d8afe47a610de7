"""Rules on the desk: what `rules backtest`, `rules shadow` and `rules debug` have in common.

All run a candidate in this process, on the side: nothing is executed, nothing of the gateway is written to.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO

from gateway.cli.rule_loading import run_by_its_owner
from gateway.cli.terminal import complain, movable, printable
from gateway.quantity import duration_s

if TYPE_CHECKING:
    from gateway.config.load import Config
    from gateway.rules.desk.candidate import Installation
    from gateway.rules.files.loader import Loaded

OK, BAD, USAGE, INTERRUPTED = 0, 1, 2, 130
NICE: Final = 10  # the gateway beside comes first
CALL_S_MAX: Final = 5.0  # for a call, when nothing else is said
DRAW_S: Final = 0.1
BAR_CHARS: Final = 30


class Place:
    """Where the rules are, and what the installation says."""

    def __init__(self, words: argparse.Namespace) -> None:
        from gateway.config.load import read

        self.config: Config | None = read(words.config)[0] if words.config.exists() else None
        given: Path | None = words.rules
        self.folder: Path = given or (self.config.rules.folder if self.config is not None else Path("rules"))

    def installation(self, log_id: str) -> Installation:
        """Return what rules can notice of the installation."""
        from gateway.rules.desk.candidate import Installation
        from gateway.rules.files.loader import entries

        if self.config is None:
            return Installation(log_id=log_id)
        rules = self.config.rules
        return Installation(
            gateway=self.config.gateway.name,
            log_id=log_id,
            devices=entries(self.config.devices),
            modes=rules.modes,
            timezone=rules.timezone,
            location=rules.location,
            late_s=rules.late_s,
        )

    def load(self, files: Sequence[Path]) -> Loaded | None:
        """Load rule files of one folder, or all of the rules folder; None when it was said what is wrong."""
        from gateway.config.acting import acting
        from gateway.rules.files.loader import LOAD_S_MAX, load
        from gateway.rules.language.house import House
        from gateway.rules.language.recipients import Recipients

        missing = [file for file in files if not file.is_file()]
        folders = {file.parent for file in files} or {self.folder}
        if missing or len(folders) > 1 or not (folder := folders.pop()).is_dir():
            complain(f"there is no file {missing[0]}" if missing else "one folder with rules is wanted")
            return None
        installation = self.installation("")
        if self.config is not None:
            run_by_its_owner(self.config, folder)
        loaded = load(
            folder,
            house=House(installation.devices, {}),
            modes=installation.modes,
            files=list(files) or None,
            recipients=Recipients(self.config.notify.names) if self.config is not None else None,
            acting=acting(self.config) if self.config is not None else None,
            located=installation.location is not None or self.config is None,
            limit_s=LOAD_S_MAX,
        )
        for fault in loaded.faults:
            complain(str(fault))
        if not loaded.definitions and not loaded.faults:
            complain(f"there are no rules in {folder}")
        wrong = bool(loaded.faults) if files else False  # of a folder the rest is run, as in the gateway
        return None if wrong or not loaded.definitions else loaded


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


def seconds(text: str) -> float:
    """Read a duration, for argparse."""
    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def step_aside() -> None:
    """Let the gateway on this machine go first."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICE)


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


def names_of(entries: Sequence[Any]) -> dict[str, str]:
    """Return the names of devices by their ids."""
    return {entry.id: entry.name for entry in entries if entry.name}
