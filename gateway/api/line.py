"""The local API's lines: newline-delimited JSON on a unix socket, the same on both ends.

::

    -> {"ask": "status", "with": {}}
    <- {"answer": {...}}                        or   {"error": "what is wrong"}
    -> {"ask": "events", "with": {"follow": true}}
    <- {"item": {...}}  {"item": {...}} ...     then {"end": 2}   or   {"cut": "why", "items": 2}

A connection may ask again after an answer. A stream ends when the client closes. Nothing here is meant
for a network: who may open the socket may do everything (mode 0660).
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import GatewayError

REQUEST_BYTES_MAX = 64 * 1024
SOCKET_NAME = "api.sock"
SOCKET_PATH_BYTES_MAX = 107  # sun_path, unix(7)


class ApiError(GatewayError):
    """The gateway cannot do what was asked; the message is for the person who asked."""


class NotRunning(ApiError):
    """Nobody listens on the socket."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What a client asks."""

    ask: str
    with_: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


class Reply(msgspec.Struct, omit_defaults=True):
    """One line back; exactly one of answer, error, item, end, cut is there."""

    answer: Any = msgspec.UNSET
    error: str | None = None
    item: Any = msgspec.UNSET
    end: int | None = None  # number of items of a stream that is complete
    cut: str | None = None  # why a stream ended early
    items: int | None = None  # number of items sent before the cut
