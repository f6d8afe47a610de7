"""The running gateway, asked by verbs: over the socket that a config names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.api.client import ApiClient


def connected(config: Path) -> ApiClient:
    """Return a connection to the gateway of a config; close it. NotRunning when none answers."""
    from gateway.api.client import ApiClient
    from gateway.config.places import places

    return ApiClient(places(config).socket)


def ask(words: argparse.Namespace, what: str, **arguments: Any) -> Any:
    """Ask the gateway of ``words.config`` one thing. NotRunning when none answers, ApiError when it refuses."""
    with connected(words.config) as client:
        return client.ask(what, **arguments)
