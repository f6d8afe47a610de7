"""The words of `profiles` and `rules`; what they do is in `cli/profiles/` and `cli/rules/`."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.rules import backtest, debugging, shadow, versions
from gateway.cli.rules import verbs as rule_verbs
from gateway.cli.verb import Verbs, add, group


def add_verbs(verbs: Verbs) -> None:
    """Declare both groups."""
    _profiles(group(verbs, "profiles", "device profiles: list, decode messages, test with their samples"))
    rules = group(verbs, "rules", "rules: new, list, test, backtest, shadow, debug, why, logs")
    _rules(rules)
    rule_verbs.add_verbs(rules)
    backtest.add_verbs(rules)
    shadow.add_verbs(rules)
    debugging.add_verbs(rules)
    versions.add_verbs(rules)


def _profiles(verbs: Verbs) -> None:
    listing = add(
        verbs,
        "list",
        "the profiles the gateway knows",
        profiles_list,
        examples=["edge-gateway profiles list", "edge-gateway profiles list --json"],
        json=True,
    )
    decode = add(
        verbs,
        "decode",
        "decode messages: JSON lines on standard input, JSON lines out",
        profiles_decode,
        examples=[
            'echo \'{"topic": "shellies/shellydw-1/sensor/state", "payload": "open"}\' | edge-gateway profiles decode',
            "edge-gateway profiles decode < messages.jsonl",
        ],
    )
    test = add(
        verbs,
        "test",
        "test profiles against the samples beside them",
        profiles_test,
        examples=["edge-gateway profiles test", "edge-gateway profiles test my-profiles/attic-sensor.toml"],
        json=True,
    )
    test.add_argument("files", nargs="*", type=Path, metavar="FILE", help="profiles; default: all")
    add(
        verbs,
        "schema",
        "print the JSON Schema of a profile file, for editors",
        profiles_schema,
        examples=["edge-gateway profiles schema > my-profiles/profile.schema.json"],
    )
    for parser in (listing, decode, test):
        parser.add_argument(
            "--profiles",
            action="append",
            default=[],
            type=Path,
            metavar="FOLDER",
            help="a folder with profiles, beside the shipped ones",
        )


def _rules(verbs: Verbs) -> None:
    listing = add(
        verbs,
        "list",
        "the rules, how they do in the running gateway, and what is wrong with their files",
        rules_list,
        examples=["edge-gateway rules list", "edge-gateway rules list --device front-door --json"],
        json=True,
    )
    listing.add_argument("--device", metavar="DEVICE", help="only rules that look at this device (id or name)")
    listing.add_argument("--names", action="store_true", help="only the names, one a line")
    test = add(
        verbs,
        "test",
        "run the tests that rule files carry",
        rules_test,
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


def profiles_list(words: argparse.Namespace) -> int:
    """List profiles."""
    from gateway.cli.profiles.reading import listing

    return listing(words)


def profiles_decode(words: argparse.Namespace) -> int:
    """Decode messages."""
    from gateway.cli.profiles.reading import decode

    return decode(words)


def profiles_schema(_words: argparse.Namespace) -> int:
    """Print the schema."""
    from gateway.cli.profiles.schema import profile_schema
    from gateway.cli.terminal.printing import say

    say(profile_schema().rstrip())
    return 0


def profiles_test(words: argparse.Namespace) -> int:
    """Test profiles."""
    from gateway.cli.profiles.reading import test

    return test(words)


def rules_list(words: argparse.Namespace) -> int:
    """List rules."""
    from gateway.cli.rules.listing import listing

    return listing(words)


def rules_test(words: argparse.Namespace) -> int:
    """Run rules' own tests."""
    from gateway.cli.rules.tests import test

    return test(words)
