"""The command `edge-gateway`: words to a function, what it raises to an exit code.

Exit codes: 0 ok, 1 the thing asked about is bad, 2 usage, 78 configuration, or a journal that a newer version wrote
(sysexits EX_CONFIG, which the unit's RestartPreventExitStatus knows), 130 interrupted, 141 the reader of the output
went away.
Only the module of the verb that is asked for is imported, and rooms by the verb that needs them, so that all are quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import gateway
from gateway.cli import verb
from gateway.cli.terminal.printing import complain
from gateway.cli.verb import BAD, CONFIG_FAULT, INTERRUPTED, PIPE_CLOSED, Parser
from gateway.errors import ConfigError, GatewayError, NewerFormat

GROUPS: Mapping[str, tuple[str, ...]] = {  # modules, and the verbs that each declares
    "config.setup": ("setup",),
    "run": ("run",),
    "config.reloading": ("reload", "config"),
    "config.check": ("check",),
    "health.status": ("status",),
    "health.doctor": ("doctor",),
    "health.support": ("support",),
    "events.listing": ("events",),
    "events.explain": ("explain",),
    "profiles.verbs": ("profiles",),
    "rules.verbs": ("rules",),
    "devices.listing": ("devices",),
    "devices.importing": ("import",),
    "events.dead_letters": ("dead-letters",),
    "events.replay": ("replay",),
    "house.alerts": ("alerts",),
    "events.audit": ("audit",),
    "house.notifications": ("notify", "notifications"),
    "events.blobs": ("blobs",),
    "events.journal": ("journal",),
    "bundles.applying": ("bundle", "apply"),
    "backup.backup": ("backup", "restore"),
    "devices.send": ("send",),
    "house.inputs": ("mode", "input"),
    "backup.identity": ("identity",),
    "config.serial": ("serial",),
    "simulation.verbs": ("demo", "simulate", "verify"),
    "completion": ("completion",),
}
OF_ALL, OF_NONE = "completion", "--version"  # made of the whole command line; of no verb at all


def parser(word: str = "") -> argparse.ArgumentParser:
    """Build the command line; of what a first word needs alone when it is given: nobody waits for other modules."""
    top = Parser(
        prog="edge-gateway",
        description="IoT edge gateway: an acknowledged event is on the disk, and stays until the cloud has it.",
        epilog="`edge-gateway VERB --help` shows examples. Without hardware: edge-gateway demo",
    )
    top.add_argument("--version", action="version", version=f"edge-gateway {gateway.__version__}")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True, dest="verb")
    wanted = [name for name, declared in GROUPS.items() if word in declared and word != OF_ALL]
    for name in wanted or (() if word == OF_NONE else GROUPS):
        import_module(f"gateway.cli.{name}").add_verbs(verbs)
    top.set_defaults(program=top)  # for `completion`, which is made of it
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = _main(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at exit
        return PIPE_CLOSED
    return code


def _main(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    words = parser(*arguments[:1]).parse_args(arguments)
    if hasattr(words, "config"):
        from gateway.bundles.ledger import config_of

        words.base, words.config = words.config, config_of(words.config)
    try:
        return int(words.function(words))
    except ConfigError as error:
        for fault in error.faults:
            complain(str(fault))
        return CONFIG_FAULT
    except NewerFormat as error:
        complain(f"edge-gateway: {error}")
        return CONFIG_FAULT  # starting it again changes nothing
    except GatewayError as error:
        complain(f"edge-gateway: {error}{_other_config(words, error)}")
        return BAD


def _other_config(words: argparse.Namespace, error: GatewayError) -> str:
    """Say that another config was probably meant, when no gateway was found for want of one."""
    from gateway.api.line import NotRunning

    here = Path(verb.HERE)
    if not isinstance(error, NotRunning) or words.config.exists() or not here.is_file():
        return ""
    return f". There is no {words.config}, but a {here} here. Type: export EDGE_GATEWAY_CONFIG={here.absolute()}"
