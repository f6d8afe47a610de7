"""What a person writes to reach an MQTT peer: address, identity, TLS, limits. Used by sources and targets.

Addresses: ``mqtt://host[:1883]``, ``mqtts://host[:8883]``, ``ws://host[:80]/path`` and ``wss://host[:443]/path``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from gateway.mqtt.packet import Will
from gateway.secrets import Secret
from gateway.topic import is_name

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
PROXY_PORTS = {"http": 8080, "socks4": 1080, "socks5": 1080}


class Address(msgspec.Struct, frozen=True):
    """Where the peer is."""

    host: str
    port: int
    tls: bool = False
    websocket: bool = False
    path: str = "/mqtt"

    def __str__(self) -> str:
        scheme = ("ws" if self.websocket else "mqtt") + ("s" if self.tls else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}" + (self.path if self.websocket else "")


def address_of(url: str) -> Address:
    """Read the address of a broker. ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not an address of a broker: write mqtt://host, mqtts://host, ws:// or wss://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user name and password do not belong in the url: write username = and password =")
    if parts.query or parts.fragment or (parts.path.strip("/") and not parts.scheme.startswith("ws")):
        raise ValueError(f"{url!r} has more than host and port")
    port = parts.port or PORTS[parts.scheme]
    websocket = parts.scheme.startswith("ws")
    return Address(
        parts.hostname, port, parts.scheme.endswith("s") and parts.scheme != "ws", websocket, parts.path or "/mqtt"
    )


class Proxy(msgspec.Struct, frozen=True):
    """A proxy on the way to the peer."""

    scheme: str
    host: str
    port: int


def proxy_of(url: str) -> Proxy:
    """Read the address of a proxy. ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in PROXY_PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(f"{url!r} is not a proxy: write http://host:port, socks4:// or socks5://")
    return Proxy(parts.scheme, parts.hostname, parts.port or PROXY_PORTS[parts.scheme])


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the peer is recognised and how we are. Files are read again at each connection."""

    ca: Path | None = None  # certificates (PEM) that may vouch for the peer; default: the system's
    certificate: Path | None = None  # ours (PEM, chain included), for peers that ask for one
    key: Path | None = None  # its key; default: in the same file
    key_password: Secret | None = None
    server_name: str | None = None  # the name in the peer's certificate, where it is not the host of the url
    alpn: list[str] = []  # for example "x-amzn-mqtt-ca" on port 443
    verify: bool = True  # false accepts anybody as the peer: for a bench, never for a house

    def __post_init__(self) -> None:
        if self.key is not None and self.certificate is None:
            raise ValueError("key without certificate")


class MessageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message the gateway sends about itself: a will or a birth."""

    topic: str
    payload: str = ""
    qos: Literal[0, 1, 2] = 1
    retain: bool = True

    def __post_init__(self) -> None:
        if not is_name(self.topic):
            raise ValueError(f"{self.topic!r} is not a topic to publish to")

    def as_will(self) -> Will:
        """Return it as CONNECT carries it."""
        return Will(self.topic, self.payload.encode(), self.qos, self.retain)


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every client of ours has in common."""

    url: str
    client_id: str = ""  # default: the gateway's name and that of the source or target; stays the same for ever
    version: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, and 3.1.1 where the broker does not know 5
    username: str | None = None
    username_from: Secret | None = None  # instead of `username`, where the name is kept with the password
    password: Secret | None = None
    tls: TlsOptions = TlsOptions()
    proxy: str | None = None  # http://host:port, socks4:// or socks5://
    keep_alive_s: int = 60
    session_expiry_s: int = 7 * 86_400  # how long the broker keeps what we miss (MQTT 5)
    clean_start: bool = False
    connect_timeout_s: float = 15.0  # from the first byte to CONNACK
    reconnect_first_s: float = 1.0  # full jitter: the n-th wait is random up to first * 2^n ...
    reconnect_max_s: float = 60.0  # ... and at most this
    refused_wait_s: float = 60.0  # after wrong credentials or a certificate nobody trusts
    packet_bytes_max: int = 16 * 1024 * 1024  # larger packets are refused
    inflight_max: int = 100  # ours unanswered, where the broker does not say (3.1.1)
    read_tick_ms: float = 5.0  # at many messages a second reads are gathered for so long; 0 = never
    will: MessageOptions | None = None  # what the broker says when we are gone
    birth: MessageOptions | None = None  # what we say when we are here

    def __post_init__(self) -> None:
        address = address_of(self.url)
        if self.proxy is not None:
            proxy_of(self.proxy)
        if self.tls != TlsOptions() and not address.tls:
            raise ValueError(f"tls is set, but {self.url!r} does not use it: write mqtts:// or wss://")
        if not 0 <= self.keep_alive_s <= 65_535:
            raise ValueError("keep_alive_s is 0 to 65535")
        if self.username is not None and self.username_from is not None:
            raise ValueError("username and username_from are two ways to say the same: write one")
        if self.password is not None and self.username is None and self.username_from is None:
            raise ValueError("password without username")
        if min(self.connect_timeout_s, self.reconnect_first_s, self.reconnect_max_s, self.refused_wait_s) <= 0:
            raise ValueError("connect_timeout_s, reconnect_first_s, reconnect_max_s and refused_wait_s must be over 0")
        if not 1 <= self.inflight_max <= 65_535:
            raise ValueError("inflight_max is 1 to 65535")

    @property
    def address(self) -> Address:
        """Return where the peer is."""
        return address_of(self.url)

    def credentials(self) -> tuple[str | None, bytes | None]:
        """Read user name and password, now. ConfigError when they cannot be read."""
        username = self.username_from() if self.username_from is not None else self.username
        return username, self.password().encode() if self.password is not None else None
