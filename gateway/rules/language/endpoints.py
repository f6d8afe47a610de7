"""Web services that rules may call: which one a text means, and what is asked of it. Pure.

A rule writes the name of a service of the config, with what comes behind its address (``"weather"``,
``"weather/today?zone=3"``), or a whole address, which has to begin with that of a service.  Nothing else is reached:
paths that climb, in any spelling, are refused, and the gateway looks once more before it calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from gateway.errors import probably_meant

TARGET_CHARS_MAX = 2000  # of path and query
_PLAIN = re.compile(r"[!-~]*")  # printable ASCII without the space (RFC 3986 section 2)
_CLIMBING = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|%2e|%2f|%5c|\\|#", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PORTS = {"http": 80, "https": 443}


class Endpoint(msgspec.Struct, frozen=True):
    """A service as far as rules know it."""

    url: str
    methods: tuple[str, ...] = ("POST",)


def resolve(endpoints: Mapping[str, Endpoint], wanted: str, method: str) -> tuple[str, str]:
    """Return the service that is meant, and path with query. ValueError says why nothing is called."""
    name, rest = _by_address(endpoints, wanted) if "://" in wanted else _by_name(endpoints, wanted)
    endpoint = endpoints[name]
    if method not in endpoint.methods:
        raise ValueError(f"{name} takes {', '.join(endpoint.methods)}, not {method}: see [http.{name}] methods")
    target = (urlsplit(endpoint.url).path or "/") if not rest else _joined(urlsplit(endpoint.url).path, rest)
    path, _, _ = target.partition("?")
    if not _PLAIN.fullmatch(target) or _CLIMBING.search(path) or "#" in target or len(target) > TARGET_CHARS_MAX:
        raise ValueError(f"{target[:100]!r} is not called: a path climbs nowhere, is ASCII and at most 2000 characters")
    return name, target


def _by_name(endpoints: Mapping[str, Endpoint], wanted: str) -> tuple[str, str]:
    found = _NAME.match(wanted)
    name = found[0] if found else wanted
    if name not in endpoints:
        hint = probably_meant(name, endpoints) or (f"there are {', '.join(sorted(endpoints))}" if endpoints else "")
        raise ValueError(f"there is no service {name!r}" + (f", {hint}" if hint else f": allow it with [http.{name}]"))
    rest = wanted[len(name) :]
    if rest and rest[0] not in "/?":
        raise ValueError(f"{wanted!r}: behind the name of a service stands a path or a query, such as {name}/today")
    return name, rest


def _by_address(endpoints: Mapping[str, Endpoint], wanted: str) -> tuple[str, str]:
    """Find the service whose address a text begins with, the longest of several."""
    found = ("", "", -1)
    for name, endpoint in endpoints.items():
        if _origin(endpoint.url) == _origin(wanted):
            base = urlsplit(endpoint.url).path.rstrip("/")
            parts = urlsplit(wanted)
            behind = parts.path[len(base) :] if parts.path.startswith(base) else None
            if behind is not None and (not behind or behind[0] == "/") and len(base) > found[2]:
                found = name, behind + (f"?{parts.query}" if parts.query else ""), len(base)
    if found[2] < 0:
        raise ValueError(f"{wanted[:100]!r} is no service that is allowed: add it with [http.NAME]")
    return found[0], found[1]


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        return "", "", None  # nobody's
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", url, None
    return parts.scheme, parts.hostname or "", port


def _joined(base: str, rest: str) -> str:
    return (base or "/") + rest if rest.startswith("?") else base.rstrip("/") + rest
