"""Where a gateway with a config is found, even when the config is broken: `status` must work then, too."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gateway.config.options import STATE
from gateway.config.overlay import as_far_as_it_goes

SOCKET_NAME = "api.sock"


class Places(NamedTuple):
    """Where a gateway writes and answers."""

    state: Path
    journal: Path
    socket: Path


def places(file: Path) -> Places:
    """Return what a config says of its places, as far as it can be read; the rest has the defaults."""
    data, found = as_far_as_it_goes(file), {}
    for section, key in (("gateway", "state"), ("journal", "folder"), ("api", "socket")):
        table = data.get(section)
        named = table.get(key) if isinstance(table, dict) else None
        found[key] = file.absolute().parent / named if isinstance(named, str) else None
    return places_of(found["state"], found["folder"], found["socket"])


def places_of(state: Path | None, journal: Path | None, socket: Path | None) -> Places:
    """Fill in what was not said."""
    state = state or STATE
    return Places(state, journal or state / "journal", socket or state / SOCKET_NAME)
