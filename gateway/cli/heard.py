"""Devices that were heard, for verbs that look: from the running gateway, else from its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.errors import GatewayError

Values = dict[str, dict[str, Any]]
"""Last values by device id."""


def heard(config: Path) -> Values | None:
    """Return last values of every device heard of; None: there is neither a running gateway nor a journal to ask."""
    from gateway.cli.records import opened

    try:
        with opened(config) as records:
            return dict(records.table("values"))
    except GatewayError:
        return None
