"""``python -m lab SUITE SCRIPT [FILES]``: boot a throw-away Debian, run a script in it, show what it printed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from lab.machine import LIMIT_S, Machine
from lab.roots import SUITES, LabError


def main() -> int:
    """Run one script."""
    parser = argparse.ArgumentParser(prog="./dev boot", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("script", type=Path)
    parser.add_argument("files", type=Path, nargs="*", help="beside the script, in its working directory")
    parser.add_argument("--disk", type=Path, help="keep the machine's disk here: the next call is its next boot")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help=f"default: {LIMIT_S:g}")
    words = parser.parse_args()
    folder = words.disk or Path(tempfile.mkdtemp(prefix="edge-gateway-lab-"))
    try:
        machine = Machine(words.suite, folder.absolute())
        machine.boots = len(list(folder.glob("boot-*")))
        boot = machine.boot(words.script.read_text(), words.files, limit_s=words.limit)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 125
    sys.stdout.write(boot.console)
    print(f"console, journal: {boot.folder}", file=sys.stderr)
    if not words.disk:
        machine.discard()
    return 124 if boot.code is None else boot.code


if __name__ == "__main__":
    sys.exit(main())
