"""A notification as a POST: JSON with an idempotency key, to an address that is a secret.

The body is ``{"id", "gateway", "to", "title", "text", "time"}`` and, where there is one, ``key``, ``rule``, ``device``,
``alert``; ``urgent`` is true or false.  ``Idempotency-Key`` is the id: sent again after a kill, it is the same.  What a
server says is shown to people without what is secret in the address.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from gateway import __version__
from gateway.clock import NS_PER_S, Clock, rfc3339
from gateway.errors import TargetDown
from gateway.mqtt.tls import tls_context
from gateway.notify.options import RecipientOptions
from gateway.notify.outbox import Notice
from gateway.targets.http_answer import outcome_of, reason_of
from gateway.targets.http_connection import Answer, connect
from gateway.targets.http_request import signed, signing_key
from gateway.targets.target import Outcome, Verdict

SECRET_CHARS_MIN = 6  # of a part of an address, from which on it is kept out of reasons
HIDDEN = "…"
Leaving = Callable[[], Awaitable[None]]
"""Is awaited before the first byte leaves."""
_to_json = msgspec.json.Encoder().encode


def message(notice: Notice, gateway: str) -> dict[str, Any]:
    """Return what a program gets that is told."""
    said: dict[str, Any] = {
        "id": notice.id,
        "gateway": gateway,
        "to": notice.to,
        "title": notice.title or gateway,
        "text": notice.text,
        "time": rfc3339(notice.asked),
        "urgent": notice.urgent,
    }
    optional = {"key": notice.key, "rule": notice.rule, "device": notice.subject, "alert": notice.alert}
    return said | {name: value for name, value in optional.items() if value}


async def post(
    url: str, notice: Notice, options: RecipientOptions, gateway: str, clock: Clock, leaving: Leaving
) -> Outcome:
    """Send one message; `leaving` is awaited when there is a connection.

    Raises TargetDown and ProtocolError as `HttpConnection` does, ConfigError without a secret.

    What it says may quote the address.
    """
    parts = _split(url)
    if parts is None:
        return Outcome(Verdict.STOP, "the address is none: https://host/path is one")
    tls = parts.scheme == "https"
    context: ssl.SSLContext | None = None
    if tls:
        try:
            context = await asyncio.to_thread(tls_context, options.tls)
        except (ValueError, OSError) as error:
            raise TargetDown(f"TLS: {error}") from None
    body = _to_json(message(notice, gateway))
    name = options.tls.server_name if tls else None
    port = parts.port or (443 if tls else 80)
    connection = await connect(parts.hostname or "", port, context, name, options.timeout_s)
    try:
        await leaving()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = await connection.request(
            "POST", path, _headers(parts, notice, options, clock, body), body, options.timeout_s
        )
    finally:
        connection.close()
    answer = Answer(answer.status, {**answer.headers, "location": HIDDEN}, answer.body)
    return outcome_of(answer, clock.wall_ns()) or Outcome(Verdict.REJECTED, reason_of(answer))


def _split(url: str) -> SplitResult | None:
    """Take an address apart; None if it is none. What is wrong with it is not said: it may be quoted."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError when it is no number
        parts.netloc.encode("ascii")
        f"{parts.path}{parts.query}".encode("ascii")
    except ValueError:
        return None
    good = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"[\s\x00-\x1f]", url)
    return parts if good else None


def _headers(
    parts: SplitResult, notice: Notice, options: RecipientOptions, clock: Clock, body: bytes
) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"host", parts.netloc.rpartition("@")[2].encode()),
        (b"user-agent", f"edge-gateway/{__version__}".encode()),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"idempotency-key", notice.id.encode()),
    ]
    if options.bearer is not None:
        headers.append((b"authorization", b"Bearer " + options.bearer().encode()))
    if options.signature is not None:
        headers += signed(signing_key(options.signature()), notice.id, clock.wall_ns() // NS_PER_S, body)
    return headers


def without_secrets(text: str, url: str) -> str:
    """Return a text without what may be secret in an address: its user, password, and long parts of path and query."""
    pieces = {url, *re.split(r"[/?&=;:@#]+", url.partition("://")[2])}
    host = urlsplit(url).hostname or "" if _split(url) else ""
    for piece in sorted({*pieces, *map(unquote, pieces)}, key=len, reverse=True):
        if len(piece) >= SECRET_CHARS_MIN and piece != host:
            text = text.replace(piece, HIDDEN)
    return text
