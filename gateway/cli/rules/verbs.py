"""The words of `rules`; what they do is in the modules beside, which are loaded when it is done."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.rules import backtest, debugging, shadow, versions
from gateway.cli.verb import RULE_NAMES, Verbs, add, completed, group

RULES_TO_TAKE = "rules catalogue --names"
TEMPLATES = ("event", "door", "warm", "light", "schedule")  # of gateway/cli/rules/templates.py


def add_verbs(verbs: Verbs) -> None:
    """Declare the group."""
    words = group(verbs, "rules", "rules: new, list, test, backtest, shadow, debug, why, logs")
    _list_and_test(words)
    _new(words)
    _ask(words)
    backtest.add_verbs(words)
    shadow.add_verbs(words)
    debugging.add_verbs(words)
    versions.add_verbs(words)


def _list_and_test(verbs: Verbs) -> None:
    listing = add(
        verbs,
        "list",
        "the rules, how they do in the running gateway, and what is wrong with their files",
        _list,
        examples=["edge-gateway rules list", "edge-gateway rules list --device front-door --json"],
        json=True,
    )
    listing.add_argument("--device", metavar="DEVICE", help="only rules that look at this device (id or name)")
    listing.add_argument("--names", action="store_true", help="only the names, one a line")
    test = add(
        verbs,
        "test",
        "run the tests that rule files carry",
        _test,
        examples=["edge-gateway rules test", "edge-gateway rules test rules/left_open.py -k bath"],
        json=True,
    )
    test.add_argument("files", nargs="*", type=Path, metavar="FILE", help="rule files; default: all")
    test.add_argument(
        "-k", default="", metavar="WORDS", dest="chosen", help="only tests with these words: 'door and not night'"
    )
    test.add_argument("--junit", type=Path, metavar="FILE", help="write the results as JUnit XML, too")
    test.add_argument("--coverage", action="store_true", help="say what of the rules no test saw at work")
    for parser in (listing, test):
        parser.add_argument("--rules", type=Path, metavar="FOLDER", help="default: as the config says")


def _new(verbs: Verbs) -> None:
    words = add(
        verbs,
        "new",
        "write a new rule with comments and a test that passes",
        _write_new,
        examples=[
            "edge-gateway rules new kitchen_window",
            "edge-gateway rules new terrace_door --template door",
            "edge-gateway rules new frost_guard",
        ],
        json=True,
    )
    name = words.add_argument("name", metavar="NAME", help="of the rule and its file: letters, digits and _")
    completed(name, RULES_TO_TAKE)
    template = words.add_argument(
        "--template",
        metavar="TEMPLATE",
        help="what to begin with, see `rules catalogue`; default: the rule of that NAME there, else event",
    )
    completed(template, RULES_TO_TAKE)
    words.add_argument("--rules", type=Path, metavar="FOLDER", help="default: as the config says")
    words = add(
        verbs,
        "catalogue",
        "the rules and templates that come with the gateway, for `rules new`",
        _catalogue,
        examples=["edge-gateway rules catalogue", "edge-gateway rules catalogue --json"],
        json=True,
    )
    words.add_argument("--names", action="store_true", help="only the names, one a line")


def _ask(verbs: Verbs) -> None:
    words = add(
        verbs,
        "why",
        "why a rule did (not) run: each test with its value now, what it waits for and holds, its last looks",
        _why,
        examples=["edge-gateway rules why left_open", "edge-gateway rules why left_open --device front-door --json"],
        json=True,
    )
    completed(words.add_argument("name", metavar="NAME", help="of the rule"), RULE_NAMES)
    words.add_argument("--device", metavar="DEVICE", help="only for this device (id or name)")
    words.add_argument("--last", type=int, default=10, metavar="N", help="looks shown (default: 10)")
    words = add(
        verbs,
        "logs",
        "what rules said (ctx.log) and their faults with stacks, since the gateway started",
        _logs,
        examples=["edge-gateway rules logs --follow", "edge-gateway rules logs left_open"],
        json=True,
    )
    completed(words.add_argument("name", nargs="?", metavar="NAME", help="only this rule's"), RULE_NAMES)
    words.add_argument("--follow", "-f", action="store_true", help="go on with what they say from now on")
    words.add_argument("--limit", type=int, metavar="N", help="the newest N (default: all that is in memory)")


def _list(words: argparse.Namespace) -> int:
    """List rules."""
    from gateway.cli.rules.listing import listing

    return listing(words)


def _test(words: argparse.Namespace) -> int:
    """Run rules' own tests."""
    from gateway.cli.rules.tests import test

    return test(words)


def _write_new(words: argparse.Namespace) -> int:
    """Write a rule."""
    from gateway.cli.rules.new import new

    return new(words)


def _catalogue(words: argparse.Namespace) -> int:
    """List what comes with the gateway."""
    from gateway.cli.rules.catalogue import catalogue

    return catalogue(words)


def _why(words: argparse.Namespace) -> int:
    """Say why a rule did (not) run."""
    from gateway.cli.rules.why import why

    return why(words)


def _logs(words: argparse.Namespace) -> int:
    """Print what rules said."""
    from gateway.cli.rules.logs import logs

    return logs(words)
