"""The words of `profiles`; what they do is in the modules beside."""

from __future__ import annotations

import argparse
from pathlib import Path

from gateway.cli.verb import OK, Verbs, add, group


def add_verbs(verbs: Verbs) -> None:
    """Declare the group."""
    words = group(verbs, "profiles", "device profiles: list, decode messages, test with their samples")
    listing = add(
        words,
        "list",
        "the profiles the gateway knows",
        _list,
        examples=["edge-gateway profiles list", "edge-gateway profiles list --json"],
        json=True,
    )
    decode = add(
        words,
        "decode",
        "decode messages: JSON lines on standard input, JSON lines out",
        _decode,
        examples=[
            'echo \'{"topic": "shellies/shellydw-1/sensor/state", "payload": "open"}\' | edge-gateway profiles decode',
            "edge-gateway profiles decode < messages.jsonl",
        ],
    )
    test = add(
        words,
        "test",
        "test profiles against the samples beside them",
        _test,
        examples=["edge-gateway profiles test", "edge-gateway profiles test my-profiles/attic-sensor.toml"],
        json=True,
    )
    test.add_argument("files", nargs="*", type=Path, metavar="FILE", help="profiles; default: all")
    add(
        words,
        "schema",
        "print the JSON Schema of a profile file, for editors",
        _schema,
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


def _list(words: argparse.Namespace) -> int:
    """List profiles."""
    from gateway.cli.profiles.reading import listing

    return listing(words)


def _decode(words: argparse.Namespace) -> int:
    """Decode messages."""
    from gateway.cli.profiles.reading import decode

    return decode(words)


def _test(words: argparse.Namespace) -> int:
    """Test profiles."""
    from gateway.cli.profiles.reading import test

    return test(words)


def _schema(_words: argparse.Namespace) -> int:
    """Print the schema."""
    from gateway.cli.profiles.schema import profile_schema
    from gateway.cli.terminal.printing import say

    say(profile_schema().rstrip())
    return OK
