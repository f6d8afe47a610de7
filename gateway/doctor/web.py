"""One harmless request to a web service: OPTIONS, with the credentials and without a body."""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from gateway import __version__
from gateway.errors import ConfigError, ProtocolError, TargetDown
from gateway.mqtt.tls import tls_context
from gateway.targets.http import HttpTargetOptions
from gateway.targets.http_connection import connect


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What a web service said."""

    status: int = 0
    error: str = ""
    ours: bool = False  # a secret or a file of ours cannot be used
    ahead_s: float | None = None  # its clock before ours, by its Date header
    seconds: float = 0.0


async def options_of(options: HttpTargetOptions, seconds: float) -> Answered:
    """Ask. Never raises for what a network does."""
    parts = urlsplit(options.url)
    tls = parts.scheme == "https"
    headers = [
        (b"host", parts.netloc.encode("ascii")),
        (b"user-agent", f"edge-gateway/{__version__} doctor".encode()),
        *((name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in options.headers.items()),
    ]
    began = time.monotonic()
    try:
        if options.bearer is not None:
            headers.append((b"authorization", b"Bearer " + options.bearer().encode()))
        context = tls_context(options.tls) if tls else None
        port = parts.port or (443 if tls else 80)
        connection = await connect(parts.hostname or "", port, context, options.tls.server_name, seconds)
        try:
            left = max(0.5, seconds - (time.monotonic() - began))
            answer = await connection.request("OPTIONS", parts.path or "/", headers, b"", left)
        finally:
            connection.close()
    except ConfigError as error:
        return Answered(error=error.faults[0].what, ours=True)
    except (ValueError, ssl.SSLError) as error:
        return Answered(error=str(error), ours=True)
    except (TargetDown, ProtocolError) as error:
        return Answered(error=str(error))
    return Answered(
        status=answer.status, ahead_s=_ahead(answer.headers.get("date", "")), seconds=time.monotonic() - began
    )


def _ahead(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
