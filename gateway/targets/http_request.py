"""Requests that carry events: body, content type, idempotency key, bearer token, signature.

A signed request has the headers of Standard Webhooks: ``webhook-id`` (the idempotency key), ``webhook-timestamp``
(seconds since 1970) and ``webhook-signature: v1,<base64 of HMAC-SHA256 over "<id>.<timestamp>.<body>">``, where the
body is what travels (compressed, if it is).  A secret ``whsec_...`` is base64; any other is used as it is, in UTF-8.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from gateway import __version__
from gateway.clock import NS_PER_S, Clock
from gateway.targets.http_pool import Request
from gateway.targets.target import Outgoing

STRUCTURED = b"application/cloudevents+json; charset=utf-8"
BATCHED = b"application/cloudevents-batch+json; charset=utf-8"
THREAD_BYTES = 16 * 1024  # a body larger than this is compressed beside the event loop
SECRET_S = 300  # how long a secret that was read is used; after a 401 or 403 it is read anew at once
_WEBHOOK_SECRET = "whsec_"  # noqa: S105 - the prefix, not a secret

ReadSecret = Callable[[], str]


class Requests:
    """Makes the requests of one target."""

    def __init__(
        self,
        url: str,
        *,
        batched: bool,
        compress: bool,
        headers: Mapping[str, str],
        bearer: ReadSecret | None,
        signature: ReadSecret | None,
        clock: Clock,
    ) -> None:
        parts = urlsplit(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._batched = batched
        self._compress = compress
        self._bearer = bearer
        self._signature = signature
        self._clock = clock
        self._fixed = [
            (b"host", parts.netloc.encode("ascii")),
            (b"user-agent", f"edge-gateway/{__version__}".encode()),
            *((name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers.items()),
        ]
        self._of_events = [
            (b"content-type", BATCHED if batched else STRUCTURED),
            *([(b"content-encoding", b"gzip")] if compress else []),
        ]
        self.secrets = ("", b"")  # bearer token and signing key as read last
        self._secrets_at_ns: int | None = None  # boot clock

    async def make(self, events: Sequence[Outgoing]) -> Request:
        """Make a request for these events. ConfigError when a secret cannot be read."""
        body = b"[" + b",".join([event.raw for event in events]) + b"]" if self._batched else events[0].raw
        if self._compress and len(body) > THREAD_BYTES:
            body = await asyncio.to_thread(_gzip, body)
        elif self._compress:
            body = _gzip(body)
        key = idempotency_key(events) if self._batched else events[0].id
        return Request(self._path, self._headers([*self._fixed, *self._of_events], key, body), body)

    def put(self, path: str, content_type: str, content: bytes) -> Request:
        """Make a request that keeps something under its own path. ConfigError when a secret cannot be read."""
        kind = (b"content-type", content_type.encode("latin-1", "replace"))
        return Request(path, self._headers([*self._fixed, kind], path, content), content, "PUT")

    def _headers(self, headers: list[tuple[bytes, bytes]], key: str, body: bytes) -> list[tuple[bytes, bytes]]:
        self._read_secrets()
        headers.append((b"idempotency-key", key.encode()))
        token, signing = self.secrets
        if token:
            headers.append((b"authorization", b"Bearer " + token.encode()))
        if signing:
            headers += signed(signing, key, self._clock.wall_ns() // NS_PER_S, body)
        return headers

    def renewed(self, used: tuple[str, bytes]) -> bool:
        """Return whether the secrets are others than those `used`, read anew if need be."""
        if self.secrets == used:
            self._secrets_at_ns = None
            self._read_secrets()
        return self.secrets != used

    def _read_secrets(self) -> None:
        now = self._clock.boot_ns()
        if self._secrets_at_ns is not None and now - self._secrets_at_ns < SECRET_S * NS_PER_S:
            return
        token = self._bearer() if self._bearer else ""
        self.secrets = (token, signing_key(self._signature()) if self._signature else b"")
        self._secrets_at_ns = now


def idempotency_key(events: Sequence[Outgoing]) -> str:
    """Return a key for a batch: the same for the same events in the same order."""
    return hashlib.blake2b("\n".join([event.id for event in events]).encode(), digest_size=16).hexdigest()


def signing_key(secret: str) -> bytes:
    """Return the bytes of a shared secret."""
    if secret.startswith(_WEBHOOK_SECRET):
        try:
            return base64.b64decode(secret.removeprefix(_WEBHOOK_SECRET), validate=True)
        except binascii.Error:
            pass  # it only begins like one
    return secret.encode()


def signed(key: bytes, request_id: str, timestamp_s: int, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers that sign a body."""
    content = b"%s.%d.%s" % (request_id.encode(), timestamp_s, body)
    mac = base64.b64encode(hmac.digest(key, content, "sha256"))
    return [
        (b"webhook-id", request_id.encode()),
        (b"webhook-timestamp", b"%d" % timestamp_s),
        (b"webhook-signature", b"v1," + mac),
    ]


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)
