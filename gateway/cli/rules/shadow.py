"""`rules shadow`: a candidate beside the live rules, on what happens now; nothing of it is executed."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.asking.running import connected
from gateway.cli.rules import desk
from gateway.cli.rules.backtest import MARKS, VERDICTS, say_counts, tell
from gateway.cli.rules.desk import Stop
from gateway.cli.rules.place import Place
from gateway.cli.terminal.printing import complain, say, say_json
from gateway.cli.times import seconds
from gateway.cli.verb import BAD, OK, USAGE, Verbs, add, step_aside
from gateway.clock import NS_PER_S
from gateway.errors import GatewayError
from gateway.quantity import duration

if TYPE_CHECKING:
    from gateway.api.client import ApiClient
    from gateway.rules.desk.backtest import Backtest
    from gateway.rules.desk.comparison import Comparison, Difference
    from gateway.rules.desk.tally import Action

WAIT_NS = 10 * NS_PER_S  # how long an output of one side waits for the other's


def add_verbs(verbs: Verbs) -> None:
    """Declare `rules shadow`."""
    parser = add(
        verbs,
        "shadow",
        "run a rule file beside the live rules and compare what both do; nothing of it is executed",
        shadow,
        examples=[
            "edge-gateway rules shadow draft.py",
            "edge-gateway rules shadow draft.py --for 10m --json",
        ],
        json=True,
    )
    desk.add_words(parser, several=False)
    parser.add_argument("--for", type=seconds, dest="for_s", metavar="TIME", help="such as 10m; default: to Ctrl-C")
    desk.call_limit(parser)


def shadow(words: argparse.Namespace) -> int:
    """Run it until Ctrl-C; 1 when the candidate failed or did something else than the live rules."""
    from gateway.rules.desk.candidate import CallLimit
    from gateway.rules.desk.comparison import Comparison

    step_aside()
    place = Place(words)
    loaded = place.load([words.file])
    if loaded is None:
        return USAGE
    limit, stop, cut = CallLimit(words.call_limit), Stop(), ""
    comparison = Comparison(_Teller(as_json=words.json), WAIT_NS)
    with connected(words.config) as client:
        standing = client.ask("rules_standing")
        ends = time.monotonic() + words.for_s if words.for_s else None
        test = _beside(client, standing, place, loaded, comparison, limit, lambda: stop.wanted or _past(ends))
        if words.json:
            say_json({"rules": sorted(test.candidate.names), "after": standing["after"]})
        else:
            names = ", ".join(sorted(test.candidate.names))
            until = f"for {duration(words.for_s)}" if words.for_s else "until Ctrl-C"
            say(f"{names} beside the live rules, {until}; nothing of it is executed", "bold")
            say(", ".join(f"{MARKS[verdict]} {verdict}" for verdict in VERDICTS), "dim")
        sys.stdout.flush()
        try:
            with stop.armed(), limit.armed():
                for _ in test.run():
                    sys.stdout.flush()
        except GatewayError as error:  # the gateway went away: what there is so far is what is wanted now
            cut = str(error)
        test.end()
    _say_summary(test, comparison, as_json=words.json)
    if cut:
        complain(f"edge-gateway: {cut}")
    differs = any(set(counts) - {"same"} for counts in comparison.counts.values())
    return BAD if cut or differs or test.tally.faults else OK


def _past(ends: float | None) -> bool:
    return ends is not None and time.monotonic() >= ends


def _beside(
    client: ApiClient,
    standing: dict[str, Any],
    place: Place,
    loaded: Any,
    comparison: Comparison,
    limit: Any,
    over: Any,
) -> Backtest:
    """Set the candidate up where the live rules are."""
    from gateway.rules.desk.backtest import Backtest, Window
    from gateway.rules.desk.following import Following

    encode = msgspec.json.Encoder().encode
    following = Following(client.stream("rules_records", after=standing["after"]), encode, over)
    window = Window(
        after=standing["after"],
        through=sys.maxsize,
        done_before=standing["last"],
        since_ns=standing["wall_ns"],
        tables=standing["tables"],
    )
    return Backtest(
        following, loaded, place.installation(standing["log_id"]), window,
        tell=_nothing, watch=limit, comparison=comparison,
    )  # fmt: skip


class _Teller:
    """Prints each difference, and what is the same, as it is found."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json

    def __call__(self, found: Difference) -> None:
        """Print it."""
        tell(found, as_json=self._json)
        sys.stdout.flush()


def _nothing(_done: Action) -> None:
    """Print nothing: the comparison will."""


def _say_summary(test: Backtest, comparison: Comparison, *, as_json: bool) -> None:
    from gateway.rules.desk.backtest import summary

    found = summary(test) | {"comparison": {name: comparison.counts[name] for name in sorted(comparison.counts)}}
    if as_json:
        say_json({"summary": found})
        return
    say()
    if not comparison.counts:
        say(f"neither version did anything in {test.records:,} records")
    say_counts(found)
