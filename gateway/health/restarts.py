"""Starting again and again, more and more slowly: a gateway that crashes must not wear its card out, nor be given up.

The service manager starts it again a second after each crash, for ever. How often that was lately is in a file in the
runtime folder, which a reboot and an orderly stop clear. systemd's own RestartSteps= is not in version 252, and where
it is, a crash in spring makes one in autumn wait as long.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.service import Service

log = logging.getLogger(__name__)

NAME: Final = "starts.json"
LATELY_S: Final = 600.0
AT_ONCE_MAX: Final = 3  # starts that do not wait
DELAY_S_MAX: Final = 15.0
KEPT_MAX: Final = 32  # starts
START_S: Final = 60.0  # for the start behind the wait


def delay_s(ages_s: Sequence[float]) -> float:
    """Return how long to wait before starting, by the ages of the starts before that had no orderly end."""
    lately = sum(0 <= age_s < LATELY_S for age_s in ages_s)
    return 0.0 if lately < AT_ONCE_MAX else min(2.0 ** (lately - AT_ONCE_MAX), DELAY_S_MAX)


class Restarts:
    """The starts without an orderly end since boot, or since the service was stopped."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Without a runtime folder (systemd's RuntimeDirectory=) nothing is remembered."""
        folder = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._file = Path(folder) / NAME if folder else None

    def begin(self, now_s: float) -> float:
        """Note a start; return how long to wait before it. `now_s` is of a clock that only goes on."""
        if self._file is None:
            return 0.0
        before: list[float] = []
        with contextlib.suppress(OSError, ValueError, TypeError):
            before = [float(each) for each in json.loads(self._file.read_text())][-KEPT_MAX:]
        with contextlib.suppress(OSError):  # it starts at once, then
            self._file.write_text(json.dumps([*before, now_s]))
        return delay_s([now_s - each for each in before])

    def wait(self, service: Service) -> None:
        """Note a start, and wait before it when there were too many. BLOCKING; SIGTERM ends it."""
        wait_s = self.begin(time.monotonic())
        if wait_s:
            service.extend(wait_s + START_S)
            service.status(f"ended again and again: starts in {wait_s:.0f} s")
            log.warning("ended without order again and again: waiting %.0f s before this start", wait_s)
            time.sleep(wait_s)

    def over(self) -> None:
        """Forget them: this one ends in good order."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()
