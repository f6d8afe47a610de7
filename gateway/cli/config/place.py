"""Where `setup` writes, and whether the broker that it would find is the gateway itself."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.cli.asking.running import connected
from gateway.cli.verb import CONFIG, HERE
from gateway.errors import GatewayError

OVERLAY = Path("gateway.d", "10-setup.toml")


def config_place(config: Path, *, shown: bool) -> Path:
    """Return where the config belongs: as said, where the service looks, or here where there is no service.

    `shown`: nothing is written. Raises GatewayError where the service looks and we may not write.
    """
    if config != CONFIG or os.access(config.parent, os.W_OK, effective_ids=True):
        return config
    if not config.exists():
        return Path(HERE)
    if not shown:
        raise GatewayError(
            f"you may not write into {config.parent}. Type: sudo edge-gateway setup"
            f" (a gateway of your own, beside the service: edge-gateway setup --config ./{HERE})"
        )
    return config


def own_listener(config: Path, url: str) -> str:
    """Return where the running gateway itself listens, if a broker's address leads there; empty: it does not."""
    import msgspec

    from gateway.api.status import Status
    from gateway.mqtt.options import ConnectionOptions
    from gateway.sources.exposure import loopback

    try:
        address = ConnectionOptions(url=url).address
        if not loopback(address.host):
            return ""
        with connected(config) as client:
            said = msgspec.convert(client.ask("status"), Status)
    except (GatewayError, ValueError):
        return ""  # none runs, or it does not say; a wrong address is said when it is listened to
    ours = (each.where for each in said.sources if each.kind == "listener" and each.state == "listening")
    return next((where for where in ours if where.rpartition(":")[2] == str(address.port)), "")


def overlay_of(config: Path) -> Path | None:
    """Return the file beside a config that names no source and no target, as a package brings it; None for another."""
    from gateway.config.overlay import read_overlaid

    data, file = read_overlaid(config).data, config.parent / OVERLAY
    return None if data.get("sources") or data.get("targets") or file.exists() else file
