"""The rule of the kill rig: it counts what is hot, in a state that must survive as exactly as its events."""

from __future__ import annotations

from gateway.rules import Context, Event, above, rule


@rule("temperature_changed", "reading_taken", where={"temperature": above(25)})
def notice(event: Event, ctx: Context) -> None:
    """Emit the running number of a hot reading: run twice, not at all or without its state, the numbers show it."""
    count = int(ctx.state.get("count", 0)) + 1
    ctx.state["count"] = count
    ctx.emit("heat_noticed", {"count": count, "message": event["temperature"]})
