"""Times and durations as people type them. What is neither is wrong usage."""

from __future__ import annotations

import argparse
import time

from gateway.clock import NS_PER_S, rfc3339, wall_ns_of
from gateway.quantity import duration_s


def add_range(parser: argparse.ArgumentParser, *, what: str = "what happened", default: str = "") -> None:
    """Declare --since and --until."""
    add_since(parser, default=default)
    parser.add_argument("--until", type=moment, metavar="TIME", help=f"{what} before this time, written as for --since")


def add_since(parser: argparse.ArgumentParser, *, default: str = "") -> None:
    """Declare --since."""
    about = "10m, 2h, 7d, or a time as 2026-11-23T06:00:00Z" + (f"; default: {default}" if default else "")
    parser.add_argument("--since", type=moment, metavar="TIME", help=about)


def seconds(text: str) -> float:
    """Read a duration."""
    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def moment(text: str) -> str:
    """Read a moment, or how long ago it was, as RFC 3339 in UTC."""
    try:
        return rfc3339(time.time_ns() - int(duration_s(text) * NS_PER_S))
    except ValueError:
        pass
    try:
        return rfc3339(wall_ns_of(text))
    except ValueError:
        what = f"{text!r} is not a time: write 10m, 2h, 7d or 2026-11-23T06:00:00Z"
        raise argparse.ArgumentTypeError(what) from None
