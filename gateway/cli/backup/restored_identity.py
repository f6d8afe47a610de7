"""Who a gateway is after a restore: the one that the backup is of, and on another machine what a person says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway import identity as identities
from gateway.clock import SystemClock, rfc3339
from gateway.identity import KEY, How, Identity
from gateway.owner import as_owner


class Whose(NamedTuple):
    """What a restore found out."""

    identity: str = ""
    doubted: bool = False


def placed(state: Path, rows: Mapping[str, Any], how: How | None) -> Whose:
    """Put the identity of a restored journal into the state folder, over that of a card that was started before.

    rows  of the journal's table of identities; a journal from before there were any has none
    how   what a person has decided; None: it is found out and said at the first start
    """
    try:
        identity = msgspec.convert(rows[KEY], Identity)
    except (KeyError, msgspec.ValidationError):
        return Whose()
    with as_owner(state):
        identities.save(state, identity)
    if how is not None:
        return Whose(decide(state, how).id)
    verdict = identities.judge(identity.facts, identities.read_facts(state, identity.id))
    return Whose(identity.id, verdict in ("moved", "other"))


def decide(state: Path, how: How) -> Identity:
    """Take note of what a person has decided. Raises GatewayError."""
    with as_owner(state):
        return identities.adopt(state, how, rfc3339(SystemClock().wall_ns()))
