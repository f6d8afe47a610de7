"""The words of `rules new`, `catalogue`, `why` and `logs`; what they do is in the modules named like them."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.verb import RULE_NAMES, Verbs, add, completed

RULES_TO_TAKE = "rules catalogue --names"
TEMPLATES = ("event", "door", "warm", "light", "schedule")  # of gateway/cli/rules/templates.py


def add_verbs(verbs: Verbs) -> None:
    """Declare what writes a rule and what asks about one."""
    words = add(
        verbs,
        "new",
        "write a new rule with comments and a test that passes",
        rules_new,
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
        rules_catalogue,
        examples=["edge-gateway rules catalogue", "edge-gateway rules catalogue --json"],
        json=True,
    )
    words.add_argument("--names", action="store_true", help="only the names, one a line")
    words = add(
        verbs,
        "why",
        "why a rule did (not) run: each test with its value now, what it waits for and holds, its last looks",
        rules_why,
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
        rules_logs,
        examples=["edge-gateway rules logs --follow", "edge-gateway rules logs left_open"],
        json=True,
    )
    completed(words.add_argument("name", nargs="?", metavar="NAME", help="only this rule's"), RULE_NAMES)
    words.add_argument("--follow", "-f", action="store_true", help="go on with what they say from now on")
    words.add_argument("--limit", type=int, metavar="N", help="the newest N (default: all that is in memory)")


def rules_new(words: argparse.Namespace) -> int:
    """Write a rule."""
    from gateway.cli.rules.new import new

    return new(words)


def rules_catalogue(words: argparse.Namespace) -> int:
    """List what comes with the gateway."""
    from gateway.cli.rules.catalogue import catalogue

    return catalogue(words)


def rules_why(words: argparse.Namespace) -> int:
    """Say why a rule did (not) run."""
    from gateway.cli.rules.why import why

    return why(words)


def rules_logs(words: argparse.Namespace) -> int:
    """Print what rules said."""
    from gateway.cli.rules.logs import logs

    return logs(words)
