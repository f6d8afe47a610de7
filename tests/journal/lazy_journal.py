"""The journal's process with the fdatasync left out: what the power-cut rig must find."""

from __future__ import annotations

import sys

from gateway.journal.disk import OsDisk
from simulators.journal_process import main


def _nothing(_disk: OsDisk, _handle: int) -> None:
    """Do what a forgotten call does."""


if __name__ == "__main__":
    OsDisk.fdatasync = _nothing  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
