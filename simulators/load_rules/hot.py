"""The rule of a load run: what is hot is told so."""

from __future__ import annotations

from gateway.rules import Context, Event, above, rule


@rule("temperature_changed", "reading_taken", where={"temperature": above(25)})
def hot(event: Event, ctx: Context) -> None:
    """Answer a hot device with a command."""
    ctx.command(event.device, "show", "hot")
