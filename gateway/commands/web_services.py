"""The web services that rules may call: what a person writes to allow one, and the requests made for it.

::

    [http.weather]
    url = "https://api.example.com/v1/forecast"    # and what is below it
    methods = ["GET"]
    secrets = { X-Api-Key = { credential = "weather" } }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from gateway import __version__
from gateway.errors import ConfigError, Fault
from gateway.mqtt.options import TlsOptions
from gateway.rules.language.endpoints import Endpoint
from gateway.secrets import Secret
from gateway.targets.http_pool import Request, Server

ANSWER_BYTES_MAX = 64 * 1024  # of a body that a rule gets
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "idempotency-key", "connection"})

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


class WebServiceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A web service that rules may call by its name, with `ctx.http`."""

    url: str  # https:// or http://, without a query: it and what is below it may be called
    methods: tuple[Method, ...] = ("POST",)
    headers: dict[str, str] = {}  # sent as they are; not for secrets
    secrets: dict[str, Secret] = {}  # header -> where its value is
    bearer: Secret | None = None  # token, sent as Authorization: Bearer
    tls: TlsOptions = TlsOptions()  # for https://; the server is always verified
    per_minute_max: int = 30  # calls of all rules; what is beyond waits
    connect_timeout_s: float = 10.0  # name, TCP and TLS
    answer_timeout_s: float = 20.0  # from the request to the end of its answer
    answer_bytes_max: int = 32 * 1024  # of the body that a rule gets; the rest is cut off

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url!r} is not the address of a web service: write https://host/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user name and password do not belong in the url: write bearer = or secrets =")
        if self.tls != TlsOptions() and parts.scheme == "http":
            raise ValueError(f"tls is set, but {self.url!r} does not use it: write https://")
        if not self.tls.verify:
            raise ValueError("a service that rules call is always verified: write tls.ca = for one with its own CA")
        if not self.methods or self.per_minute_max < 1:
            raise ValueError("methods and per_minute_max must not be empty or 0")
        if min(self.connect_timeout_s, self.answer_timeout_s) <= 0:
            raise ValueError("timeouts must be over 0")
        if not 0 < self.answer_bytes_max <= ANSWER_BYTES_MAX:
            raise ValueError(f"answer_bytes_max is at most {ANSWER_BYTES_MAX}")
        for name, value in [*self.headers.items(), *((name, "") for name in self.secrets)]:
            if not name.isascii() or not name.replace("-", "").isalnum() or not (value.isprintable()):
                raise ValueError(f"{name!r}: {value!r} is no header")
            if name.lower() in _OURS:
                raise ValueError(f"the header {name!r} is the gateway's own")

    @property
    def endpoint(self) -> Endpoint:
        """What rules know of it."""
        return Endpoint(self.url, self.methods)

    @property
    def server(self) -> Server:
        """Where it is."""
        parts = urlsplit(self.url)
        tls = parts.scheme == "https"
        return Server(parts.hostname or "", parts.port or (443 if tls else 80), self.tls if tls else None)

    def request(self, method: str, target: str, body: Any, key: str) -> tuple[Request, list[str]]:
        """Make a request; also returns its secrets, which nobody shall see. ConfigError when one can't be read."""
        secrets = {name: _value(secret) for name, secret in self.secrets.items()}
        if self.bearer is not None:
            secrets["Authorization"] = f"Bearer {_value(self.bearer)}"
        headers: Mapping[str, str] = {
            "Host": urlsplit(self.url).netloc,
            "User-Agent": f"edge-gateway/{__version__}",
            "Accept": "application/json",
            "Idempotency-Key": key,
            **({} if body is None else {"Content-Type": "application/json"}),
            **self.headers,
            **secrets,
        }
        sent = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        content = b"" if body is None else msgspec.json.encode(body)
        hidden = [value.removeprefix("Bearer ") for value in secrets.values()]
        return Request(target, sent, content, method), hidden


def _value(secret: Secret) -> str:
    value = secret()
    if not value.isprintable() or not value:
        raise ConfigError([Fault(secret.where, None, f"the secret in {secret.where} is no value of a header")])
    return value
