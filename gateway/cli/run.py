"""`run`: the daemon."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from gateway.cli.terminal.printing import complain
from gateway.cli.verb import BAD, CONFIG_FAULT, Verbs, add

if TYPE_CHECKING:
    from gateway.errors import GatewayError


def add_verbs(verbs: Verbs) -> None:
    """Declare it."""
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


def run(words: argparse.Namespace) -> int:
    """Load the config and serve until told to stop; why not goes to the journal with its code, where that listens."""
    from gateway.errors import ConfigError, GatewayError, NewerFormat
    from gateway.logs.output import is_the_journal

    try:
        return _serve(words)
    except GatewayError as error:
        if not is_the_journal(os.environ):
            raise  # to a person as one line
        _say(error)
        return CONFIG_FAULT if isinstance(error, ConfigError | NewerFormat) else BAD


def _serve(words: argparse.Namespace) -> int:
    """Serve with the config that counts; start again when another one does. SIGHUP ends it at no time."""
    import gc
    import signal

    gc.disable()  # what a start makes stays: looking for garbage is a fifth of its work; `serve` ends this
    from gateway.bundles.starting import Start, again
    from gateway.clock import SystemClock
    from gateway.config.load import load
    from gateway.config.startable import startable
    from gateway.logs.options import LogOptions
    from gateway.logs.output import VARIABLE, chosen
    from gateway.service import AGAIN

    if words.log:
        before = os.environ.get(VARIABLE, "")
        os.environ[VARIABLE] = f"{before},{words.log}"  # it counts over what the config says, at a reload, too
        chosen(LogOptions(), os.environ)  # a word that is none is said now
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # no file has been read yet
    start = Start(words.base, SystemClock())
    try:
        config = load(start.file) if start.tried else startable(start.file)
        from gateway.daemon import serve  # costly: after the config is known to be good

        code = serve(config)
    except Exception as error:  # whatever it is, of a config that is only tried: the one before is started
        if not start.failed(error):
            raise
        complain(f"{error}; the config before counts again")
        code = AGAIN
    if code == AGAIN:
        again()
    return code


def _say(error: GatewayError) -> None:
    """Log why the gateway does not start."""
    import logging

    from gateway.codes.config import CONFIG_FAULT
    from gateway.codes.disk import JOURNAL_NEWER, JOURNAL_UNUSABLE
    from gateway.errors import ConfigError, JournalError, NewerFormat
    from gateway.logs.about import about
    from gateway.logs.output import set_up

    set_up()
    log = logging.getLogger("gateway")
    if isinstance(error, ConfigError):
        for fault in error.faults:
            log.critical("%s", fault, extra=about(CONFIG_FAULT))
    else:
        of_journal = JOURNAL_UNUSABLE if isinstance(error, JournalError) else None
        log.critical("%s", error, extra=about(JOURNAL_NEWER if isinstance(error, NewerFormat) else of_journal))
