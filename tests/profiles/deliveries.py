"""Deliveries for tests: bytes on a topic, from nobody."""

from __future__ import annotations

import json
from typing import Any

from gateway.profiles.catalogue import Catalogue
from gateway.profiles.decode import Decoder
from gateway.profiles.devices import Devices
from gateway.sources.source import Delivery

NOW = 1_795_300_000_000_000_000  # nanoseconds since 1970; 2026-11-21T22:26:40Z
SECOND = 1_000_000_000


class Nobody:
    """A connection that acknowledges to no one."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Do nothing."""


def delivery(topic: str, payload: Any, *, retained: bool = False, at: int = NOW) -> Delivery:
    """Make a delivery; a payload that is not bytes or text is sent as JSON."""
    raw = payload if isinstance(payload, bytes) else payload if isinstance(payload, str) else json.dumps(payload)
    return Delivery("house", topic, raw if isinstance(raw, bytes) else raw.encode(), at, Nobody(), retained=retained)


def decoder(catalogue: Catalogue, devices: Devices | None = None, values: Any = None, **more: Any) -> Decoder:
    """Make a decoder of source "house"."""
    return Decoder(catalogue, "gw", "house", devices or Devices(), {} if values is None else values, **more)
