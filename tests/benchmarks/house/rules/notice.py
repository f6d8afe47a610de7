"""The rules of a benchmark: one keeps state about every event, and what one in ten of them makes is an event, too."""

from __future__ import annotations

from gateway.rules import Context, Event, above, rule


@rule("temperature_changed", "reading_taken")
def notice(event: Event, ctx: Context) -> None:
    """Count the readings of a device in durable state."""
    count = ctx.state[event.device]
    count["readings"] = int(count.get("readings", 0)) + 1


@rule("temperature_changed", "reading_taken", where={"temperature": above(25)})
def warm(event: Event, ctx: Context) -> None:
    """Emit an event about a warm reading."""
    ctx.emit("heat_noticed", {"celsius": event["temperature"]})
