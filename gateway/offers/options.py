"""What the gateway offers of itself on a broker, as a person says it.

::

    [offers]
    source = "house"                # the broker (or the gateway's own listener) it is offered on
    home_assistant = ""             # plain topics only; default: Home Assistant finds all of it by itself
"""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.topic import is_name

What = Literal["mode", "inputs", "alerts", "rules"]


class OfferOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[offers]: mode, inputs, alerts and rules as topics of a broker, to be read and set there."""

    source: str = ""  # of [sources]: a broker, or the gateway's own listener; none: nothing is offered
    topic: str = ""  # what these topics begin with; default: edge-gateway/<name of the gateway>
    home_assistant: str = "homeassistant"  # prefix of its MQTT discovery; empty: plain topics only
    what: tuple[What, ...] = ("mode", "inputs", "alerts", "rules")

    def __post_init__(self) -> None:
        for prefix in (self.topic, self.home_assistant):
            if prefix and (not is_name(prefix) or prefix.endswith("/")):
                raise ValueError(f"{prefix!r} is not the beginning of a topic")

    def topic_of(self, gateway: str) -> str:
        """Return what the topics begin with."""
        return self.topic or f"edge-gateway/{gateway}"
