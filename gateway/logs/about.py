"""What a line of the log is about: a fault code, a device, an event, a route … as fields beside the text.

::

    log.warning("route %s: %s", name, why, extra=about(ROUTE_DOWN, route=name, target=to))

journald gets each as a field of its own (`journalctl GATEWAY_ROUTE=cloud`), JSON lines as a key; the text says in
brackets which code it is.  Never a secret, never a payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.codes.code import Code

ATTRIBUTE = "about"  # of a log record
ABOUT = ("device", "event_id", "source", "route", "target", "rule", "actor")
"""What a line may be about, beside its code; `GATEWAY_<NAME>` in the journal."""


def about(
    code: Code | None = None,
    *,
    device: str = "",
    event_id: str = "",
    source: str = "",
    route: str = "",
    target: str = "",
    rule: str = "",
    actor: str = "",
) -> Mapping[str, Any]:
    """Return what `extra=` of a logging call takes; what is empty is left out."""
    named = {
        "device": device,
        "event_id": event_id,
        "source": source,
        "route": route,
        "target": target,
        "rule": rule,
        "actor": actor,
    }
    return {ATTRIBUTE: (code, {name: text for name, text in named.items() if text})}
