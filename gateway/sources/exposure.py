"""A port of the gateway that others connect to: whether anybody can, TLS, and waiting until it is ours."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from gateway.codes.sources import NOT_LISTENING
from gateway.errors import ConfigError, Fault
from gateway.logs.about import about

log = logging.getLogger(__name__)

BIND_AGAIN_S: Final = 5.0


def loopback(host: str) -> bool:
    """Return whether only this machine can connect to an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_certificates(certificate: Path | None, key: Path | None, client_ca: Path | None) -> None:
    """Raise ValueError for options of TLS that do not belong together."""
    if (certificate is None) != (key is None):
        raise ValueError("certificate and key belong together")
    if client_ca is not None and certificate is None:
        raise ValueError("client_ca needs certificate and key")


def server_tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> ssl.SSLContext | None:
    """Make the TLS context of a server, None without a certificate; ConfigError when a file cannot be used.

    With `client_ca` (PEM) clients must show a certificate signed by it.
    """
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Fault(certificate, None, f"TLS of the listener: {error}")]) from None
    return context


async def bound(
    kind: str, name: str, listen: Callable[[], Awaitable[asyncio.Server]], say: Callable[[str], None]
) -> asyncio.Server:
    """Bind, again and again: the port may be somebody else's for a while after an upgrade.

    kind  what the log calls the source of that name
    say   is told why nobody can connect, and "" when it is bound
    """
    last = ""
    while True:
        try:
            server = await listen()
        except OSError as error:
            if last != str(error):
                said = about(NOT_LISTENING, source=name)
                log.warning("%s %s: %s; trying again every %.0f s", kind, name, error, BIND_AGAIN_S, extra=said)
            last = str(error)
            say(last)
            await asyncio.sleep(BIND_AGAIN_S)
            continue
        say("")
        return server
