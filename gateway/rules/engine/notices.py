"""Notifications as rules ask for them: a record for the gateway, which knows where people are reached and sends it.

A rule says to whom (a recipient or a group of the config's [notify]) and what; `gateway/notify` does the rest. What is
asked for about something long past is only recorded, as commands are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.clock import NS_PER_S

if TYPE_CHECKING:  # the gateway reads the names below and runs no rule
    from gateway.rules.engine.call import Call

REQUESTED = "notification_requested"
SUPPRESSED = "notification_suppressed"
SENT, FAILED, EXPIRED, LIMITED = (f"notification_{what}" for what in ("sent", "failed", "expired", "limited"))
"""What becomes of it, as the gateway says it."""
TYPES = (REQUESTED, SUPPRESSED, SENT, FAILED, EXPIRED, LIMITED)
TEXT_CHARS_MAX = 1000
TITLE_CHARS_MAX = 100
KEY_CHARS_MAX = 100
TTL_S_MAX = 7 * 86_400
TTL_ALERT_S = 86_400  # of what is said about an alert


def notify(
    call: Call, to: str, text: str, *, title: str, key: str, ttl_ns: int, urgent: bool, alert: str | None = None
) -> None:
    """Ask for a notification. LookupError without such a recipient, ValueError for what can't be sent."""
    if not text:
        raise ValueError("a notification needs a text")
    if len(key) > KEY_CHARS_MAX:
        raise ValueError(f"key {key[:20]!r}...: at most {KEY_CHARS_MAX} characters")
    ttl_s = ttl_ns / NS_PER_S
    if not 0 < ttl_s <= TTL_S_MAX:
        raise ValueError(f"ttl={ttl_s:g} s: more than nothing, at most {TTL_S_MAX // 86_400} days")
    data: dict[str, Any] = {"to": call.site.recipients.check(to), "text": text[:TEXT_CHARS_MAX]}
    if call.late:
        call.output(SUPPRESSED, {**data, "reason": "late"})
        return
    optional = {"title": title[:TITLE_CHARS_MAX], "key": key, "urgent": urgent, "alert": alert}
    data |= {name: value for name, value in optional.items() if value}
    call.output(REQUESTED, {**data, "ttl_s": ttl_s}, lane="command")
