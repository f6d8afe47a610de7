"""`run`: the daemon."""

from __future__ import annotations

import argparse
import os

from gateway.cli.verb import Verbs, add


def add_verbs(verbs: Verbs) -> None:
    """Declare `run` and `demo`."""
    parser = add(
        verbs,
        "run",
        "run the gateway in the foreground, as the service does",
        run,
        examples=[
            "edge-gateway run",
            "edge-gateway run --config ./gateway.toml --log debug",
            "edge-gateway run --log json",
        ],
    )
    parser.add_argument("--log", default="", metavar="WORDS", help="how much and how: debug, json, or debug,json")
    parser = add(
        verbs,
        "demo",
        "devices, rules, an outage and a cloud in one process tree; no hardware, nothing to set up",
        demo,
        examples=["edge-gateway demo", "edge-gateway demo --seconds 30 --json"],
        json=True,
        config=False,
    )
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same devices and outage")


def run(words: argparse.Namespace) -> int:
    """Load the config and serve until told to stop."""
    from gateway.config.load import load
    from gateway.logs.options import LogOptions
    from gateway.logs.output import VARIABLE, chosen

    if words.log:
        before = os.environ.get(VARIABLE, "")
        os.environ[VARIABLE] = f"{before},{words.log}"  # it counts over what the config says, at a reload, too
        chosen(LogOptions(), os.environ)  # a word that is none is said now
    config = load(words.config)
    from gateway.daemon import serve  # costly: after the config is known to be good

    return serve(config)


def demo(words: argparse.Namespace) -> int:
    """Run the demonstration."""
    from gateway.cli.demo import run as run_demo

    return run_demo(words)
