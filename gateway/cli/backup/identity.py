"""`identity show` and `identity adopt`: who this gateway is, and what a card in another machine means."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final, cast

from gateway.cli.asking.running import ask
from gateway.cli.terminal.printing import say, say_json
from gateway.cli.verb import OK, Verbs, add, group

_STATES: Final = {
    "bound": "bound to this machine",
    "unbound": "bound to nothing: this machine has neither a serial number nor an address of its own (a container?)",
    "moved": "this card was in another machine",
    "other": "this is not the machine that the card or state folder belongs to: it was copied, or the machine replaced",
}


def add_verbs(verbs: Verbs) -> None:
    """Declare the group."""
    inner = group(verbs, "identity", "who this gateway is, and whether this is the machine it belongs to")
    add(
        inner,
        "show",
        "the identity, what it is bound by, and what is to be decided",
        show,
        examples=["edge-gateway identity show", "edge-gateway identity show --json | jq -r .state"],
        json=True,
    )
    parser = add(
        inner,
        "adopt",
        "decide for a card or state folder that was in another machine",
        adopt,
        examples=["edge-gateway identity adopt --replace", "edge-gateway identity adopt --copy"],
        json=True,
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--replace",
        action="store_const",
        const="replace",
        dest="how",
        help="the other machine is gone: this one is the gateway from now on, with its journal",
    )
    how.add_argument(
        "--copy",
        action="store_const",
        const="copy",
        dest="how",
        help="both go on: this one gets an id and, at its next start, a journal of its own; the old one is kept beside",
    )


def show(words: argparse.Namespace) -> int:
    """Print who this is; 1 when somebody has to decide."""
    found = _said(words)
    undecided = found["state"] in ("moved", "other")
    if words.json:
        say_json(found)
        return int(undecided)
    say(f"identity {found['id']}, made {found['made']}, journal {found['log_id'] or 'not begun'}")
    since = f", since {found['since']}" if found["since"] else ""
    say(f"state    {found['state']}: {_STATES[str(found['state'])]}{since}", "yellow" if undecided else None)
    say(f"bound by {', '.join(found['bound_by']) or 'nothing'}")
    if found["copied_from"]:
        say(f"copied from {found['copied_from']}")
    if undecided:
        say("Is the other machine gone? Type: edge-gateway identity adopt --replace")
        say("Do both go on?             Type: edge-gateway identity adopt --copy")
    _say_restart(found)
    return int(undecided)


def adopt(words: argparse.Namespace) -> int:
    """Decide, in the running gateway or in its state folder."""
    from gateway.api.line import NotRunning

    try:
        found = ask(words, "identity_adopt", how=words.how)
    except NotRunning:
        from gateway import identity
        from gateway.cli.backup.restored_identity import decide
        from gateway.config.places import places

        decided = decide(places(words.config).state, words.how)
        found = {**identity.said(decided), "restart": False}
    if words.json:
        say_json(found)
        return OK
    if words.how == "replace":
        say(f"this machine is gateway {found['id']} from now on", "green")
    else:
        say(f"this is gateway {found['id']} from its next start on, a copy of {found['copied_from']}", "green")
        say("the journal it came with is kept beside the new one; what waits in it for the cloud stays there")
    _say_restart(found)
    return OK


def _say_restart(found: Mapping[str, Any]) -> None:
    if found.get("restart"):
        say("It takes effect at the next start. Type: sudo systemctl restart edge-gateway")


def _said(words: argparse.Namespace) -> Mapping[str, Any]:
    from gateway import identity
    from gateway.api.line import NotRunning
    from gateway.config.places import places
    from gateway.errors import GatewayError

    try:
        return cast("Mapping[str, Any]", ask(words, "identity"))
    except NotRunning:
        state = places(words.config).state
        found = identity.load(state)
        if found is None:
            raise GatewayError(f"there is no identity in {state} yet; it is made at the first start") from None
        return {**identity.said(found), "restart": False}
