"""Devices that were heard, for verbs that look: from the running gateway, else from its journal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gateway.errors import GatewayError

Values = dict[str, dict[str, Any]]
"""Last values by device id."""


def heard(config: Path) -> Values | None:
    """Return last values of every device heard of; None: there is neither a running gateway nor a journal to ask."""
    from gateway.cli.asking.records import opened

    try:
        with opened(config) as records:
            return dict(records.table("values"))
    except (GatewayError, OSError):  # not ours to read
        return None


def called(config: Path, sources: Iterable[str]) -> dict[str, str]:
    """Return what devices that described themselves are called in their own dialect, by id: Zigbee2MQTT's names."""
    from gateway.cli.asking.records import opened

    found: dict[str, str] = {}
    try:
        with opened(config) as records:
            for source in sources:
                for key, row in records.table(f"imported:{source}").items():
                    importer, _, address = key.partition("/")
                    if importer == "zigbee2mqtt" and address.startswith("0x") and isinstance(row, (list, tuple)):
                        found[f"{source}/z2m:{address}"] = str(row[0])
    except (GatewayError, OSError):
        return found
    return found
