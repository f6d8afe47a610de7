"""How a verb of the command line is declared: its words, its help with examples, its function."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.errors import probably_meant

OK, BAD, USAGE, CONFIG_FAULT = 0, 1, 2, 78  # exit codes, see main.py
INTERRUPTED, PIPE_CLOSED = 130, 141
NICE = 10  # added to the niceness of a verb that works for long

CONFIG = Path("/etc/edge-gateway/gateway.toml")
HERE = "gateway.toml"  # what is asked about when the config is missing and this lies in the working directory

DEVICE_NAMES = "devices list --names"  # prints what may stand for a device
NEW_NAMES = "devices list --names --new"  # those that are not adopted
RULE_NAMES = "rules list --names"  # prints what may stand for a rule

Run = Callable[[argparse.Namespace], int]
"""Does the verb; returns the exit code."""

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Verbs = Any


class Parser(argparse.ArgumentParser):
    """A parser whose complaint about a verb says which one was probably meant, or which there are."""

    def error(self, message: str) -> NoReturn:
        """Print usage and what is wrong; the exit code is 2."""
        names = [name for action in self._actions if action.metavar == "VERB" for name in action.choices or ()]
        if unknown := re.match("argument VERB: invalid choice: '(.*?)'", message):
            hint = probably_meant(unknown[1], names) or f"there are {', '.join(names)}"
            message = f"there is no verb {unknown[1]!r} ({hint})"
        elif names and "required: VERB" in message:
            message = f"say what: {', '.join(names)}; `{self.prog} --help` explains them"
        super().error(message)


def group(verbs: Verbs, name: str, title: str) -> Verbs:
    """Add a word that is followed by another one: ``journal stat``."""
    parser = verbs.add_parser(name, help=title, description=_sentence(title))
    return parser.add_subparsers(title="verbs", metavar="VERB", required=True)


def add(
    verbs: Verbs, name: str, title: str, run: Run, *, examples: Sequence[str], json: bool = False, config: bool = True
) -> argparse.ArgumentParser:
    """Add a verb; `title` is its line in the list of verbs, `examples` stand at the end of its help."""
    parser = verbs.add_parser(
        name,
        help=title,
        description=_sentence(title),
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if config:
        parser.add_argument("--config", metavar="FILE", type=Path, default=_config(), help=f"default: {CONFIG}")
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(function=run)
    return parser


def completed(argument: argparse.Action, by: str) -> None:
    """Say which words of ours print, one a line, what may stand for an argument: for the shell's completion."""
    argument.completed_by = by  # type: ignore[attr-defined] # argparse lets an action carry more


def step_aside() -> None:
    """Let the gateway on this machine go first, from now on: for a verb that works for long."""
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(NICE)


def _config() -> Path:
    return Path(os.environ.get("EDGE_GATEWAY_CONFIG") or CONFIG)


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:] + "."
