"""`python -m simulators.cuts --count N --seed S --json`: power cuts against the journal, any number of them.

Run n of seed S is run S + n for ever: `python -m simulators.cuts --count 1 --seed <failing seed>` shows it again.
Progress goes to a terminal's standard error; with --json the last line is one object. Exit code 1 when anything
that was acknowledged is lost, an id changed, a ghost came back or a start was refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from simulators.journal import Run
from simulators.model import Findings

CUTS_PER_RUN = 20
FAILED_SHOWN_MAX = 20


def cut(count: int, seed: int, progress: bool = False) -> dict[str, object]:
    """Cut the power `count` times in runs of CUTS_PER_RUN; returns what was counted."""
    total, failed, number, began = Findings(), [], seed, time.monotonic()
    while total.cuts < count:
        found = Run(number).run(min(CUTS_PER_RUN, count - total.cuts))
        for name in ("cuts", "starts", "acknowledged", "evicted", "lost", "ghosts", "changed_ids", "refused_starts"):
            setattr(total, name, getattr(total, name) + getattr(found, name))
        for reason, dropped in found.dropped.items():
            total.dropped[reason] = total.dropped.get(reason, 0) + dropped
        if not found.sound:
            total.broken += [f"seed {number}: {what}" for what in found.broken]
            failed.append(number)
        number += 1
        if progress:
            rate = total.cuts / max(time.monotonic() - began, 1e-3)
            wrong = f"{len(failed)} runs wrong" if failed else "nothing lost"
            print(f"\r{total.cuts}/{count} power cuts, {rate:.0f}/s, {wrong}  ", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    return {
        "cuts": total.cuts,
        "starts": total.starts,
        "acknowledged": total.acknowledged,
        "evicted_counted": total.evicted,
        "dropped": total.dropped,
        "lost": total.lost,
        "ghosts": total.ghosts,
        "changed_ids": total.changed_ids,
        "refused_starts": total.refused_starts,
        "broken": total.broken[:FAILED_SHOWN_MAX],
        "failed_seeds": failed[:FAILED_SHOWN_MAX],
        "seed": seed,
    }


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="simulators.cuts", description="Power cuts against the journal, by seed.")
    parser.add_argument("--count", type=int, default=2000, help="power cuts in all (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run (default 1)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    words = parser.parse_args(arguments)
    result = cut(words.count, words.seed, progress=sys.stderr.isatty())
    if words.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:16} {value}")
    wrong = ("lost", "ghosts", "changed_ids", "refused_starts", "broken", "failed_seeds")
    return int(any(result[name] for name in wrong))


if __name__ == "__main__":
    sys.exit(main())
