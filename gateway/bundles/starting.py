"""Which configuration a process starts with, and what becomes of it when it cannot: before anything else runs."""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from gateway.bundles import ledger as ledgers
from gateway.bundles.ledger import ApplyError, Ledger, config_of
from gateway.clock import Clock
from gateway.codes.service import APPLIED_UNREADABLE, APPLY_START
from gateway.config.places import places
from gateway.logs.about import about

log = logging.getLogger(__name__)

WHY_CHARS_MAX = 500


class Start:
    """One start of the program with the config that a person named."""

    def __init__(self, base: Path, clock: Clock) -> None:
        """Count the start of what is tried; a trial that is used up is over before it begins."""
        self._base, self._clock = base, clock
        self._places = places(base)
        self.file = base
        self._tried = ""  # name of the version, when one is tried
        try:
            ledger = ledgers.read(self._places.state)
            if ledger.base == str(base.absolute()) and ledger.trial is not None and not self._answers():
                ledger = ledgers.change(self._places.state, lambda now: ledgers.started(now, clock))
                self._tried = ledger.current.name if ledger.trial is not None and ledger.current else ""
        except (ApplyError, OSError) as error:
            log.error("%s", error, extra=about(APPLIED_UNREADABLE))
        self.file = config_of(base)

    @property
    def tried(self) -> bool:
        """Whether what is started is only tried: then a part of it that cannot be read is not left out."""
        return bool(self._tried)

    def failed(self, error: BaseException) -> bool:
        """Let the version before count when what was started is tried still; returns whether that is so."""

        def back(now: Ledger) -> Ledger:
            if now.trial is None or now.current is None or now.current.name != self._tried:
                return now
            why = f"it cannot run: {str(error) or type(error).__name__}".replace(f"{self.file.parent}/", "")
            return ledgers.reverted(now, why[:WHY_CHARS_MAX], str(APPLY_START), self._clock)

        if not self._tried:
            return False
        with suppress(ApplyError, OSError):
            after = ledgers.change(self._places.state, back)
            return after.current is None or after.current.name != self._tried
        return False

    def _answers(self) -> bool:
        """Return whether another process is this gateway: then this one is not its start."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._places.socket))
            except OSError:
                return False
            return True


def again() -> NoReturn:
    """Become this program anew, with the words it was started with."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves
