"""`rules backtest`: what rules would have done in what the journal has recorded."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.rules import desk
from gateway.cli.rules.desk import Stop
from gateway.cli.rules.place import Place
from gateway.cli.terminal.printing import Colour, complain, printable, say, say_json, table
from gateway.cli.terminal.progress import Progress
from gateway.cli.times import add_range
from gateway.cli.verb import BAD, INTERRUPTED, OK, USAGE, Verbs, add, step_aside
from gateway.clock import rfc3339, wall_ns_of
from gateway.quantity import counted

if TYPE_CHECKING:
    from gateway.journal.inspection import Inspection
    from gateway.rules.desk.backtest import Backtest, Window
    from gateway.rules.desk.comparison import Comparison, Difference
    from gateway.rules.desk.tally import Action

VERDICTS = ("same", "changed", "only live", "only candidate")
MARKS = {"same": "=", "changed": "~", "only live": "-", "only candidate": "+"}
COLOURS: dict[str, Colour] = {"changed": "yellow", "only live": "red", "only candidate": "green"}


def add_verbs(verbs: Verbs) -> None:
    """Declare `rules backtest`."""
    parser = add(
        verbs,
        "backtest",
        "run rules over the recorded journal and print what they would have done; nothing is executed",
        backtest,
        examples=[
            "edge-gateway rules backtest rules/left_open.py --since 7d",
            "edge-gateway rules backtest --since 2026-11-22T18:00:00Z --until 2026-11-23T06:00:00Z --diff",
            "edge-gateway rules backtest draft.py --journal /mnt/card/journal --type 'door_*' --json",
        ],
        json=True,
    )
    desk.add_words(parser, several=True)
    add_range(parser, what="what was written", default="all")
    parser.add_argument("--device", action="append", default=[], metavar="ID", help="id or its name part, with * and ?")
    parser.add_argument("--type", action="append", default=[], metavar="TYPE", help="event type, with * and ?")
    parser.add_argument("--journal", type=Path, metavar="FOLDER", help="default: as the config says")
    parser.add_argument("--empty", action="store_true", help="begin with no state, not with that of --since")
    parser.add_argument("--diff", action="store_true", help="compare with what these rules did then; 1 if they differ")
    parser.add_argument("--summary", action="store_true", help="print counts only")
    desk.call_limit(parser)


def backtest(words: argparse.Namespace) -> int:
    """Run it; 1 when a rule failed, or did something else than then; 130 with what there is so far after Ctrl-C."""
    from gateway.cli.asking.offline import inspected
    from gateway.journal.through import Through
    from gateway.rules.desk.backtest import Backtest
    from gateway.rules.desk.candidate import CallLimit
    from gateway.rules.desk.comparison import Comparison

    step_aside()
    place = Place(words)
    loaded = place.load(words.files)
    if loaded is None:
        return USAGE
    inspection = inspected(words.config, words.journal)
    progress, limit = Progress(), CallLimit(words.call_limit)
    teller = _Teller(words, progress)
    comparison = Comparison(teller.difference) if words.diff else None
    test = Backtest(
        Through(inspection), loaded, place.installation(inspection.log_id), _window(words, inspection),
        tell=_nothing if words.diff else teller.action, wanted=_wanted(words), watch=limit, comparison=comparison,
    )  # fmt: skip
    stop, started = Stop(), time.monotonic()
    try:
        with stop.armed(), limit.armed():
            _run(test, progress, inspection, words, stop)
    finally:
        progress.clear()
    ended = not stop.wanted
    spent = time.monotonic() - started
    _say_summary(test, comparison, words, ended=ended, gap=teller.told)
    sys.stdout.flush()
    if sys.stderr.isatty():
        print(f"{test.records:,} records in {spent:.1f} s, {test.records / max(spent, 1e-9):,.0f} a second",
              file=sys.stderr)  # fmt: skip
    differs = comparison is not None and any(set(counts) - {"same"} for counts in comparison.counts.values())
    return INTERRUPTED if not ended else BAD if test.tally.faults or differs else OK


def _run(test: Backtest, progress: Progress, inspection: Inspection, words: argparse.Namespace, stop: Stop) -> None:
    begin = test.now_ns
    end = wall_ns_of(words.until) if words.until else max((e.wall_last for e in inspection.entries), default=0)
    for _ in test.run():
        progress.draw((test.now_ns - begin) / max(1, end - begin), f"{test.records:,} records")
        if stop.wanted:
            return
    test.end()


def _window(words: argparse.Namespace, inspection: Inspection) -> Window:
    """Return the part of the journal, with the tables of its beginning where the journal still knows them."""
    from gateway.journal.asof import as_of
    from gateway.rules.desk.backtest import Window

    chain = [entry for entry in inspection.entries if not entry.survivors]
    oldest_ns = min((entry.wall_first for entry in inspection.entries if entry.wall_first), default=0)
    since_ns = wall_ns_of(words.since) if words.since else oldest_ns
    until_ns = wall_ns_of(words.until) if words.until else None
    found = as_of(inspection, since_ns)
    if words.since and found.tables is None and not words.empty and chain and chain[0].first > 1:
        complain(f"the journal does not reach back to {rfc3339(since_ns)}: it begins with no state")
    known = found.tables is not None
    return Window(
        after=found.after if words.since and known else 0,
        from_ns=since_ns if words.since and not known else 0,
        through=inspection.last_sequence,
        since_ns=max(since_ns, oldest_ns),
        until_ns=until_ns,
        tables=None if words.empty or not words.since else found.tables,
    )


def _wanted(words: argparse.Namespace) -> Callable[[str, str], bool] | None:
    from gateway.history.query import EventFilter, Sieve

    if not words.device and not words.type:
        return None
    sieve = Sieve(msgspec.convert({"types": words.type, "devices": words.device}, EventFilter))
    return lambda kind, device: sieve.names((kind, device))


class _Teller:
    """Prints what rules would have done, as it comes."""

    def __init__(self, words: argparse.Namespace, progress: Progress) -> None:
        self._json, self._quiet = words.json, words.summary
        self._progress = progress
        self.told = False

    def action(self, done: Action) -> None:
        """Print one thing a rule would have done."""
        from gateway.rules.desk.tally import line

        if self._quiet:
            return
        self._progress.clear()
        self.told = True
        if self._json:
            say_json(done)
        else:
            say(printable(line(done)))

    def difference(self, found: Difference) -> None:
        """Print what one version did and the other did not."""
        if self._quiet or (found.verdict == "same" and not self._json):
            return
        self._progress.clear()
        self.told = True
        tell(found, as_json=self._json)


def tell(found: Difference, *, as_json: bool) -> None:
    """Print a difference."""
    from gateway.rules.desk.tally import line

    if as_json:
        say_json(found)
        return
    text = line(found.action)
    if found.verdict == "changed" and found.live is not None:
        text += f"  (live: {found.live.what})"
    say(printable(f"{MARKS[found.verdict]} {text}"), COLOURS.get(found.verdict))


def _nothing(_done: Action) -> None:
    """Print nothing: the comparison will."""


def _say_summary(
    test: Backtest, comparison: Comparison | None, words: argparse.Namespace, *, ended: bool, gap: bool
) -> None:
    from gateway.rules.desk.backtest import summary

    found = summary(test) | {"complete": ended, "until": rfc3339(test.now_ns)}
    if comparison is not None:
        found["comparison"] = {name: comparison.counts[name] for name in sorted(comparison.counts)}
    if words.json:
        say_json({"summary": found})
        return
    if gap:
        say()
    if not ended:
        say(f"ended early, at {found['until']}: this is what there is so far", "yellow")
    say_counts(found)


def say_counts(found: dict[str, Any]) -> None:
    """Print the counts of a summary, its comparison and its faults."""
    rules: dict[str, dict[str, Any]] = found["rules"]
    kinds = sorted({kind for counts in rules.values() for kind in counts} - {"calls", "first", "last"})
    rows = [
        (name, counts["calls"], *(counts.get(kind, "") for kind in kinds), counts["first"], counts["last"])
        for name, counts in rules.items()
    ]
    table(("rule", "calls", *kinds, "first", "last"), rows)
    if not any(counts["calls"] for counts in rules.values()):
        until = f", up to {found['until']}; what is due later: --until 0s" if "until" in found else ""
        say(f"no rule would have run in {found['records']:,} records{until}")
    if found.get("comparison"):
        say()
        compared = found["comparison"]
        table(
            ("rule", *VERDICTS), [(name, *(row.get(each, "") for each in VERDICTS)) for name, row in compared.items()]
        )
    if found["missing"]:
        say(f"{found['missing']:,} records could not be read: damaged, or given up by the gateway meanwhile", "yellow")
    for fault in found["faults"]:
        where = f"{fault['file']}:{fault['line']}: " if fault["line"] else ""
        times = f" ({fault['times']:,} times, first {fault['first']})"
        say(f"{where}{fault['rule']}: {fault['what']}{times}", "red")
    if found["more_faults"]:
        say(f"and {counted(found['more_faults'], 'fault')} more, beyond the first {len(found['faults']):,}", "red")
